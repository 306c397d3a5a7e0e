"""How each row of `docs/reference/outcomes.md` comes about."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.contract.instrumentors import servers
from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.stage import TEXT, Caller, Stage
from tests.fakes import Reply

WAIT_SECONDS = 0.25
NO_WAIT_SECONDS = 0.1
"""Where no answer comes anyway."""
QUICK = 0.001
PIECES = 40

Own = Callable[[Stage, Caller], Coroutine[Any, Any, None]]


def any_kit(kit: Kit) -> bool:
    """Every surface has it."""
    return True


def streams(kit: Kit) -> bool:
    """Surfaces that have streams."""
    return kit.streams is not None


def thinks(kit: Kit) -> bool:
    """Surfaces whose models may reason out of sight."""
    return kit.streams is not None and kit.streams.thinking is not None


def validates(kit: Kit) -> bool:
    """Surfaces that have an answer which strict validation refuses."""
    return kit.invalid is not None


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way for a call to end.

    Attributes:
        replies: What the provider answers, request by request.
        client, call: Options beside the usual ones.
        timeouts: Time-outs of the client, in seconds; the others are long.
        server: Where the client finds another server than the fake.
        take: How many pieces of a stream are taken; None drains it.
        raises: The call, or the stream, raises in the caller.
        ways: The clients that it is tried with.
        has: The surfaces that it can happen to.
        own: Does it all by itself instead.
    """

    replies: tuple[Reply, ...] = ()
    client: dict[str, Any] = field(default_factory=dict)
    call: dict[str, Any] = field(default_factory=dict)
    timeouts: dict[str, float] = field(default_factory=dict)
    server: servers.Server | None = None
    take: int | None = None
    raises: bool = False
    ways: tuple[str, ...] = ("sync", "async")
    has: Callable[[Kit], bool] = any_kit
    own: Own | None = None

    def happen(self, stage: Stage) -> None:
        """Make it happen."""
        stage.fake.script.push(*self.replies)
        options = dict(self.client)
        if self.timeouts:
            options["timeout"] = stage.kit.package.Timeout(5, **self.timeouts)
        with contextlib.ExitStack() as stack:
            if self.server is not None:
                options["root_url"] = stack.enter_context(self.server())
            if self.raises:
                stack.enter_context(pytest.raises(Exception))  # noqa: PT011 - whichever
            if self.own is None:
                stage.run(self._happen, **options)
            else:
                stage.way.run(self.own(stage, stage.caller(**options)))

    async def _happen(self, caller: Caller) -> None:
        result = await caller.ask(**self.call)
        if "stream" not in self.call:
            return
        if self.take is None:
            await caller.way.loop(result)
            return
        await caller.take(result, self.take)
        await caller.way.get(result.close())


def status(code: int) -> Reply:
    """A refusal that the SDK, if it retries, retries at once."""
    return Reply(status=code, retry_after_seconds=QUICK)


async def _not_built(stage: Stage, caller: Caller) -> None:
    await caller.ask(**stage.kit.unsendable)


async def _other_shape(stage: Stage, caller: Caller) -> None:
    assert stage.kit.invalid is not None
    stage.fake.script.push(Reply(text=TEXT).with_json(stage.kit.invalid))
    await caller.ask()


async def _left_thinking(stage: Stage, caller: Caller) -> None:
    assert stage.kit.streams is not None
    thinking = stage.kit.streams.thinking
    assert thinking is not None
    stage.fake.script.push(ANSWER_STALLED.with_json(thinking.get("reply", {})))
    stream = await caller.stream(**thinking.get("call", {}))
    await caller.take(stream, PIECES)
    await caller.way.get(stream.close())


def _cancelled(*, pieces: int | None) -> Own:
    """Cancel a task while it waits: for the headers (None), or for a chunk after so many."""

    async def own(stage: Stage, caller: Caller) -> None:
        has_come = asyncio.Event()

        async def call() -> None:
            if pieces is None:
                await caller.ask()
            stream = await caller.stream()
            await caller.take(stream, pieces or 0)
            has_come.set()
            await caller.way.loop(stream)

        task = asyncio.create_task(call())
        if pieces is None:
            while stage.fake.in_flight == 0:
                await asyncio.sleep(0.005)
        else:
            await has_come.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    return own


async def _interrupted(stage: Stage, caller: Caller) -> None:
    """Press Ctrl-C while the provider is silent."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, NO_WAIT_SECONDS)
    try:
        with pytest.raises(KeyboardInterrupt):
            await caller.ask()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


async def _error_event(stage: Stage, caller: Caller) -> None:
    assert stage.kit.streams is not None
    stream = await caller.stream()
    if not stage.kit.streams.raises_event_errors:
        await caller.way.loop(stream)
        return
    with pytest.raises(stage.kit.package.APIError):
        await caller.way.loop(stream)


async def _raw_stream(stage: Stage, caller: Caller) -> None:
    raw = await caller.raw(stream=True)
    await caller.way.loop(await caller.way.get(raw.parse()))


async def _raw_bytes(stage: Stage, caller: Caller) -> None:
    raw = await caller.raw(stream=True)
    name = "aiter_bytes" if caller.way.is_async else "iter_bytes"
    assert await caller.way.loop(getattr(raw.http_response, name)())


async def _streamed_response(stage: Stage, caller: Caller) -> None:
    async with caller.streaming() as response:
        assert type(await caller.way.get(response.parse())) is stage.kit.answer


ANSWER = Reply(text=TEXT)
ANSWER_STALLED = Reply(text=TEXT, stall_after_chunks=PIECES)
SILENCE = Reply(text=TEXT, latency_seconds=30)
RESET = Reply(drop="before_headers")


def _retried(*replies: Reply, **more: Any) -> Case:
    return Case(replies=replies, client={"max_retries": 2}, timeouts={"read": WAIT_SECONDS}, **more)


def _streamed(reply: Reply, **more: Any) -> Case:
    return Case(
        replies=(reply,),
        call={"stream": True},
        timeouts={"read": WAIT_SECONDS},
        has=streams,
        **more,
    )


def _done(own: Own, *replies: Reply, **more: Any) -> Case:
    return Case(replies=replies, own=own, **more)


CASES: dict[str, Case] = {
    "answered": Case(replies=(ANSWER,)),
    "answered_without_usage": Case(replies=(Reply(omit_usage=True),)),
    **{
        f"status_{code}": Case(replies=(status(code),), raises=True)
        for code in (400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504, 524, 529)
    },
    "not_built": _done(_not_built, raises=True),
    "refused": Case(server=servers.refusing, raises=True),
    "unknown_host": Case(server=servers.unknown, raises=True),
    "connect_timeout": Case(
        server=servers.full, timeouts={"connect": NO_WAIT_SECONDS}, raises=True
    ),
    "timeout_before_headers": Case(
        server=servers.silent, timeouts={"read": NO_WAIT_SECONDS}, raises=True
    ),
    "timeout_after_headers": Case(
        server=servers.headers_only, timeouts={"read": NO_WAIT_SECONDS}, raises=True
    ),
    "reset_before_headers": Case(replies=(RESET,), raises=True),
    "reset_after_headers": Case(replies=(Reply(drop="after_headers"),), raises=True),
    "reset_in_body": Case(replies=(Reply(drop="mid_body"),), raises=True),
    "end_in_body": Case(replies=(Reply(drop="mid_body", close_with="fin"),), raises=True),
    "malformed": Case(replies=(Reply(malformed_json=True),), raises=True),
    "other_shape": _done(
        _other_shape, client={"_strict_response_validation": True}, has=validates, raises=True
    ),
    "cancelled": _done(_cancelled(pieces=None), SILENCE, ways=("async",)),
    "interrupted": _done(_interrupted, SILENCE, ways=("sync",)),
    "500_then_answer": _retried(status(500), ANSWER),
    "429_429_then_answer": _retried(status(429), status(429), ANSWER),
    "429_to_the_end": _retried(status(429), status(429), status(429), raises=True),
    "504_then_answer": _retried(status(504), ANSWER),
    "timeout_then_answer": _retried(SILENCE, ANSWER),
    "reset_then_answer": _retried(RESET, ANSWER),
    "reset_then_400": _retried(RESET, status(400), raises=True),
    "timeout_to_the_end": Case(
        server=servers.silent,
        client={"max_retries": 2},
        timeouts={"read": NO_WAIT_SECONDS},
        raises=True,
    ),
    "refused_to_the_end": _retried(server=servers.refusing, raises=True),
    "timeout_then_stream": _retried(SILENCE, ANSWER, call={"stream": True}, has=streams),
    "stream_drained": _streamed(ANSWER),
    "stream_without_usage": _streamed(Reply(text=TEXT, omit_usage=True)),
    "stream_left": _streamed(ANSWER_STALLED, take=PIECES),
    "stream_left_reasoning": _done(_left_thinking, has=thinks),
    "stream_closed_unread": _streamed(ANSWER, take=0),
    "stream_cancelled_unread": _done(
        _cancelled(pieces=0),
        Reply(text=TEXT, first_chunk_delay_seconds=30),
        ways=("async",),
        has=streams,
    ),
    "stream_cancelled": _done(
        _cancelled(pieces=PIECES), ANSWER_STALLED, ways=("async",), has=streams
    ),
    "stream_error": _done(_error_event, Reply(text=TEXT, error_in_stream=PIECES), has=streams),
    "stream_reset_unread": _streamed(Reply(text=TEXT, drop="after_headers"), raises=True),
    "stream_reset": _streamed(
        Reply(text=TEXT, drop="mid_stream", after_chunks=PIECES, chunk_delay_seconds=QUICK),
        raises=True,
    ),
    "stream_cut": _streamed(
        Reply(text=TEXT, drop="mid_stream", after_chunks=PIECES, close_with="fin"), raises=True
    ),
    "stream_ended": _streamed(Reply(text=TEXT, end_after_chunks=PIECES)),
    "stream_timeout": _streamed(ANSWER_STALLED, raises=True),
    "stream_malformed": _streamed(Reply(text=TEXT, malformed_json=True), raises=True),
    "stream_429": _streamed(status(429), raises=True),
    "raw_stream": _done(_raw_stream, ANSWER, has=streams),
    "raw_stream_bytes": _done(_raw_bytes, ANSWER, has=streams),
    "streamed_response": _done(_streamed_response, ANSWER),
}
