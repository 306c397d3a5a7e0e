"""The shortest calls of the real OpenAI SDK, for tests that drive a fake with it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from openai import OpenAI, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.fakes.books import PRICES, bill_nanousd
from tests.fakes.replies import FAKE_HEADER

MODEL = "gpt-4o-mini"
PROMPT = "Say hello"
PROMPT_TOKENS = 3 + 3 + 1 + 3
"""Under `bytes4`: priming, one message, its role, its text."""


def chat(client: OpenAI, *, fake_reply: object = None, **options: Any) -> ChatCompletion:
    """Ask for a chat completion; `fake_reply` is the JSON value of the `x-fake` header."""
    headers = {} if fake_reply is None else {FAKE_HEADER: json.dumps(fake_reply)}
    asked = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], **options}
    create = cast("Any", client.chat.completions.create)
    return cast("ChatCompletion", create(extra_headers=headers, **asked))


def stream(client: OpenAI, **options: Any) -> Stream[ChatCompletionChunk]:
    """Ask for a streamed chat completion."""
    return cast("Stream[ChatCompletionChunk]", chat(client, stream=True, **options))


def text_of(chunks: Iterable[ChatCompletionChunk]) -> str:
    """Return the text of a stream, of all choices in the order of arrival."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def price_nanousd(prompt_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int:
    """Return the bill of one call of `MODEL`."""
    return bill_nanousd(
        PRICES[MODEL],
        prompt_tokens=prompt_tokens,
        cached_tokens=cached_tokens,
        output_tokens=output_tokens,
    )
