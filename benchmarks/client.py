"""The OpenAI SDK over an in-process transport: what is asked, what is answered, and both clients.

The bare client's classes keep the SDK's functions as they were when this module was first used, so
that a bare and a wrapped call can alternate in one process. Use it before anything is wrapped.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx2
import openai
from openai.resources.chat.completions import AsyncCompletions, Completions

MODEL = "gpt-4o-mini"
PROMPT_BYTES = 4_096
CHUNKS = 51
LONG_CHUNKS = 307  # 256 more: a reader that folds its chunks does so once
# Headers that tell the provider how many chunks to send, a usage chunk that is asked for apart.
LONG_STREAM = {"x-chunks": str(LONG_CHUNKS)}
USAGE_IS_LAST = {"x-chunks": str(CHUNKS - 1)}

Call = Callable[[], object]
AsyncCall = Callable[[], Awaitable[object]]
Request = dict[str, Any]

_SENTENCE = "The quick brown fox jumps over the lazy dog while the meter counts each token. "
_BASE = {
    "id": "chatcmpl-C4vK2mNqXw81bYtRz7sLpJd0",
    "created": 1_795_000_000,
    "model": f"{MODEL}-2024-07-18",
    "service_tier": "default",
    "system_fingerprint": "fp_560af6e559",
}
_USAGE = {
    "prompt_tokens": 912,
    "completion_tokens": 48,
    "total_tokens": 960,
    "prompt_tokens_details": {"cached_tokens": 512, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


def request(*, messages: int = 2, tools: int = 0, **more: object) -> Request:
    """Return the arguments of `create`: `PROMPT_BYTES` of text in so many messages."""
    text = (_SENTENCE * (PROMPT_BYTES // len(_SENTENCE) + 1))[: PROMPT_BYTES // messages]
    roles = ["system", *("user" if i % 2 == 0 else "assistant" for i in range(messages - 1))]
    asked: Request = {
        "model": MODEL,
        "messages": [{"role": role, "content": text} for role in roles],
        "max_completion_tokens": 512,
        **more,
    }
    if tools:
        asked["tools"] = [_tool(number) for number in range(tools)]
    return asked


def _tool(number: int) -> dict[str, object]:
    properties = {
        f"field_{i}": {"type": "string", "description": _SENTENCE.strip()} for i in range(6)
    }
    return {
        "type": "function",
        "function": {
            "name": f"look_up_{number}",
            "description": _SENTENCE.strip(),
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            },
        },
    }


def _answer() -> bytes:
    message = {"role": "assistant", "content": _SENTENCE * 2, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return json.dumps(
        {**_BASE, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
    ).encode()


def answer() -> dict[str, Any]:
    """Return the JSON of a whole answer."""
    loaded: dict[str, Any] = json.loads(_ANSWER)
    return loaded


def chunk_objects(chunks: int, *, usage: bool) -> list[dict[str, Any]]:
    """Return the JSON of a stream's chunks: so many, and the usage chunk if it is asked for."""
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": " token"}, None)] * (chunks - 2)
    deltas.append(({}, "stop"))
    base = {**_BASE, "object": "chat.completion.chunk"}
    found: list[dict[str, Any]] = [
        {
            **base,
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}],
            "usage": None,
        }
        for delta, reason in deltas
    ]
    if usage:
        found.append({**base, "choices": [], "usage": _USAGE})
    return found


def _events(chunks: int, *, usage: bool) -> list[bytes]:
    objects = chunk_objects(chunks, usage=usage)
    return [b"data: " + json.dumps(one).encode() + b"\n\n" for one in objects] + [
        b"data: [DONE]\n\n"
    ]


_ANSWER = _answer()
_STREAMS = {
    (chunks, usage): _events(chunks, usage=usage)
    for chunks in (CHUNKS - 1, CHUNKS, LONG_CHUNKS)
    for usage in (False, True)
}


class _Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body that arrives event by event."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


def _respond(asked: httpx2.Request) -> httpx2.Response:
    body = asked.content
    if b'"stream":true' not in body:
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=_ANSWER)
    chunks = int(asked.headers.get("x-chunks", CHUNKS))
    parts = _STREAMS[chunks, b'"include_usage":true' in body]
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=_Body(parts))


def _pinned(owner: type, *names: str) -> Any:
    """Return a subclass that keeps the functions of now, whatever is wrapped later."""
    return type(owner.__name__, (owner,), {n: inspect.getattr_static(owner, n) for n in names})


_BareClient = _pinned(openai.OpenAI, "request", "_sleep_for_retry")
_BareAsyncClient = _pinned(openai.AsyncOpenAI, "request", "_sleep_for_retry")
_BareCompletions = _pinned(Completions, "create")
_BareAsyncCompletions = _pinned(AsyncCompletions, "create")
_OPTIONS: dict[str, Any] = {"api_key": "sk-bench", "base_url": "https://api.openai.com/v1"}


class Clients:
    """One synchronous and one asynchronous client, bare or with whatever is installed now."""

    def __init__(self, *, is_bare: bool) -> None:
        transport = httpx2.MockTransport(_respond)
        sync = _BareClient if is_bare else openai.OpenAI
        asynchronous = _BareAsyncClient if is_bare else openai.AsyncOpenAI
        self.sync = sync(http_client=httpx2.Client(transport=transport), **_OPTIONS)
        self.asynchronous = asynchronous(
            http_client=httpx2.AsyncClient(transport=transport), **_OPTIONS
        )
        if is_bare:
            self.completions: Any = _BareCompletions(self.sync)
            self.async_completions: Any = _BareAsyncCompletions(self.asynchronous)
        else:
            self.completions = self.sync.chat.completions
            self.async_completions = self.asynchronous.chat.completions

    def call(self, asked: Request) -> Call:
        """Return a synchronous call, its stream drained if it has one."""
        completions = self.completions
        if not asked.get("stream"):
            return lambda: completions.create(**asked)

        def drain() -> None:
            for _ in completions.create(**asked):
                pass

        return drain

    def call_async(self, asked: Request) -> AsyncCall:
        """Return an asynchronous call, its stream drained if it has one."""
        completions = self.async_completions
        if not asked.get("stream"):

            async def call() -> None:
                await completions.create(**asked)

            return call

        async def drain() -> None:
            async for _ in await completions.create(**asked):
                pass

        return drain
