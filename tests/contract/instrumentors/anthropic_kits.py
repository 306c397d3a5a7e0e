"""Anthropic's surfaces."""

from __future__ import annotations

from typing import Any

import anthropic
from anthropic.resources.messages import Messages
from anthropic.types import Message
from anthropic.types.beta import BetaMessage

from tests.contract.instrumentors.kit import Helper, Kit, Other, Parse, Streams
from tests.fakes import FakeAnthropic
from tollspan.instrumentation.anthropic import ANTHROPIC

PROMPT = "Tell me a story about a fox, a dog and a farmer."
OBJECT: Any = object()
NO_PARSE = None if hasattr(Messages, "parse") else "this version parses no answers"


def _address(root_url: str) -> dict[str, Any]:
    return {"base_url": root_url}


def _piece(event: Any) -> str:
    if event.type == "content_block_delta" and event.delta.type == "text_delta":
        return str(event.delta.text)
    return ""


def _text(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def _parsed(message: Any) -> object:
    return message.content[0].parsed_output


_MESSAGES: dict[str, Any] = {
    "sdk": ANTHROPIC,
    "package": anthropic,
    "fake": FakeAnthropic,
    "clients": (anthropic.Anthropic, anthropic.AsyncAnthropic),
    "address": _address,
    "asked": {
        "model": "claude-haiku-4-5",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": PROMPT}],
    },
    "unsendable": {"messages": [{"role": "user", "content": OBJECT}]},
    "invalid": {"finish_reason": "unheard of"},
    "most_output": 200,
    "text": _text,
    "provider": "anthropic",
    "operation": "chat",
    "model": "claude-haiku-4-5",
    "served_model": "claude-haiku-4-5-20251001",
    "attributes": {"anthropic.response.service_tier": str},
    "streams": Streams(
        kinds=(anthropic.Stream, anthropic.AsyncStream),
        piece=_piece,
        is_input_reported=True,
        says_usage_unasked=True,
        thinking={"reply": {"reasoning_tokens": 5}},
        event_error="APIStatusError",
        wraps_transport_errors=False,
    ),
    "helper": Helper(final="get_final_message", final_text=_text, delta=_piece),
    "parse": Parse(schema="output_format", parsed=_parsed, missing=NO_PARSE),
}

OTHERS = (
    Other(
        name="official",
        module="opentelemetry.instrumentation.genai.anthropic",
        kind="AnthropicInstrumentor",
        scope="opentelemetry.instrumentation.genai.anthropic",
    ),
    Other(
        name="openllmetry",
        module="opentelemetry.instrumentation.anthropic",
        kind="AnthropicInstrumentor",
        scope="opentelemetry.instrumentation.anthropic",
    ),
    Other(
        name="openinference",
        module="openinference.instrumentation.anthropic",
        kind="AnthropicInstrumentor",
        scope="openinference.instrumentation.anthropic",
    ),
)

MESSAGES = Kit(
    name="anthropic messages",
    resource="messages",
    answer=Message,
    stands_for_others=True,
    others=OTHERS,
    **_MESSAGES,
)
BETA = Kit(
    name="anthropic beta messages", resource="beta.messages", answer=BetaMessage, **_MESSAGES
)

ANTHROPIC_KITS = (MESSAGES, BETA)
