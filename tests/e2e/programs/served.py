"""A web application, by WSGI and by ASGI: each request makes one call and says how it went.

The answer is JSON: `outcome`, the worker's `pid`, and the names of our `threads` in it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import openai

from tollspan.api import CallDeniedError

ASKED: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "a prompt that nobody else may see"}],
    "max_tokens": 100,
}

client = openai.OpenAI(max_retries=0)
async_client = openai.AsyncOpenAI(max_retries=0)

if os.environ.get("CALL_AT_IMPORT"):  # so that the ledger is open before a server forks
    with openai.OpenAI(max_retries=0) as first:
        first.chat.completions.create(**ASKED)


def answered(outcome: str) -> bytes:
    """Describe what became of a call, and where."""
    threads = [one.name for one in threading.enumerate() if one.name.startswith("tollspan")]
    return json.dumps({"outcome": outcome, "pid": os.getpid(), "threads": threads}).encode()


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Make a call."""
    try:
        client.chat.completions.create(**ASKED)
        outcome = "ok"
    except CallDeniedError as denial:
        outcome = type(denial).__name__
    start_response("200 OK", [("content-type", "application/json")])
    return [answered(outcome)]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Make an asynchronous call."""
    if scope["type"] != "http":
        return
    try:
        await async_client.chat.completions.create(**ASKED)
        outcome = "ok"
    except CallDeniedError as denial:
        outcome = type(denial).__name__
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": answered(outcome)})
