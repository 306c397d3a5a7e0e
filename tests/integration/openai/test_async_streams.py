"""Asynchronous streams of chat, beside the contract."""

from __future__ import annotations

import asyncio
from typing import Any

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
    assert event.charges[0].unresolved == event.decision.bound_nanousd
