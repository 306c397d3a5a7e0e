"""Reads the last turn of a request, of a conversation or a tool, for the policies that find loops.

Nothing here is kept: what comes out is hashed at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import cast

import msgspec

from ._bytes import json_bytes

# What differs from call to call though nothing else does, and where a cache is to begin.
_NAMES_OF_CALLS = frozenset(
    {"id", "tool_call_id", "tool_use_id", "call_id", "cache_control", "status"}
)
_SYSTEM = frozenset({"system", "developer"})
_RESULTS = frozenset({"tool", "function"})
_TOOL_USES = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_DEEPEST = 32


def last_turn(items: object) -> list[str] | None:
    """Return what was said last in a conversation, in parts; None where there is none to read.

    It is what came after the model's last word: questions, and results of tools. With results, the
    calls that they answer belong to it, by name and arguments. Where the model spoke last, it is
    what it said. What stands before, a system's prompt too, does not count: the same question is
    the same however long the history has grown.

    Args:
        items: Messages of chat completions or of Anthropic's API, or the input of a response: a
            list of JSON objects, or of the SDKs' own.
    """
    if isinstance(items, str):
        return [items]
    if not isinstance(items, list | tuple):
        return None
    tail: list[object] = []
    said: list[object] = []
    for item in reversed(cast("list[object]", items)):
        role = _field(item, "role")
        if role in _SYSTEM:
            continue
        if _is_models(item, role):
            if tail and not said and not any(map(_is_result, tail)):
                break
            said.append(item)
        elif said:
            break
        else:
            tail.append(item)
    parts: list[str] = []
    for item in said:
        parts += _calls(_plain(item)) if tail else _flat(_plain(item))
    for item in tail:
        parts += _flat(_plain(item))
    return parts or None


def arguments_turn(name: str, arguments: object) -> list[str] | None:
    """Return a call of a tool, in parts; None where its arguments can't be written as JSON."""
    encoded = json_bytes(arguments)
    if encoded is None:
        return None
    return [name, *_flat(msgspec.json.decode(encoded), leaves_out=frozenset())]


def _field(item: object, name: str) -> object:
    if isinstance(item, Mapping):
        return cast("Mapping[str, object]", item).get(name)
    return getattr(item, name, None)


def _is_models(item: object, role: object) -> bool:
    """Say whether the model said it: a message, or as a part of a response what it did."""
    if role is not None:
        return role == "assistant"
    kind = _field(item, "type")
    return isinstance(kind, str) and not kind.endswith("_output") and kind != "message"


def _is_result(item: object) -> bool:
    """Say whether it has what tools answered."""
    if _field(item, "role") in _RESULTS or str(_field(item, "type")).endswith("_output"):
        return True
    content = _field(item, "content")
    if not isinstance(content, list | tuple):
        return False
    parts = cast("list[object]", content)
    return any(str(_field(part, "type")).endswith("tool_result") for part in parts)


def _plain(item: object) -> object:
    encoded = json_bytes(item)
    return None if encoded is None else msgspec.json.decode(encoded)


def _calls(item: object) -> Iterator[str]:
    """Yield the calls of tools that the model made in one of its items."""
    if not isinstance(item, dict):
        return
    fields = cast("dict[str, object]", item)
    if fields.get("role") is None:
        if fields.get("type") != "reasoning":
            yield from _call(fields)
        return
    legacy = fields.get("function_call")
    calls = [*_list(fields.get("tool_calls")), *([legacy] if legacy else [])]
    calls += [part for part in _list(fields.get("content")) if _field(part, "type") in _TOOL_USES]
    for call in calls:
        if isinstance(call, dict):
            yield from _call(cast("dict[str, object]", call))


def _call(fields: dict[str, object]) -> Iterator[str]:
    """Yield one call: by name and arguments, or as it is."""
    inner = fields.get("function") or fields.get("custom") or fields
    arguments = _field(inner, "arguments")
    if arguments is None:
        arguments = _field(inner, "input")
    if arguments is None:
        yield from _flat(fields)
        return
    if isinstance(arguments, str):
        with contextlib.suppress(msgspec.DecodeError):  # a model may write what it likes
            arguments = msgspec.json.decode(arguments)
    yield str(_field(inner, "name"))
    yield from _flat(arguments, leaves_out=frozenset())


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _flat(
    value: object, depth: int = 0, *, leaves_out: frozenset[str] = _NAMES_OF_CALLS
) -> Iterator[str]:
    """Yield a value of JSON as texts, from which it could be put together again."""
    if isinstance(value, dict) and depth < _DEEPEST:
        fields = cast("dict[str, object]", value)
        names = sorted(fields.keys() - leaves_out)
        yield "{"
        for name in names:
            yield name
            yield from _flat(fields[name], depth + 1, leaves_out=leaves_out)
        yield "}"
    elif isinstance(value, list) and depth < _DEEPEST:
        yield "["
        for item in cast("list[object]", value):
            yield from _flat(item, depth + 1, leaves_out=leaves_out)
        yield "]"
    elif isinstance(value, str):
        yield value
    else:
        yield f"{value!r}"
