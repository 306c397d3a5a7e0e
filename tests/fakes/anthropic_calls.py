"""The shortest calls of the real Anthropic SDK, for tests that drive a fake with it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from anthropic import Anthropic, Stream
from anthropic.types import Message, RawMessageStreamEvent

from tests.fakes.books import ANTHROPIC_PRICES, bill_nanousd
from tests.fakes.replies import FAKE_HEADER

MODEL = "claude-haiku-4-5"
MAX_TOKENS = 100
PROMPT = "Say hello"
PROMPT_TOKENS = 3 + 3 + 1 + 3
"""Under `bytes4`: priming, one message, its role, its text."""
ASKED: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": MAX_TOKENS,
    "messages": [{"role": "user", "content": PROMPT}],
}


def message(client: Anthropic, *, fake_reply: object = None, **options: Any) -> Message:
    """Ask for a message; `fake_reply` is the JSON value of the `x-fake` header."""
    headers = {} if fake_reply is None else {FAKE_HEADER: json.dumps(fake_reply)}
    create = cast("Any", client.messages.create)
    return cast("Message", create(extra_headers=headers, **{**ASKED, **options}))


def stream(client: Anthropic, **options: Any) -> Stream[RawMessageStreamEvent]:
    """Ask for a streamed message."""
    return cast("Stream[RawMessageStreamEvent]", message(client, stream=True, **options))


def text_of(events: Iterable[RawMessageStreamEvent]) -> str:
    """Return the text of a stream, of all blocks in the order of arrival."""
    return "".join(
        event.delta.text
        for event in events
        if event.type == "content_block_delta" and event.delta.type == "text_delta"
    )


def price_nanousd(prompt_tokens: int, output_tokens: int, *, cached_tokens: int = 0) -> int:
    """Return the bill of one call of `MODEL`."""
    return bill_nanousd(
        ANTHROPIC_PRICES[MODEL],
        prompt_tokens=prompt_tokens,
        cached_tokens=cached_tokens,
        output_tokens=output_tokens,
    )
