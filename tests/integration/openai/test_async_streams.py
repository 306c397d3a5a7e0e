"""Asynchronous streams: every end is seen once, cancellation among them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk

from tests.fakes import Reply, silent_base_url
from tests.fakes.calls import text_of
from tests.integration.openai.stage import Stage, ask, ask_stream
from tests.integration.openai.test_streams import WORDS, UserError, assert_cut

Chunks = AsyncStream[ChatCompletionChunk]


@pytest.fixture(autouse=True)
def words(stage: Stage) -> None:
    """Every stream of this file has eight chunks: the role, six words, the end."""
    stage.fake.script.default = Reply(chunks=WORDS)


async def take(chunks: Chunks, count: int) -> list[ChatCompletionChunk]:
    """Take some chunks of a stream, and leave it."""
    taken: list[ChatCompletionChunk] = []
    async for chunk in chunks:
        taken.append(chunk)
        if len(taken) == count:
            break
    return taken


def test_a_drained_stream_costs_what_the_provider_bills(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        made = await ask_stream(client)
        assert isinstance(made, AsyncStream)
        assert isinstance(made, AsyncIterator)
        assert made.__class__ is AsyncStream
        assert isinstance(made.response, httpx2.Response)
        assert text_of([chunk async for chunk in made]) == "".join(WORDS)
        assert [chunk async for chunk in made] == []

    stage.run(work)
    event = stage.event()
    assert event.outcome.status == "ok"
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd > 0


def test_a_stream_drained_by_anext_is_drained_too(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        made = await ask_stream(client)
        seen = [await anext(made) for _ in range(8)]
        with pytest.raises(StopAsyncIteration):
            await anext(made)
        assert text_of(seen) == "".join(WORDS)

    stage.run(work)
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd


def test_leaving_the_loop_keeps_the_stream_open_and_it_can_be_resumed(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        made = await ask_stream(client)
        first = await take(made, 3)
        assert stage.open_streams == 1
        rest = [chunk async for chunk in made]
        assert text_of([*first, *rest]) == "".join(WORDS)

    stage.run(work)
    assert stage.event().outcome.status == "ok"


def test_dropping_a_stream_ends_it(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        made = await ask_stream(client)
        await take(made, 3)
        await made.__wrapped__.response.aclose()  # type: ignore[attr-defined]  # the SDK leaves it open
        assert stage.open_streams == 1
        del made
        await asyncio.sleep(0.01)
        gc.collect()

    stage.run(work)
    assert_cut(stage.event())


@pytest.mark.parametrize("name", ["close", "aclose"])
def test_close_ends_a_stream(stage: Stage, name: str) -> None:
    async def work(client: AsyncOpenAI) -> None:
        made = await ask_stream(client)
        await take(made, 3)
        await getattr(made, name)()
        assert made.response.is_closed
        await getattr(made, name)()

    stage.run(work)
    assert_cut(stage.event())


def test_leaving_a_with_block_ends_a_stream(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        async with await ask_stream(client) as made:
            assert isinstance(made, AsyncStream)
            await take(made, 3)
        assert made.response.is_closed

    stage.run(work)
    assert_cut(stage.event())


def test_an_exception_in_the_loop_is_the_callers_own(stage: Stage) -> None:
    mine = UserError("mine")

    async def work(client: AsyncOpenAI) -> None:
        async with await ask_stream(client) as made:
            async for _ in made:
                raise mine

    with pytest.raises(UserError) as caught:
        stage.run(work)
    assert caught.value is mine
    assert_cut(stage.event())


def test_an_iterator_that_is_closed_or_thrown_into_leaves_the_stream_open(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        made = await ask_stream(client)
        closed: Any = aiter(made)
        first = await anext(closed)
        await closed.aclose()
        thrown: Any = aiter(made)
        second = await anext(thrown)
        with pytest.raises(UserError):
            await thrown.athrow(UserError())
        rest = [chunk async for chunk in made]
        assert text_of([first, second, *rest]) == "".join(WORDS)

    stage.run(work)
    assert stage.event().outcome.status == "ok"


@pytest.mark.parametrize(
    ("change", "kind", "status"),
    [
        pytest.param({"error_in_stream": 3}, openai.APIError, "error", id="error event"),
        pytest.param(
            {"drop": "mid_stream", "after_chunks": 3}, openai.APIConnectionError, "error", id="rst"
        ),
        pytest.param(
            {"drop": "mid_stream", "after_chunks": 3, "close_with": "fin"},
            openai.APIConnectionError,
            "error",
            id="fin",
        ),
        pytest.param({"stall_after_chunks": 3}, openai.APITimeoutError, "timeout", id="silence"),
    ],
)
def test_the_providers_failure_reaches_the_caller_and_the_books(
    stage: Stage, change: dict[str, object], kind: type[Exception], status: str
) -> None:
    stage.fake.script.default = Reply(chunks=WORDS).with_json(change)

    async def work(client: AsyncOpenAI) -> None:
        async for _ in await ask_stream(client):
            pass

    with pytest.raises(kind):
        stage.run(work, timeout=httpx2.Timeout(5, read=0.2))
    event = stage.event()
    assert event.outcome.status == status
    assert event.outcome.error_type == kind.__name__


async def cancel_soon(task: asyncio.Task[None], started: asyncio.Event) -> None:
    """Cancel a task once it says that it has come so far, and see it end as cancelled."""
    await started.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_cancellation_before_the_headers_keeps_the_bound(stage: Stage, is_stream: bool) -> None:
    async def work(client: AsyncOpenAI) -> None:
        started = asyncio.Event()

        async def call() -> None:
            started.set()
            await ask(client, stream=is_stream)

        await cancel_soon(asyncio.create_task(call()), started)

    with silent_base_url() as silent:
        stage.run(work, base_url=silent)
    event = stage.event()
    assert (event.outcome.status, event.outcome.error_type) == ("cancelled", "CancelledError")
    assert event.charges[0].unresolved_nanousd == event.decision.bound_nanousd


@pytest.mark.parametrize("by_anext", [False, True])
@pytest.mark.parametrize("pieces", [0, 3])
def test_a_cancellation_in_mid_stream_is_one(stage: Stage, pieces: int, by_anext: bool) -> None:
    reply = Reply(chunks=WORDS, stall_after_chunks=pieces)
    if pieces == 0:
        reply = Reply(chunks=WORDS, first_chunk_delay_seconds=60)
    stage.fake.script.default = reply

    async def work(client: AsyncOpenAI) -> None:
        started = asyncio.Event()

        async def call() -> None:
            made = await ask_stream(client)
            started.set()
            if by_anext:
                while True:
                    await anext(made)
            async for _ in made:
                pass

        await cancel_soon(asyncio.create_task(call()), started)

    stage.run(work)
    event = stage.event()
    assert (event.outcome.status, event.outcome.error_type) == ("cancelled", "CancelledError")
    assert event.usage is not None
    assert event.usage.status == ("estimated" if pieces else "unknown")
    kept = 0 if pieces else event.decision.bound_nanousd
    assert event.charges[0].unresolved_nanousd == kept


def test_a_time_limit_of_asyncio_is_a_cancellation_to_the_stream(stage: Stage) -> None:
    stage.fake.script.default = Reply(chunks=WORDS, stall_after_chunks=3)

    async def work(client: AsyncOpenAI) -> None:
        async with asyncio.timeout(0.2), await ask_stream(client) as made:
            async for _ in made:
                pass

    with pytest.raises(TimeoutError):
        stage.run(work)
    assert stage.event().outcome.status == "cancelled"


def test_many_tasks_each_end_their_own_stream(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        async def one(number: int) -> None:
            async with await ask_stream(client) as made:
                if number % 2:
                    await take(made, 2)
                else:
                    assert text_of([chunk async for chunk in made]) == "".join(WORDS)

        await asyncio.gather(*map(one, range(40)))

    stage.run(work)
    statuses = [event.outcome.status for event in stage.events()]
    assert sorted(statuses) == ["ok"] * 20 + ["partial"] * 20


def test_the_sdks_stream_helper_works_and_is_booked(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        manager = client.chat.completions.stream(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Say hello"}]
        )
        async with manager as helper:
            kinds = [event.type async for event in helper]
            final = await helper.get_final_completion()
        assert kinds.count("content.delta") == 1 + len(WORDS)
        assert final.choices[0].message.content == "".join(WORDS)

    stage.run(work)
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd


def test_a_raw_stream_parses_into_a_watched_stream(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        create: Any = client.chat.completions.with_raw_response.create
        raw = await create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Say hello"}], stream=True
        )
        parsed = raw.parse()
        assert raw.parse() is parsed
        assert isinstance(parsed, AsyncStream)
        assert text_of([chunk async for chunk in parsed]) == "".join(WORDS)

    stage.run(work)
    event = stage.event()
    assert event.outcome.status == "ok"
    assert event.usage is not None
    assert event.usage.status == "estimated"


def test_a_streamed_response_parses_into_a_watched_stream(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        create: Any = client.chat.completions.with_streaming_response.create
        asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
        async with create(**asked, stream=True) as response:
            parsed = await response.parse()
            assert text_of([chunk async for chunk in parsed]) == "".join(WORDS)

    stage.run(work)
    assert stage.event().outcome.status == "ok"
