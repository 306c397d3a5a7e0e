"""Raw and streaming responses: the caller reads the bytes, and we read them with him."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import representative, streaming
from tests.contract.instrumentors.stage import TEXT, Caller, Stage
from tests.fakes import Reply
from tollspan.usage import UsageEvent

UMLAUTS = "Größe, Übermut und ein Käse für 3 €: 日本語の文章 🦊. " * 4
Reads = Callable[[Caller, Any], Coroutine[Any, Any, object]]


def without_chance(read: object) -> object:
    """Return what was read with ids and times struck out, at the same length."""
    if isinstance(read, list):
        return [without_chance(one) for one in read]
    if isinstance(read, bytes):
        return without_chance(read.decode("latin-1"))
    if isinstance(read, str):
        return re.sub(r"[0-9a-f]{20,}|\b1[0-9]{9}\b", lambda found: "#" * len(found[0]), read)
    return read


def assert_accounted(stage: Stage, event: UsageEvent, *, is_stream: bool) -> None:
    """Exact where the provider said its usage, else an estimate; never 0."""
    assert (event.outcome.status, event.outcome.error_type) == ("ok", None)
    assert event.usage is not None
    assert event.charges[0].unresolved == 0
    assert stage.fake.wait_idle()
    billed = stage.fake.billed_nanousd
    streams = stage.kit.streams
    if not is_stream or (streams is not None and streams.says_usage_unasked):
        assert event.usage.status == "reported"
        assert event.cost.amount_nanousd == billed > 0
    else:
        assert event.usage.status == "estimated"
        assert event.cost.amount_nanousd == pytest.approx(billed, rel=0.6)
        assert event.usage.output > 0


# --- with_raw_response ---


def test_a_raw_answer_has_its_headers_and_is_parsed_by_the_caller(stage: Stage, kit: Kit) -> None:
    stage.fake.script.default = Reply(text=TEXT)

    async def work(caller: Caller) -> None:
        raw = await caller.raw()
        assert raw.headers["content-type"] == "application/json"
        assert raw.http_response.status_code == 200
        answer = await caller.way.get(raw.parse())
        assert type(answer) is kit.answer
        assert kit.text is None or kit.text(answer) == TEXT

    stage.run(work)
    stage.priced_event()


@streaming
def test_a_raw_stream_is_parsed_into_the_sdks_stream(stage: Stage, kit: Kit) -> None:
    stage.fake.script.default = Reply(text=TEXT)
    assert kit.streams is not None
    kind = kit.streams.kinds[stage.way.is_async]

    async def work(caller: Caller) -> None:
        raw = await caller.raw(stream=True)
        assert raw.headers["content-type"].startswith("text/event-stream")
        parsed = await caller.way.get(raw.parse())
        assert parsed.__class__ is kind
        assert await caller.way.get(raw.parse()) is parsed
        assert caller.text(await caller.way.loop(parsed)) == TEXT

    stage.run(work)
    assert all("stream_options" not in str(one.json) for one in stage.fake.requests)
    assert_accounted(stage, stage.event(), is_stream=True)


@streaming
def test_a_raw_stream_that_is_left_is_billed_from_what_arrived(stage: Stage, kit: Kit) -> None:
    stage.fake.script.default = Reply(text=TEXT, stall_after_chunks=40)

    async def work(caller: Caller) -> None:
        raw = await caller.raw(stream=True)
        parsed = await caller.way.get(raw.parse())
        await caller.take(parsed, 40)
        await caller.way.get(parsed.close())

    stage.run(work)
    event = stage.event()
    assert event.outcome.status == "partial"
    assert event.usage is not None
    assert event.usage.status == "estimated"
    assert stage.fake.wait_idle()
    assert event.cost.amount_nanousd == pytest.approx(stage.fake.billed_nanousd, rel=0.35)


@streaming
def test_a_raw_stream_that_nobody_reads_keeps_its_bound(stage: Stage) -> None:
    async def work(caller: Caller) -> None:
        raw = await caller.raw(stream=True)
        response = raw.http_response
        await caller.way.get(response.aclose() if caller.way.is_async else response.close())

    stage.run(work)
    event = stage.event()
    assert event.outcome.status == "partial"
    assert event.usage is not None
    assert event.usage.status == "unknown"
    assert event.charges[0].unresolved == event.decision.bound_nanousd


@streaming
def test_an_error_event_in_raw_bytes_is_a_failure(stage: Stage) -> None:
    stage.fake.script.default = Reply(text=TEXT, error_in_stream=40)

    async def work(caller: Caller) -> None:
        async with caller.streaming(stream=True) as response:
            await caller.way.loop(response.iter_bytes())

    stage.run(work)
    event = stage.event()
    assert event.outcome.status == "error"
    assert event.outcome.error_type in ("server_error", "overloaded_error")
    assert event.usage is not None
    assert event.usage.status == "estimated"


# --- with_streaming_response ---


async def read(caller: Caller, response: Any) -> object:
    return await caller.way.get(response.read())


async def text(caller: Caller, response: Any) -> object:
    return await caller.way.get(response.text())


async def iter_bytes(caller: Caller, response: Any) -> object:
    return b"".join(await caller.way.loop(response.iter_bytes()))


async def iter_small_bytes(caller: Caller, response: Any) -> object:
    taken = await caller.way.loop(response.iter_bytes(7))
    return [b"".join(taken), list(map(len, taken))]


async def iter_text(caller: Caller, response: Any) -> object:
    return "".join(await caller.way.loop(response.iter_text()))


async def iter_lines(caller: Caller, response: Any) -> object:
    return await caller.way.loop(response.iter_lines())


async def parse(caller: Caller, response: Any) -> object:
    parsed = await caller.way.get(response.parse())
    if hasattr(parsed, "response"):  # a stream
        return caller.text(await caller.way.loop(parsed))
    assert type(parsed) is caller.kit.answer
    return str(parsed)


READS: list[Reads] = [read, text, iter_bytes, iter_small_bytes, iter_text, iter_lines, parse]


def read_both(stage: Stage, reads: Reads, *, is_stream: bool) -> None:
    """See that the caller reads the same with us and without."""

    async def work(caller: Caller) -> object:
        async with caller.streaming(**({"stream": True} if is_stream else {})) as response:
            assert response.status_code == 200
            return without_chance(await reads(caller, response))

    caller = stage.caller()
    with stage.bare():
        alone = stage.way.run(work(caller))
    assert stage.way.run(work(caller)) == alone
    assert_accounted(stage, stage.event(), is_stream=is_stream)


@representative
@pytest.mark.parametrize("reads", READS)
def test_a_plain_answer_is_read_as_without_us(stage: Stage, reads: Reads) -> None:
    stage.fake.script.default = Reply(text=UMLAUTS)
    read_both(stage, reads, is_stream=False)


@representative
@pytest.mark.parametrize("reads", READS)
def test_a_stream_is_read_as_without_us(stage: Stage, reads: Reads) -> None:
    stage.fake.script.default = Reply(text=UMLAUTS)
    read_both(stage, reads, is_stream=True)


ODD = [
    pytest.param({"gzip": True}, id="compressed"),
    pytest.param({"split_bytes": 5, "chunked": True}, id="cut across characters"),
    pytest.param({"gzip": True, "split_bytes": 3, "chunked": True}, id="compressed and cut"),
    pytest.param({"sse_comments": True}, id="comments between events"),
]


@representative
@pytest.mark.parametrize("odd", ODD[:3])
def test_an_odd_plain_answer_is_read_as_without_us(stage: Stage, odd: dict[str, object]) -> None:
    stage.fake.script.default = Reply(text=UMLAUTS[:60]).with_json(odd)
    read_both(stage, text, is_stream=False)


@representative
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_stream_is_read_as_without_us(stage: Stage, odd: dict[str, object]) -> None:
    stage.fake.script.default = Reply(text=UMLAUTS[:60]).with_json(odd)
    read_both(stage, iter_bytes, is_stream=True)


@representative
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_stream_of_chunks_is_exact(stage: Stage, odd: dict[str, object]) -> None:
    stage.fake.script.default = Reply(text=UMLAUTS[:60]).with_json(odd)

    async def work(caller: Caller) -> str:
        return caller.text(await caller.way.loop(await caller.stream()))

    assert stage.run(work) == UMLAUTS[:60]
    stage.priced_event()


def test_a_body_that_nobody_reads_keeps_its_bound(stage: Stage) -> None:
    async def work(caller: Caller) -> None:
        async with caller.streaming() as response:
            assert response.headers["content-type"] == "application/json"

    stage.run(work)
    event = stage.event()
    assert event.outcome.status == "partial"
    assert event.usage is not None
    assert event.usage.status == "unknown"
    assert event.charges[0].unresolved == event.decision.bound_nanousd
