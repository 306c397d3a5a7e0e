"""Bounds what a request's values can become in input tokens, by the bytes of their JSON.

Source: anthropic-python 2.12, `message_create_params.py` in `types` and `types/beta`, and the
`*_block_param.py` beside them, read in November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, cast

import msgspec

from tollspan.instrumentation._bytes import given_beside, json_bytes
from tollspan.instrumentation._shapes import is_given

_TYPE = re.compile(rb'"type":"([^"]*)"')
# Blocks that are text to their last member, whatever is in it: what a model said, say.
_TEXT_BLOCKS = frozenset(
    {
        "text", "thinking", "redacted_thinking", "connector_text", "tool_use", "server_tool_use",
        "mcp_tool_use", "mcp_tool_listing", "tool_reference", "tool_removal", "fallback",
        "browser_state", "web_search_result", "advisor_result", "advisor_redacted_result",
        "tool_search_tool_search_result", "code_execution_output", "bash_code_execution_output",
        "encrypted_code_execution_result", "text_editor_code_execution_view_result",
        "text_editor_code_execution_create_result",
        "text_editor_code_execution_str_replace_result",
    }
)  # fmt: skip
# Blocks that are text if what they hold is, in the members `_HELD_IN`.
_HOLDERS = frozenset(
    {
        "tool_result", "document", "content", "search_result", "mcp_tool_result", "compaction",
        "tool_addition", "web_search_tool_result", "web_fetch_tool_result", "web_fetch_result",
        "advisor_tool_result", "tool_search_tool_result", "code_execution_tool_result",
        "code_execution_result", "bash_code_execution_tool_result", "bash_code_execution_result",
        "text_editor_code_execution_tool_result",
    }
)  # fmt: skip
_HELD_IN = ("content", "source", "tool_changes")
# Types that are no block's, and those above that hold nothing but text as a rule.
_PLAIN = frozenset(
    name.encode() for name in (*_TEXT_BLOCKS, "tool_result", "search_result", "ephemeral", "direct")
)
# Arguments that never become input tokens; whatever else is given is counted by its bytes.
_FREE_OF_INPUT = frozenset(
    {
        "model", "messages", "max_tokens", "stream", "metadata", "stop_sequences", "temperature",
        "top_p", "top_k", "service_tier", "speed", "inference_geo", "cache_control", "container",
        "diagnostics", "thinking", "thread", "betas", "anthropic_beta", "anthropic_version",
        "billing_policy", "fallback_credit_token", "user_profile_id", "workspace_id",
    }
)  # fmt: skip
_FOR_AN_HOUR = 2
_NEVER = (("cache_write", "cache_write_5m", "cache_write_1h"), ("cache_write_1h",), ())


class MessageSize(NamedTuple):
    """The size of messages.

    Attributes:
        input_bytes: The bytes of their JSON, without images and the like.
        unbounded: Why they are no bound: `media`, or `opaque_messages` for what can't be read
            without using it up, a generator say.
        tools: Tools that are defined within messages, as JSON objects.
        writes: For how long they ask for the cache to be written: see `cache_writes`.
    """

    input_bytes: int
    unbounded: tuple[str, ...] = ()
    tools: tuple[object, ...] = ()
    writes: int = 0


def message_size(messages: object) -> MessageSize:
    """Bound the messages' bytes by the length of their JSON, which is never shorter."""
    encoded = json_bytes(messages)
    if encoded is None:
        return MessageSize(0, ("opaque_messages",), writes=_FOR_AN_HOUR)
    writes = cache_writes(encoded)
    if b'"type":"' not in encoded or _PLAIN.issuperset(_TYPE.findall(encoded)):
        return MessageSize(len(encoded), writes=writes)
    try:
        document = msgspec.json.decode(encoded)
    except (msgspec.MsgspecError, RecursionError):
        return MessageSize(len(encoded), ("media",), writes=writes)
    payload, has_media, tools = _look_through(document)
    reasons = ("media",) if has_media else ()
    return MessageSize(len(encoded) - payload, reasons, tools, writes)


def further_size(body: Mapping[str, object]) -> tuple[int, tuple[str, ...], int]:
    """Bound the arguments that become input besides the messages: system prompt, tools, schemas.

    Returns:
        Their bytes, why these are no bound (`opaque_tools`, say), and for how long they ask for
        the cache to be written.
    """
    input_bytes = 0
    wish = body.get("cache_control")
    writes = cache_writes(json_bytes({"cache_control": wish})) if is_given(wish) else 0
    reasons: tuple[str, ...] = ()
    for name, _, encoded in given_beside(body, _FREE_OF_INPUT):
        if encoded is None:
            reasons += (f"opaque_{name}",)
        else:
            input_bytes += len(encoded)
        writes = max(writes, cache_writes(encoded))
    return input_bytes, reasons, writes


def cache_writes(encoded: bytes | None) -> int:
    """Say what some JSON asks for: 0 to write nothing, 1 for five minutes, 2 for an hour.

    A text that speaks of it may count as asking: then more is held than is needed.
    """
    if encoded is None:
        return _FOR_AN_HOUR
    if b'"cache_control":' not in encoded:
        return 0
    return _FOR_AN_HOUR if b'"1h"' in encoded else 1


def never_filled(writes: int) -> tuple[str, ...]:
    """Return the buckets that no answer fills if so much was asked for."""
    return _NEVER[writes]


def _look_through(document: object) -> tuple[int, bool, tuple[object, ...]]:
    """Visit the blocks of messages, and nothing that only looks like one: a tool's input, say.

    Returns:
        Bytes that are sent as data, whether there is anything but text, and the tools defined.
    """
    payload = 0
    has_media = False
    tools: list[object] = []
    pending: list[object] = [
        cast("dict[str, object]", message).get("content")
        for message in (cast("list[object]", document) if isinstance(document, list) else ())
        if isinstance(message, dict)
    ]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += cast("list[object]", value)
            continue
        if not isinstance(value, dict):
            continue
        block = cast("dict[str, object]", value)
        kind = block.get("type")
        if kind in _TEXT_BLOCKS or (isinstance(kind, str) and kind.endswith("_error")):
            continue
        if kind not in _HOLDERS:
            has_media = True
            data = block.get("data")
            payload += len(data) if isinstance(data, str) else 0
        elif kind == "tool_addition":
            tools.append(_definition(block.get("tool")))
        pending += [block[name] for name in _HELD_IN if name in block]
    return payload, has_media, tuple([tool for tool in tools if tool is not None])


def _definition(tool: object) -> object:
    return cast("dict[str, object]", tool).get("definition") if isinstance(tool, dict) else None
