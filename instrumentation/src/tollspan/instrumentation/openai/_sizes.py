"""Bounds what a request's values can become in input tokens, by the bytes of their JSON."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import cast

import msgspec
from openai._types import NotGiven, Omit

# Parts of a message that are text and nothing else. Whatever has another type has no bound in
# bytes: images, audio and files by nature, and what a provider may invent.
_TEXT_PARTS = frozenset({b"text", b"refusal", b"function", b"custom", b"thinking"})
_PART = re.compile(rb'"type":"([^"]{0,80})"')
# What is sent as data counts as tokens in the provider's own way, not by its bytes.
_PAYLOAD = re.compile(rb'"(?:data:[^",]{0,200},|(?=[A-Za-z0-9+/=_-]{512}))[A-Za-z0-9+/=_%-]*"')
# The types of tools that the caller runs himself; others run at the provider, and read the web.
_OWN_TOOLS = frozenset({"function", "custom"})
# Arguments that make a provider add what it finds: OpenAI's, OpenRouter's, xAI's, Qwen's.
_SERVER_TOOLS = frozenset({"web_search_options", "plugins", "search_parameters", "enable_search"})
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
# Whatever a caller's own objects raise while they are turned into JSON.
_NO_JSON = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def _plain(value: object) -> object:
    """Help the encoder with what the SDK takes too; iterators stay as they are: they run dry."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json", exclude_unset=True)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[object, object]", value))
    if isinstance(value, Collection):
        return list(cast("Collection[object]", value))
    if isinstance(value, NotGiven | Omit):
        return None
    raise NotImplementedError(type(value).__name__)


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


def is_given(value: object) -> bool:
    """Say whether an argument is sent at all."""
    return value is not None and not isinstance(value, NotGiven | Omit)


def message_size(messages: object) -> tuple[int, tuple[str, ...]]:
    """Bound the messages' bytes by the length of their JSON, which is never shorter.

    Returns:
        The bytes, without images and the like, and why they are no bound: `media`, or
        `opaque_messages` for what can't be read without using it up, a generator say.
    """
    try:
        encoded = _encode(messages)
    except _NO_JSON:
        return 0, ("opaque_messages",)
    if b'"type":"' in encoded and not _TEXT_PARTS.issuperset(_PART.findall(encoded)):
        return len(_PAYLOAD.sub(b'""', encoded)), ("media",)
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
    for name in sorted(kwargs.keys() - _FREE_OF_INPUT):
        value = kwargs[name]
        if not is_given(value):
            continue
        if name in _SERVER_TOOLS:
            reasons += ("server_tool",)
        try:
            size = len(_encode(value))
        except _NO_JSON:
            reasons += (f"opaque_{name}",)
            continue
        if name == "prediction":
            prediction = size
        elif name == "tools" and _has_server_tool(value):
            reasons += ("server_tool",)
        input_bytes += size
    return input_bytes, prediction, reasons


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
