"""Synchronous streams: every end is seen once, and the proxy passes for the stream."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from openai import Stream
from openai.types.chat import ChatCompletionChunk

from tests.fakes import Reply
from tests.fakes.calls import stream, text_of
from tests.integration.openai.stage import Stage
from tollspan.usage import UsageEvent

WORDS = ("one", " two", " three", " four", " five", " six")
Chunks = Stream[ChatCompletionChunk]


class UserError(Exception):
    """Raised by the program's own code."""


@pytest.fixture
def chunks(stage: Stage) -> Chunks:
    """A stream of eight chunks: the role, six words, the end."""
    stage.fake.script.default = Reply(chunks=WORDS)
    return stream(stage.client())


def assert_cut(event: UsageEvent) -> None:
    """Billed from what has arrived, as an estimate, and the rest of the hold given back."""
    assert event.outcome.status == "partial"
    assert event.outcome.error_type is None
    assert event.usage is not None
    assert event.usage.status == "estimated"
    assert event.usage.input_tokens > 0
    assert event.cost.status == "priced"
    assert event.charges[0].unresolved_nanousd == 0


def take(chunks: Chunks, count: int) -> list[ChatCompletionChunk]:
    """Take some chunks of a stream, and leave it."""
    taken: list[ChatCompletionChunk] = []
    for chunk in chunks:
        taken.append(chunk)
        if len(taken) == count:
            break
    return taken


def fail_in(chunks: Chunks, error: BaseException) -> None:
    """Raise in the loop over a stream."""
    with chunks:
        for _ in chunks:
            raise error


# --- ends ---


def test_a_drained_stream_costs_what_the_provider_bills(stage: Stage, chunks: Chunks) -> None:
    assert text_of(chunks) == "".join(WORDS)
    event = stage.event()
    assert event.outcome.status == "ok"
    assert event.outcome.response.finish_reasons == ("stop",)
    assert event.usage is not None
    assert event.usage.status == "reported"
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd > 0
    assert event.outcome.first_chunk_ns is not None
    assert 0 < event.outcome.first_chunk_ns <= event.outcome.duration_ns
    assert list(chunks) == []
    assert len(stage.events()) == 1


def test_a_stream_drained_by_next_is_drained_too(stage: Stage, chunks: Chunks) -> None:
    seen = [next(chunks) for _ in range(8)]
    with pytest.raises(StopIteration):
        next(chunks)
    assert text_of(seen) == "".join(WORDS)
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd


def test_leaving_the_loop_and_dropping_the_stream_ends_it(stage: Stage) -> None:
    stage.fake.script.default = Reply(chunks=WORDS)
    made = stream(stage.client())
    take(made, 3)
    assert stage.open_streams == 1
    del made
    gc.collect()
    assert_cut(stage.event())


def test_leaving_the_loop_over_a_stream_without_a_name_ends_it(stage: Stage) -> None:
    stage.fake.script.default = Reply(chunks=WORDS)
    for _ in stream(stage.client()):
        break
    gc.collect()
    assert_cut(stage.event())


def test_leaving_the_loop_keeps_the_stream_open_and_it_can_be_resumed(
    stage: Stage, chunks: Chunks
) -> None:
    first = take(chunks, 3)
    assert stage.events() == []
    assert text_of([*first, *chunks]) == "".join(WORDS)
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd


def test_an_open_stream_is_accounted_for_when_tollspan_is_put_away(
    stage: Stage, chunks: Chunks
) -> None:
    take(chunks, 3)
    stage.installed.lifecycle.finish_open_streams()
    assert_cut(stage.event())
    assert text_of(chunks) == "".join(WORDS[2:])
    assert len(stage.events()) == 1


def test_close_ends_a_stream(stage: Stage, chunks: Chunks) -> None:
    take(chunks, 3)
    chunks.close()
    assert chunks.response.is_closed
    assert_cut(stage.event())
    chunks.close()
    assert len(stage.events()) == 1


def test_leaving_a_with_block_ends_a_stream(stage: Stage, chunks: Chunks) -> None:
    with chunks as same:
        assert same is chunks
        take(same, 3)
    assert chunks.response.is_closed
    assert_cut(stage.event())


def test_a_with_block_around_a_drained_stream_changes_nothing(stage: Stage, chunks: Chunks) -> None:
    with chunks:
        assert text_of(chunks) == "".join(WORDS)
    assert stage.event().outcome.status == "ok"


def test_an_exception_in_the_loop_is_the_callers_own(stage: Stage, chunks: Chunks) -> None:
    mine = UserError("mine")
    with pytest.raises(UserError) as caught:
        fail_in(chunks, mine)
    assert caught.value is mine
    assert_cut(stage.event())


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_with_block_is_a_cancellation(
    stage: Stage, chunks: Chunks, kind: type[BaseException]
) -> None:
    with pytest.raises(kind):
        fail_in(chunks, kind())
    event = stage.event()
    assert event.outcome.status == "cancelled"
    assert event.outcome.error_type == kind.__name__


def test_a_stream_closed_before_its_first_chunk_keeps_its_whole_bound(
    stage: Stage, chunks: Chunks
) -> None:
    chunks.close()
    event = stage.event()
    assert event.outcome.status == "partial"
    assert event.usage is not None
    assert event.usage.status == "unknown"
    assert event.cost.amount_nanousd is None
    assert event.charges[0].unresolved_nanousd == event.decision.bound_nanousd


def test_the_provider_may_break_off_with_an_error_event(stage: Stage) -> None:
    stage.fake.script.default = Reply(chunks=WORDS, error_in_stream=3)
    made = stream(stage.client())
    with pytest.raises(openai.APIError, match="error") as caught:
        list(made)
    assert type(caught.value) is openai.APIError
    event = stage.event()
    assert (event.outcome.status, event.outcome.error_type) == ("error", "APIError")
    assert event.usage is not None
    assert event.usage.status == "estimated"


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_the_connection_may_break(stage: Stage, how: str) -> None:
    reply = Reply(chunks=WORDS, drop="mid_stream", after_chunks=3)
    stage.fake.script.default = reply.with_json({"close_with": how})
    seen: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIConnectionError):
        seen.extend(stream(stage.client()))
    event = stage.event()
    assert (event.outcome.status, event.outcome.error_type) == ("error", "APIConnectionError")
    assert event.usage is not None


def test_the_provider_may_fall_silent(stage: Stage) -> None:
    stage.fake.script.default = Reply(chunks=WORDS, stall_after_chunks=3)
    made = stream(stage.client(timeout=httpx2.Timeout(5, read=0.2)))
    with pytest.raises(openai.APITimeoutError):
        list(made)
    event = stage.event()
    assert (event.outcome.status, event.outcome.error_type) == ("timeout", "APITimeoutError")
    assert event.usage is not None
    assert event.usage.status == "estimated"


def leave_in_a_cycle(stage: Stage) -> None:
    """Leave an open stream where only the garbage collector finds it."""
    stage.fake.script.default = Reply(chunks=WORDS)
    made = stream(stage.client())
    take(made, 2)
    cycle: list[object] = [made]
    cycle.append(cycle)


def test_a_garbage_cycle_is_an_end_like_any_other(stage: Stage) -> None:
    leave_in_a_cycle(stage)
    gc.collect()
    assert_cut(stage.event())


def test_garbage_may_be_collected_inside_the_ledgers_lock(stage: Stage) -> None:
    leave_in_a_cycle(stage)
    with stage.installed.ledger._lock:
        gc.collect()
    assert_cut(stage.event())


def test_garbage_may_be_collected_in_the_thread_that_books_it(stage: Stage) -> None:
    leave_in_a_cycle(stage)
    collected = threading.Event()

    def collect() -> None:
        gc.collect()
        collected.set()

    stage.installed.lifecycle.worker.put(collect)
    assert collected.wait(5)
    assert_cut(stage.event())


# --- what a program may do with a stream ---


def test_the_proxy_passes_for_the_stream(chunks: Chunks) -> None:
    assert isinstance(chunks, Stream)
    assert isinstance(chunks, Iterator)
    assert chunks.__class__ is Stream
    assert isinstance(chunks.response, httpx2.Response)
    assert chunks.response.status_code == 200
    chunks.close()


def test_the_chunks_are_the_sdks_own_objects(stage: Stage) -> None:
    stage.fake.script.default = Reply(chunks=WORDS)
    seen: list[object] = []
    client = stage.client()
    process = client._process_response_data

    def remember(**given: Any) -> object:
        seen.append(process(**given))
        return seen[-1]

    client._process_response_data = remember  # type: ignore[method-assign, assignment]  # the SDK's
    got = list(stream(client, stream_options={"include_usage": True}))
    assert len(got) == len(seen) == 9
    assert all(mine is theirs for mine, theirs in zip(got, seen, strict=True))


def test_no_chunk_is_read_ahead(stage: Stage) -> None:
    stage.fake.script.default = Reply(chunks=WORDS, stall_after_chunks=2)
    made = stream(stage.client(timeout=5))
    assert [chunk.choices[0].delta.content for chunk in take(made, 3)] == ["", "one", " two"]
    made.close()


def test_several_iterators_share_one_stream(stage: Stage, chunks: Chunks) -> None:
    one, other = iter(chunks), iter(chunks)
    mixed = [next(one), next(other), next(chunks), next(one), *other]
    assert text_of(mixed) == "".join(WORDS)
    assert list(one) == []
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd


def test_an_iterator_that_is_closed_or_thrown_into_leaves_the_stream_open(
    stage: Stage, chunks: Chunks
) -> None:
    closed: Any = iter(chunks)
    first = next(closed)
    closed.close()
    thrown: Any = iter(chunks)
    second = next(thrown)
    with pytest.raises(UserError):
        thrown.throw(UserError())
    assert stage.events() == []
    assert text_of([first, second, *chunks]) == "".join(WORDS)
    assert stage.event().outcome.status == "ok"


def test_a_stream_may_be_handed_to_another_thread(stage: Stage, chunks: Chunks) -> None:
    first = take(chunks, 2)
    rest: list[ChatCompletionChunk] = []
    thread = threading.Thread(target=lambda: rest.extend(chunks))
    thread.start()
    thread.join()
    assert text_of([*first, *rest]) == "".join(WORDS)
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd


def test_long_streams_are_read_with_flat_memory(stage: Stage) -> None:
    stage.fake.script.default = Reply(output_tokens=2000)
    made = stream(stage.client())
    run, reader = next(iter(stage.installed.lifecycle.open_streams.values()))
    assert sum(1 for _ in take(made, 1500)) == 1500
    assert len(reader.kept) <= 256
    assert run.call.request.is_stream
    made.close()
    event = stage.event()
    assert event.usage is not None
    assert event.usage.output == pytest.approx(1499, rel=0.1)


# --- the SDK's own helpers ---


def test_the_sdks_stream_helper_works_and_is_booked(stage: Stage) -> None:
    stage.fake.script.default = Reply(chunks=WORDS)
    with stage.client().chat.completions.stream(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Say hello"}]
    ) as helper:
        kinds = [event.type for event in helper]
        final = helper.get_final_completion()
    assert kinds.count("content.delta") == 1 + len(WORDS)
    assert final.choices[0].message.content == "".join(WORDS)
    assert final.usage is None
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd


def test_a_raw_stream_sees_the_providers_bytes_and_parses_into_a_watched_stream(
    stage: Stage,
) -> None:
    stage.fake.script.default = Reply(chunks=WORDS)
    raw = stage.client().chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Say hello"}], stream=True
    )
    assert type(raw).__name__ == "LegacyAPIResponse"
    assert raw.headers["content-type"].startswith("text/event-stream")
    parsed = raw.parse()
    assert raw.parse() is parsed
    assert isinstance(parsed, Stream)
    got = list(parsed)
    assert text_of(got) == "".join(WORDS)
    assert all(chunk.choices for chunk in got)
    assert all("stream_options" not in str(one.json) for one in stage.fake.requests)
    event = stage.event()
    assert event.outcome.status == "ok"
    assert event.usage is not None
    assert event.usage.status == "estimated"


def test_a_raw_stream_is_read_from_the_bytes_that_the_caller_reads(stage: Stage) -> None:
    raw = stage.client().chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Say hello"}], stream=True
    )
    lines = list(raw.http_response.iter_lines())
    assert sum(line.startswith("data: {") for line in lines) > 2
    event = stage.event()
    assert event.outcome.status == "ok"
    assert event.usage is not None
    assert event.usage.status == "estimated"
    assert event.usage.output > 0


def test_a_raw_stream_that_nobody_reads_stays_unknown(stage: Stage) -> None:
    raw = stage.client().chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Say hello"}], stream=True
    )
    ours: Any = raw.http_response.stream
    ours.__wrapped__.close()  # the SDK leaves it open
    del ours
    del raw
    gc.collect()
    event = stage.event()
    assert event.outcome.status == "partial"
    assert event.usage is not None
    assert event.usage.status == "unknown"
    assert event.charges[0].unresolved_nanousd == event.decision.bound_nanousd


def test_a_raw_answer_is_read_from_its_bytes(stage: Stage) -> None:
    raw = stage.client().chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Say hello"}]
    )
    assert raw.parse().choices[0].message.content
    event = stage.event()
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd
    assert event.outcome.response.finish_reasons == ("stop",)


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_streamed_response_is_read_as_the_caller_reads_it(stage: Stage, is_stream: bool) -> None:
    create: Any = stage.client().chat.completions.with_streaming_response.create
    asked: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "Say hello"}],
        "stream": is_stream,
    }
    with create(**asked) as response:
        parsed = response.parse()
        text = text_of(parsed) if is_stream else parsed.choices[0].message.content
    assert text == "Hello! How can I help you today?"
    event = stage.event()
    assert event.outcome.status == "ok"
    assert event.usage is not None
    assert event.usage.status == ("estimated" if is_stream else "reported")
