"""How each row of `docs/reference/outcomes.md` comes about."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.fakes import Reply, refusing_base_url, silent_base_url
from tests.integration.openai.stage import Stage

TEXT = (
    "The quick brown fox jumps over the lazy dog, and then it walks home through the dark forest. "
    "Nobody knows what it was looking for in the village, but the farmers were not amused, since "
    "they had lost several of their best chickens in the course of a single week in October."
)
ASKED: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Tell me a story about a fox, a dog and a farmer."}],
    "max_completion_tokens": 200,
}
SYNC, ASYNC = "sync", "async"
BOTH = (SYNC, ASYNC)
SHORT = httpx2.Timeout(5, read=0.3)
QUICK = 0.001

Base = Callable[[], contextlib.AbstractContextManager[str]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way for a call to end.

    Attributes:
        replies: What the provider answers, request by request.
        client, call: Options beside the usual ones.
        base: Where the client finds another server than the fake.
        take: How many chunks of a stream are taken; None drains it.
        raises: The call, or the stream, raises in the caller.
        kinds: The clients that it is tried with.
        own: Does it all by itself instead.
    """

    replies: tuple[Reply, ...] = ()
    client: dict[str, Any] = field(default_factory=dict)
    call: dict[str, Any] = field(default_factory=dict)
    base: Base | None = None
    take: int | None = None
    raises: bool = False
    kinds: tuple[str, ...] = BOTH
    own: Callable[[Stage], None] | None = None

    def happen(self, stage: Stage, kind: str) -> None:
        """Make it happen."""
        stage.fake.script.push(*self.replies)
        if self.own is not None:
            self.own(stage)
            return
        with contextlib.ExitStack() as stack:
            options = dict(self.client)
            if self.base is not None:
                options["base_url"] = stack.enter_context(self.base())
            if self.raises:
                stack.enter_context(pytest.raises(Exception, match=r"."))
            if kind == SYNC:
                self._sync(stage.client(**options))
            else:
                stage.run(self._async, **options)

    def _sync(self, client: OpenAI) -> None:
        create: Any = client.chat.completions.create
        result = create(**{**ASKED, **self.call})
        if "stream" not in self.call:
            return
        if self.take is None:
            list(result)
            return
        for _ in range(self.take):
            next(result)
        result.close()

    async def _async(self, client: AsyncOpenAI) -> None:
        create: Any = client.chat.completions.create
        result = await create(**{**ASKED, **self.call})
        if "stream" not in self.call:
            return
        if self.take is None:
            async for _ in result:
                pass
            return
        for _ in range(self.take):
            await anext(result)
        await result.close()


def status(code: int) -> Reply:
    """A refusal that the SDK, if it retries, retries at once."""
    return Reply(status=code, retry_after_seconds=QUICK)


@contextlib.contextmanager
def unknown_host() -> Iterator[str]:
    """Yield a base URL of a host that has no address (RFC 6761)."""
    yield "http://nowhere.invalid/v1"


@contextlib.contextmanager
def full_base_url() -> Iterator[str]:
    """Yield a base URL whose queue of connections is full: a further one is never made."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as s:
        address = listener.getsockname()
        for _ in range(8):
            waiting = s.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}/v1"


@contextlib.contextmanager
def headers_only_base_url() -> Iterator[str]:
    """Yield a base URL that answers with headers, and keeps the body."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                connection.sendall(head + b"content-length: 100\r\n\r\n")
                done.wait(5)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        done.set()
        thread.join(5)


def _cancel(stage: Stage, **call: Any) -> None:
    """Cancel a task while it waits for the provider, for its headers or for a chunk."""

    async def work(client: AsyncOpenAI) -> None:
        async def ask() -> None:
            create: Any = client.chat.completions.create
            result = await create(**{**ASKED, **call})
            chunks: AsyncIterator[object] = result
            async for _ in chunks:
                pass

        task = asyncio.create_task(ask())
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    stage.run(work)


def _interrupt(stage: Stage) -> None:
    """Press Ctrl-C while the provider is silent."""
    create: Any = stage.client().chat.completions.create
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            create(**ASKED)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _raw(stage: Stage) -> None:
    raw = stage.client().chat.completions.with_raw_response.create(**ASKED, stream=True)
    list(raw.parse())


def _raw_bytes(stage: Stage) -> None:
    raw = stage.client().chat.completions.with_raw_response.create(**ASKED, stream=True)
    assert list(raw.http_response.iter_bytes())
    del raw
    gc.collect()


def _streamed_response(stage: Stage) -> None:
    create = stage.client().chat.completions.with_streaming_response.create
    with create(**ASKED) as response:
        assert response.parse().usage is not None


def _retried(*replies: Reply, **more: Any) -> Case:
    raises = more.pop("raises", False)
    return Case(replies=replies, client={"max_retries": 2, "timeout": SHORT}, raises=raises, **more)


def _streamed(reply: Reply, **more: Any) -> Case:
    call = {"stream": True, **more.pop("call", {})}
    return Case(replies=(reply,), call=call, client={"timeout": SHORT}, **more)


ANSWER = Reply(text=TEXT)
SILENCE = Reply(text=TEXT, latency_seconds=30)
RESET = Reply(drop="before_headers")

CASES: dict[str, Case] = {
    "answered": Case(replies=(ANSWER,)),
    "answered_without_usage": Case(replies=(Reply(omit_usage=True),)),
    **{
        f"status_{code}": Case(replies=(status(code),), raises=True)
        for code in (400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504, 524)
    },
    "not_built": Case(call={"messages": [{"role": "user", "content": object()}]}, raises=True),
    "refused": Case(base=refusing_base_url, raises=True),
    "unknown_host": Case(base=unknown_host, raises=True),
    "connect_timeout": Case(
        base=full_base_url, client={"timeout": httpx2.Timeout(5, connect=0.3)}, raises=True
    ),
    "timeout_before_headers": Case(base=silent_base_url, client={"timeout": SHORT}, raises=True),
    "timeout_after_headers": Case(
        base=headers_only_base_url, client={"timeout": SHORT}, raises=True
    ),
    "reset_before_headers": Case(replies=(RESET,), raises=True),
    "reset_after_headers": Case(replies=(Reply(drop="after_headers"),), raises=True),
    "reset_in_body": Case(replies=(Reply(drop="mid_body"),), raises=True),
    "end_in_body": Case(replies=(Reply(drop="mid_body", close_with="fin"),), raises=True),
    "malformed": Case(replies=(Reply(malformed_json=True),), raises=True),
    "other_shape": Case(
        replies=(Reply(finish_reason="unheard of"),),
        client={"_strict_response_validation": True},
        raises=True,
    ),
    "cancelled": Case(replies=(SILENCE,), kinds=(ASYNC,), own=_cancel),
    "interrupted": Case(replies=(SILENCE,), kinds=(SYNC,), own=_interrupt),
    "500_then_answer": _retried(status(500), ANSWER),
    "429_429_then_answer": _retried(status(429), status(429), ANSWER),
    "429_to_the_end": _retried(status(429), status(429), status(429), raises=True),
    "504_then_answer": _retried(status(504), ANSWER),
    "timeout_then_answer": _retried(SILENCE, ANSWER),
    "reset_then_answer": _retried(RESET, ANSWER),
    "reset_then_400": _retried(RESET, status(400), raises=True),
    "timeout_to_the_end": _retried(SILENCE, SILENCE, SILENCE, raises=True),
    "refused_to_the_end": _retried(base=refusing_base_url, raises=True),
    "timeout_then_stream": _retried(SILENCE, ANSWER, call={"stream": True}),
    "stream_drained": _streamed(ANSWER),
    "stream_without_usage": _streamed(Reply(text=TEXT, omit_usage=True)),
    "stream_left": _streamed(Reply(text=TEXT, stall_after_chunks=40), take=40),
    "stream_left_reasoning": _streamed(
        Reply(text=TEXT, stall_after_chunks=40), take=40, call={"model": "o4-mini"}
    ),
    "stream_closed_unread": _streamed(ANSWER, take=0),
    "stream_cancelled_unread": Case(
        replies=(Reply(text=TEXT, first_chunk_delay_seconds=30),),
        kinds=(ASYNC,),
        own=lambda stage: _cancel(stage, stream=True),
    ),
    "stream_cancelled": Case(
        replies=(Reply(text=TEXT, stall_after_chunks=40),),
        kinds=(ASYNC,),
        own=lambda stage: _cancel(stage, stream=True),
    ),
    "stream_error": _streamed(Reply(text=TEXT, error_in_stream=40), raises=True),
    "stream_reset_unread": _streamed(Reply(text=TEXT, drop="after_headers"), raises=True),
    "stream_reset": _streamed(
        Reply(text=TEXT, drop="mid_stream", after_chunks=40, chunk_delay_seconds=QUICK),
        raises=True,
    ),
    "stream_cut": _streamed(
        Reply(text=TEXT, drop="mid_stream", after_chunks=40, close_with="fin"), raises=True
    ),
    "stream_timeout": _streamed(Reply(text=TEXT, stall_after_chunks=40), raises=True),
    "stream_malformed": _streamed(Reply(text=TEXT, malformed_json=True), raises=True),
    "stream_429": _streamed(status(429), raises=True),
    "raw_stream": Case(replies=(ANSWER,), kinds=(SYNC,), own=_raw),
    "raw_stream_bytes": Case(replies=(ANSWER,), kinds=(SYNC,), own=_raw_bytes),
    "streamed_response": Case(replies=(ANSWER,), kinds=(SYNC,), own=_streamed_response),
}
