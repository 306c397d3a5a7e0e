"""Streams: drained, left in every way, and as the SDK gives them."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import representative, streaming
from tests.contract.instrumentors.stage import TEXT, Caller, Stage
from tests.fakes import Reply
from tollspan.usage import UsageEvent

PIECES = 40
TOLERANCE = 0.35
STALLED = Reply(text=TEXT, stall_after_chunks=PIECES)


class UserError(Exception):
    """Raised by the program's own code."""


async def drain_in_a_loop(caller: Caller) -> list[Any]:
    return await caller.way.loop(await caller.stream())


async def drain_by_next(caller: Caller) -> list[Any]:
    stream = await caller.stream()
    taken: list[Any] = []
    while (chunk := await caller.way.next(stream)) is not None:
        taken.append(chunk)
    assert await caller.way.next(stream) is None
    return taken


async def drain_in_a_block(caller: Caller) -> list[Any]:
    async with caller.way.block(await caller.stream()) as stream:
        return await caller.way.loop(stream)


async def drain_in_two_loops(caller: Caller) -> list[Any]:
    stream = await caller.stream()
    first = await caller.take(stream, 3)
    return first + await caller.way.loop(stream)


DRAINS = [drain_in_a_loop, drain_by_next, drain_in_a_block, drain_in_two_loops]


def without_chance(chunks: list[Any]) -> list[str]:
    """Return chunks as JSON, with ids and times that differ from call to call struck out."""
    return [
        re.sub(r"[0-9a-f]{20,}|\b1[0-9]{9}(\.0)?\b", "#", chunk.model_dump_json())
        for chunk in chunks
    ]


@representative
@pytest.mark.parametrize("drain", DRAINS)
def test_a_drained_stream_is_the_same_as_without_us_and_its_cost_is_exact(
    stage: Stage, drain: Callable[[Caller], Coroutine[Any, Any, list[Any]]]
) -> None:
    stage.fake.script.default = Reply(text=TEXT)
    caller = stage.caller()
    with stage.bare():
        alone = stage.way.run(drain(caller))
    chunks = stage.way.run(drain(caller))
    assert caller.text(chunks) == TEXT
    assert without_chance(chunks) == without_chance(alone)
    assert list(map(type, chunks)) == list(map(type, alone))
    event = stage.priced_event()
    assert event.call.request.is_stream
    assert event.outcome.first_chunk_ns is not None
    assert 0 < event.outcome.first_chunk_ns <= event.outcome.duration_ns


def is_one(stream: object, kind: type) -> bool:
    """Say whether a program's own check takes it for a stream."""
    return isinstance(stream, kind)


@streaming
def test_the_proxy_passes_for_the_stream(stage: Stage, kit: Kit) -> None:
    assert kit.streams is not None
    kind = kit.streams.kinds[stage.way.is_async]

    hides = kit.streams.hides_from_isinstance

    async def work(caller: Caller) -> None:
        stream: Any = await caller.stream()
        assert is_one(stream, kind) != hides
        claimed: object = stream.__class__
        assert claimed is kind
        assert stream.response.status_code == 200
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        own = [name for name in dir(kind) if not name.startswith("_")]
        assert set(own) <= set(dir(stream))
        for name in own:
            theirs, ours = getattr(kind, name), getattr(stream, name)
            if inspect.isfunction(theirs):
                assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)
        await caller.way.get(stream.close())
        assert stream.response.is_closed

    stage.run(work)
    assert stage.event().outcome.status == "partial"


@streaming
def test_no_chunk_is_read_ahead(stage: Stage) -> None:
    stage.fake.script.default = STALLED

    async def work(caller: Caller) -> list[Any]:
        stream = await caller.stream()
        taken = await caller.take(stream, PIECES)
        await caller.way.get(stream.close())
        return taken

    caller = stage.caller(timeout=5)
    assert TEXT.startswith(caller.text(stage.way.run(work(caller))))


# --- left by the caller ---


def assert_left(stage: Stage, event: UsageEvent) -> None:
    """Billed from what has arrived, as an estimate, and the rest of the hold given back."""
    assert (event.outcome.status, event.outcome.error_type) == ("partial", None)
    assert event.usage is not None
    assert event.usage.status == "estimated"
    assert event.cost.status == "priced"
    if not stage.fake.wait_idle(0.05):
        stage.fake.close()  # an asynchronous client never closes a stream that was dropped
    assert event.cost.amount_nanousd == pytest.approx(stage.fake.billed_nanousd, rel=TOLERANCE)
    assert event.charges[0].unresolved == 0
    assert stage.kit.streams is not None
    if stage.kit.streams.is_input_reported:
        assert event.usage.input_tokens == stage.fake.requests[-1].prompt_tokens


async def drop(caller: Caller) -> None:
    stream = await caller.stream()
    await caller.take(stream, PIECES)
    del stream


async def drop_without_a_name(caller: Caller) -> None:
    await caller.take(await caller.stream(), PIECES)


async def drop_after_next(caller: Caller) -> None:
    stream = await caller.stream()
    taken: list[Any] = []
    while not caller.text(taken).endswith("not amused,"):
        taken.append(await caller.way.next(stream))


async def leave_in_a_cycle(caller: Caller) -> None:
    stream = await caller.stream()
    await caller.take(stream, PIECES)
    cycle: list[object] = [stream]
    cycle.append(cycle)


async def close(caller: Caller) -> None:
    stream = await caller.stream()
    await caller.take(stream, PIECES)
    await caller.way.get(stream.close())
    await caller.way.get(stream.close())


async def close_the_response(caller: Caller) -> None:
    stream = await caller.stream()
    await caller.take(stream, PIECES)
    response = stream.response
    await caller.way.get(response.aclose() if caller.way.is_async else response.close())


async def leave_a_block(caller: Caller) -> None:
    async with caller.way.block(await caller.stream()) as stream:
        await caller.take(stream, PIECES)


async def raise_in_a_block(caller: Caller) -> None:
    mine = UserError()
    with pytest.raises(UserError) as caught:
        await _raise_in_a_block(caller, mine)
    assert caught.value is mine


async def _raise_in_a_block(caller: Caller, error: BaseException) -> None:
    async with caller.way.block(await caller.stream()) as stream:
        await caller.take(stream, PIECES)
        raise error


async def raise_in_the_loop(caller: Caller) -> None:
    async def loop() -> None:
        await caller.take(await caller.stream(), PIECES)
        raise UserError

    with pytest.raises(UserError):
        await loop()


LEAVES = [
    drop, drop_without_a_name, drop_after_next, leave_in_a_cycle, close, close_the_response,
    leave_a_block, raise_in_a_block, raise_in_the_loop,
]  # fmt: skip


@representative
@pytest.mark.parametrize("leave", LEAVES)
def test_a_stream_that_is_left_is_billed_from_what_arrived(
    stage: Stage, leave: Callable[[Caller], Coroutine[Any, Any, None]]
) -> None:
    stage.fake.script.default = STALLED
    stage.run(leave)
    stage.collect()
    assert_left(stage, stage.event())


@streaming
def test_a_stream_that_is_open_at_the_end_is_accounted_for_once(stage: Stage) -> None:
    stage.fake.script.default = Reply(text=TEXT)

    async def begin(caller: Caller) -> tuple[Any, list[Any]]:
        stream = await caller.stream()
        return stream, await caller.take(stream, PIECES)

    caller = stage.caller()
    stream, chunks = stage.way.run(begin(caller))
    stage.installed.lifecycle.finish_open_streams()
    assert stage.event().outcome.status == "partial"
    chunks += stage.way.run(caller.way.loop(stream))
    assert caller.text(chunks) == TEXT
    assert len(stage.events()) == 1


@streaming
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_block_is_a_cancellation(stage: Stage, kind: type[BaseException]) -> None:
    stage.fake.script.default = STALLED

    async def work(caller: Caller) -> None:
        with pytest.raises(kind):
            await _raise_in_a_block(caller, kind())

    stage.run(work)
    event = stage.event()
    assert (event.outcome.status, event.outcome.error_type) == ("cancelled", kind.__name__)
    assert event.usage is not None
    assert event.usage.status == "estimated"


# --- in tasks ---


async def wait_in_a_loop(caller: Caller, stream: Any) -> None:
    await caller.way.loop(stream)


async def wait_by_next(caller: Caller, stream: Any) -> None:
    while True:
        assert await caller.way.next(stream) is not None


@streaming
@pytest.mark.parametrize("way", ["async"], indirect=True)
@pytest.mark.parametrize("wait", [wait_in_a_loop, wait_by_next])
@pytest.mark.parametrize("pieces", [0, PIECES])
def test_a_cancelled_task_ends_its_stream(
    stage: Stage, pieces: int, wait: Callable[[Caller, Any], Coroutine[Any, Any, None]]
) -> None:
    silence = Reply(text=TEXT, first_chunk_delay_seconds=60)
    stage.fake.script.default = STALLED if pieces else silence

    async def work(caller: Caller) -> None:
        stream = await caller.stream()
        await caller.take(stream, pieces)
        task = asyncio.create_task(wait(caller, stream))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    stage.run(work)
    stage.collect()
    event = stage.event()
    assert (event.outcome.status, event.outcome.error_type) == ("cancelled", "CancelledError")
    assert event.usage is not None
    assert event.usage.status == ("estimated" if pieces else "unknown")
    kept = 0 if pieces else event.decision.bound_nanousd
    assert event.charges[0].unresolved == kept


@streaming
@pytest.mark.parametrize("way", ["async"], indirect=True)
def test_a_time_limit_of_asyncio_is_a_cancellation_to_the_stream(stage: Stage) -> None:
    stage.fake.script.default = STALLED

    async def work(caller: Caller) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), await caller.stream() as stream:
                await caller.way.loop(stream)

    stage.run(work)
    event = stage.event()
    assert event.outcome.status == "cancelled"
    assert event.usage is not None
    assert event.usage.status == "estimated"


@streaming
@pytest.mark.parametrize("way", ["async"], indirect=True)
def test_many_tasks_each_end_their_own_stream(stage: Stage) -> None:
    stage.fake.script.default = Reply(text=TEXT)

    async def work(caller: Caller) -> None:
        async def one(number: int) -> None:
            async with await caller.stream() as stream:
                if number % 2:
                    await caller.take(stream, PIECES)
                else:
                    assert caller.text(await caller.way.loop(stream)) == TEXT

        await asyncio.gather(*map(one, range(20)))

    stage.run(work)
    statuses = sorted(event.outcome.status for event in stage.events())
    assert statuses == ["ok"] * 10 + ["partial"] * 10
