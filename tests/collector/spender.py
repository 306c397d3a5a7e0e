"""A program that spends: calls of every kind that metrics tell apart, until its input ends.

Run as `python spender.py LOG`, with a file for its MCP server to write to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import sys
from pathlib import Path
from typing import Any

import anthropic
import mcp
import openai

from tests.fakes.mcp_server import make_server
from tests.fakes.replies import FAKE_HEADER
from tollspan.api import CallDeniedError, attribution, on_usage, tool

ASKED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "where is my order? " * 20}],
    "max_tokens": 100,
}
LARGE_MODEL, UNPRICED_MODEL = "gpt-4o", "a-model-that-nobody-prices"
PAUSE_SECONDS = 0.4


@on_usage
def told(_: object) -> None:
    """Fail, as a program's own function may: that is counted among tollspan's own errors."""
    raise ValueError("this function is broken")


@tool(cost="0.002 USD")
def search(words: str) -> str:
    """Be a tool that costs."""
    return words


def main(log: Path) -> None:
    """Make calls in rounds."""
    with openai.OpenAI(max_retries=0) as one, anthropic.Anthropic(max_retries=0) as other:
        rounds = 0
        while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
            with attribution(customer=f"c{rounds % 3}"):
                ask(one)
                write(other)
                use_tools(log)
            rounds += 1


def ask(client: openai.OpenAI) -> None:
    """Make calls that are answered in every way, and a stream whose chunks take their time."""
    chat(client, reasoning_tokens=30, cached_tokens=40)
    chat(client, prompt_tokens=5_000)  # more than it can have: an overrun
    chat(client, status=500)
    chat(client, UNPRICED_MODEL)
    chat(client, LARGE_MODEL)
    with contextlib.suppress(CallDeniedError):
        headers = {FAKE_HEADER: json.dumps({"output_tokens": 8, "chunk_delay_seconds": 0.01})}
        made = client.chat.completions.create(
            model="gpt-4o-mini", stream=True, extra_headers=headers, **ASKED
        )
        with made as chunks:
            assert list(chunks)
    with contextlib.suppress(CallDeniedError):
        client.embeddings.create(model="text-embedding-3-small", input="an order")


def chat(client: openai.OpenAI, model: str = "gpt-4o-mini", **reply: object) -> None:
    """Make a call that is answered as told, refused, or failed."""
    headers = {FAKE_HEADER: json.dumps({"output_tokens": 50, **reply})}
    with contextlib.suppress(CallDeniedError, openai.APIStatusError):
        client.chat.completions.create(model=model, extra_headers=headers, **ASKED)


def write(client: anthropic.Anthropic) -> None:
    """Make a call that writes to a cache and reads from it."""
    reply = {"output_tokens": 20, "cached_tokens": 30, "cache_write_tokens": 20}
    headers = {FAKE_HEADER: json.dumps(reply)}
    with contextlib.suppress(CallDeniedError):
        client.messages.create(model="claude-haiku-4-5", extra_headers=headers, **ASKED)


def use_tools(log: Path) -> None:
    """Call a tool of the program's own, and one of an MCP server."""

    async def add() -> None:
        async with mcp.Client(make_server(log)) as client:
            await client.call_tool("add", {"a": 1, "b": 2})

    with contextlib.suppress(CallDeniedError):
        search("order")
    with contextlib.suppress(CallDeniedError, ExceptionGroup):
        asyncio.run(add())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
