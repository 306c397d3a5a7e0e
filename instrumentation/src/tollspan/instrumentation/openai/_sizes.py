"""Bounds what a request's values can become in input tokens, by the bytes of their JSON."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple, cast

from tollspan.instrumentation._bytes import given_beside, json_bytes
from tollspan.instrumentation._shapes import is_given

__all__ = [
    "SERVER_TOOLS",
    "PromptSize",
    "further_size",
    "is_given",
    "message_size",
    "prompt_size",
    "without_payloads",
]

# Parts of a message that are text and nothing else. Whatever has another type has no bound in
# bytes: images, audio and files by nature, and what a provider may invent.
_TEXT_PARTS = frozenset({b"text", b"refusal", b"function", b"custom", b"thinking"})
_PART = re.compile(rb'"type":"([^"]{0,80})"')
# What is sent as data counts as tokens in the provider's own way, not by its bytes.
_PAYLOAD = re.compile(rb'"(?:data:[^",]{0,200},|(?=[A-Za-z0-9+/=_-]{512}))[A-Za-z0-9+/=_%-]*"')
# The types of tools that the caller runs himself; others run at the provider, and read the web.
_OWN_TOOLS = frozenset({"function", "custom"})
# Arguments that make a provider add what it finds: OpenAI's, OpenRouter's, xAI's, Qwen's.
SERVER_TOOLS = frozenset({"web_search_options", "plugins", "search_parameters", "enable_search"})
# Arguments that never become input tokens; whatever else is given is counted by its bytes.
_FREE_OF_INPUT = frozenset(
    {
        "model", "messages", "max_tokens", "max_completion_tokens", "n", "stream",
        "stream_options", "temperature", "top_p", "frequency_penalty", "presence_penalty", "seed",
        "stop", "user", "logprobs", "top_logprobs", "logit_bias", "metadata", "modalities",
        "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options",
        "prompt_cache_retention", "safety_identifier", "service_tier", "store", "verbosity",
        "reasoning_effort", "timeout", "extra_headers", "extra_query", "extra_body",
    }
)  # fmt: skip


def message_size(messages: object) -> tuple[int, tuple[str, ...]]:
    """Bound the messages' bytes by the length of their JSON, which is never shorter.

    Returns:
        The bytes, without images and the like, and why they are no bound: `media`, or
        `opaque_messages` for what can't be read without using it up, a generator say.
    """
    encoded = json_bytes(messages)
    if encoded is None:
        return 0, ("opaque_messages",)
    if b'"type":"' in encoded and not _TEXT_PARTS.issuperset(_PART.findall(encoded)):
        return without_payloads(encoded), ("media",)
    if b'"audio":{' in encoded:
        return len(encoded), ("media",)
    return len(encoded), ()


def further_size(kwargs: Mapping[str, object]) -> tuple[int, int, tuple[str, ...]]:
    """Bound the arguments that become input besides the messages: tools, schemas, predictions.

    Returns:
        All their bytes, the bytes of a prediction among them, and why they are no bound.
    """
    if kwargs.keys() <= _FREE_OF_INPUT:
        return 0, 0, ()
    input_bytes = prediction = 0
    reasons: tuple[str, ...] = ()
    for name, value, encoded in given_beside(kwargs, _FREE_OF_INPUT):
        if name in SERVER_TOOLS:
            reasons += ("server_tool",)
        if encoded is None:
            reasons += (f"opaque_{name}",)
            continue
        if name == "prediction":
            prediction = len(encoded)
        elif name == "tools" and _has_server_tool(value):
            reasons += ("server_tool",)
        input_bytes += len(encoded)
    return input_bytes, prediction, reasons


def without_payloads(encoded: bytes) -> int:
    """Return the bytes of some JSON without those of images and the like."""
    return len(_PAYLOAD.sub(b'""', encoded))


class PromptSize(NamedTuple):
    """What is known of one or more prompts.

    Attributes:
        input_bytes: At least as many as they have tokens.
        prompts: How many they are, at least 1.
        unbounded: Why the bytes are no bound.
    """

    input_bytes: int
    prompts: int = 1
    unbounded: tuple[str, ...] = ()


def prompt_size(value: object, name: str) -> PromptSize:
    """Measure a text, an array of tokens, or an array of either.

    A token counts 1, however many digits it has.

    Args:
        value: As it will be sent.
        name: What it is called in the reason of one that can't be read, `opaque_<name>`.
    """
    if not is_given(value):
        return PromptSize(0)
    items = _array(value)
    if items is None:
        return _one_prompt(value, name)
    if all(map(_is_token, items)):
        return PromptSize(len(items))
    if all(isinstance(item, str) for item in items):
        return _one_prompt(items, name)._replace(prompts=len(items))
    sizes = [_one_prompt(item, name) for item in items]
    return PromptSize(
        sum(size.input_bytes for size in sizes),
        len(items),
        next((size.unbounded for size in sizes if size.unbounded), ()),
    )


def _one_prompt(item: object, name: str) -> PromptSize:
    tokens = _array(item)
    if tokens is not None and all(map(_is_token, tokens)):
        return PromptSize(len(tokens))
    encoded = json_bytes(item)
    if encoded is None:
        return PromptSize(0, unbounded=(f"opaque_{name}",))
    if encoded[:1] == b"{":  # an image, say
        return PromptSize(without_payloads(encoded), unbounded=("media",))
    return PromptSize(len(encoded))


def _array(value: object) -> list[object] | None:
    if isinstance(value, Collection) and not isinstance(value, str | Mapping):
        return list(cast("Collection[object]", value))
    return None


def _is_token(value: object) -> bool:
    return type(value) is int


def _has_server_tool(tools: object) -> bool:
    if not isinstance(tools, list | tuple):
        return False
    for tool in cast("list[object]", tools):
        if isinstance(tool, Mapping):
            kind = cast("Mapping[str, object]", tool).get("type")
        else:
            kind = getattr(tool, "type", None)
        if kind not in _OWN_TOOLS:
            return True
    return False
