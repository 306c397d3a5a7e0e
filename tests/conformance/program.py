"""A program of a user, on both SDKs: every operation that is gated, and every way in which it ends.

It knows of tollspan the class of its denials and the mark of a tool, and sets up no telemetry. Each
call asks for everything that the conventions have an attribute for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai

from tollspan.api import CallDeniedError, tool

PROMPT = "tell nobody that the heron flies at noon"
MESSAGES: Any = [{"role": "user", "content": PROMPT}]
CHAT: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": MESSAGES,
    "max_tokens": 100,
    "temperature": 0.5,
    "top_p": 0.9,
    "frequency_penalty": 0.1,
    "presence_penalty": 0,
    "seed": 7,
    "stop": "END",
    "service_tier": "flex",
    "response_format": {"type": "json_object"},
    "reasoning_effort": "low",
    "n": 2,
    "extra_body": {"top_k": 40},
}
RESPONSES: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "input": PROMPT,
    "max_output_tokens": 100,
    "temperature": 0.5,
    "conversation": {"id": "conv_123"},
    "text": {"format": {"type": "text"}},
    "reasoning": {"effort": "low"},
}
COMPLETIONS: dict[str, Any] = {
    "model": "gpt-3.5-turbo-instruct",
    "prompt": PROMPT,
    "max_tokens": 100,
    "stop": ["END", "STOP"],
}
EMBEDDINGS: dict[str, Any] = {
    "model": "text-embedding-3-small",
    "input": PROMPT,
    "dimensions": 256,
    "encoding_format": "float",
}
MODERATION: dict[str, Any] = {"model": "omni-moderation-latest", "input": PROMPT}
ANTHROPIC: dict[str, Any] = {
    "model": "claude-sonnet-4-6",
    "messages": MESSAGES,
    "max_tokens": 100,
    "extra_body": {"top_k": 40},
    "stop_sequences": ["END"],
}
TOO_MUCH: dict[str, Any] = {"model": "gpt-4o", "max_tokens": 16_000, "n": 100}
REFUSED: dict[str, Any] = {"extra_headers": {"x-fake": json.dumps({"status": 400})}}
BROKEN: dict[str, Any] = {"extra_headers": {"x-fake": json.dumps({"status": 500})}}


def answers(gpt: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    """Make calls that succeed, whole and as streams."""
    gpt.chat.completions.create(**CHAT)
    list(gpt.chat.completions.create(**CHAT, stream=True))
    gpt.responses.create(**RESPONSES)
    more = {**RESPONSES, "previous_response_id": "resp_123"}
    del more["conversation"]
    list(gpt.responses.create(**more, stream=True))
    gpt.completions.create(**COMPLETIONS)
    gpt.embeddings.create(**EMBEDDINGS)
    gpt.moderations.create(**MODERATION)
    claude.messages.create(**ANTHROPIC)
    list(claude.messages.create(**ANTHROPIC, stream=True))
    with claude.messages.stream(**ANTHROPIC) as stream:
        list(stream.text_stream)


@tool(cost="0.0001 USD", call_id="number")
def look_up(query: str, number: str) -> str:
    """Be a tool of the program's own; what it is asked is nobody's business either."""
    if not query:
        raise LookupError(query)
    return query.upper()


def tools() -> None:
    """Call it, and have it fail."""
    look_up(PROMPT, "call_7")
    with raising(LookupError):
        look_up("", "call_8")


async def answers_async() -> None:
    """Make calls that succeed, on an event loop."""
    async with openai.AsyncOpenAI(max_retries=0) as gpt:
        await gpt.chat.completions.create(**CHAT)
        async for _ in await gpt.chat.completions.create(**CHAT, stream=True):
            pass
    async with anthropic.AsyncAnthropic(max_retries=0) as claude:
        await claude.messages.create(**ANTHROPIC)


@contextlib.contextmanager
def raising(*kinds: type[Exception]) -> Iterator[None]:
    """See that a block raises one of these."""
    try:
        yield
    except kinds:
        return
    raise AssertionError(kinds)


def failures(gpt: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    """Make calls that the provider refuses or breaks at."""
    for more in (REFUSED, BROKEN):
        with raising(openai.APIStatusError):
            gpt.chat.completions.create(**CHAT, **more)
        with raising(openai.APIStatusError):
            gpt.responses.create(**RESPONSES, **more)
        with raising(openai.APIStatusError):
            gpt.embeddings.create(**EMBEDDINGS, **more)
        with raising(openai.APIStatusError):
            gpt.moderations.create(**MODERATION, **more)
        with raising(anthropic.APIStatusError):
            claude.messages.create(**ANTHROPIC, **more)


def denials(gpt: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    """Make calls that the budget refuses."""
    with raising(CallDeniedError):
        gpt.chat.completions.create(**{**CHAT, **TOO_MUCH})
    with raising(CallDeniedError):
        gpt.chat.completions.create(**{**CHAT, **TOO_MUCH}, stream=True)
    with raising(CallDeniedError):
        gpt.responses.create(**{**RESPONSES, "model": "o1-pro", "max_output_tokens": 100_000})
    dear = {**ANTHROPIC, "model": "claude-opus-4-1", "max_tokens": 320_000, "timeout": 60}
    with raising(CallDeniedError):
        claude.messages.create(**dear)


def partials(gpt: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    """Begin streams and leave them."""
    with gpt.chat.completions.create(**CHAT, stream=True) as chunks:
        next(iter(chunks))
    with gpt.responses.create(**RESPONSES, stream=True) as events:
        next(iter(events))
    with claude.messages.create(**ANTHROPIC, stream=True) as pieces:
        next(iter(pieces))


def main() -> None:
    """Make every call."""
    gpt, claude = openai.OpenAI(max_retries=0), anthropic.Anthropic(max_retries=0)
    answers(gpt, claude)
    tools()
    asyncio.run(answers_async())
    failures(gpt, claude)
    partials(gpt, claude)
    denials(gpt, claude)


if __name__ == "__main__":
    main()
