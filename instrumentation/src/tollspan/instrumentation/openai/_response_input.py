"""Bounds what a request for a response can become in input tokens, and what its tools can use.

Source: openai-python 3.54, `types/responses/response_create_params.py`,
`response_input_item_param.py`, `tool_param.py`; their beta twins for `multi_agent`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from tollspan.instrumentation._bytes import given_beside, json_bytes
from tollspan.instrumentation._shapes import is_given, view
from tollspan.usage import Quantities

from ._requests import limit
from ._sizes import SERVER_TOOLS, without_payloads

# Arguments that never become input tokens, or are looked at one by one; all others count by bytes.
_FREE_OF_INPUT = frozenset(
    {
        "access_programs", "background", "background_options", "context_management", "conversation",
        "image", "include", "input", "max_output_tokens", "max_tool_calls", "metadata", "model",
        "moderation", "multi_agent", "parallel_tool_calls", "previous_response_id",
        "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning",
        "safety_identifier", "service_tier", "store", "stream", "stream_options", "temperature",
        "timeout", "top_logprobs", "top_p", "truncation", "user",
    }
)  # fmt: skip
# Items that hold all of what the model reads of them as text, encrypted or not.
_TEXT_ITEMS = frozenset(
    {
        "additional_tools", "apply_patch_call", "apply_patch_call_output", "computer_call",
        "computer_call_output", "configuration_update", "custom_tool_call",
        "custom_tool_call_output", "function_call", "function_call_output", "local_shell_call",
        "local_shell_call_output", "mcp_approval_request", "mcp_approval_response", "mcp_call",
        "mcp_list_tools", "message", "program", "program_output", "reasoning", "shell_call",
        "shell_call_output", "tool_search_call", "tool_search_output",
    }
)  # fmt: skip
# Items that stand for what the server holds: pages and files that a tool found, a compacted past.
_HELD_ITEMS = frozenset(
    {
        "code_interpreter_call", "compaction", "file_search_call", "item_reference",
        "web_search_call",
    }
)  # fmt: skip
# Items that give the model tools for the rest of the response.
_ITEMS_WITH_TOOLS = frozenset({"additional_tools", "tool_search_output"})
_TEXT_PARTS = frozenset(
    {"input_text", "output_text", "reasoning_text", "refusal", "summary_text", "text"}
)
# Tools that the caller runs himself, between two calls.
_OWN_TOOLS = frozenset(
    {"apply_patch", "computer", "computer_use_preview", "custom", "function", "local_shell"}
)
# Tools at the provider whose use is billed by another unit than tokens.
_UNIT_OF_TOOL = {
    "code_interpreter": "code_sessions",
    "collections_search": "storage_searches",  # xAI's
    "file_search": "storage_searches",
    "shell": "code_sessions",
    "x_search": "social_searches",  # xAI's
}
_PLAIN_MEMORY = ("1g", None)


class _Place(msgspec.Struct):
    """Where a tool runs its code."""

    type: str | None = None
    memory_limit: str | None = None


class _Tool(msgspec.Struct):
    type: str | None = None
    container: str | _Place | None = None
    environment: _Place | None = None
    execution: str | None = None
    tools: list[_Tool] | None = None


class _Part(msgspec.Struct):
    type: str | None = None


class _Item(msgspec.Struct):
    type: str | None = None
    role: str | None = None
    content: str | list[_Part] | None = None
    output: str | list[_Part] | _Part | None = None
    tools: list[_Tool] | None = None


_items = msgspec.json.Decoder(str | list[_Item] | None).decode
_tools = msgspec.json.Decoder(list[_Tool] | None).decode


class InputBound(NamedTuple):
    """What a request can use besides output; the fields are those of `Request`."""

    input_bytes: int
    unbounded: tuple[str, ...]
    quantities: Quantities
    unlimited: tuple[str, ...]
    rounds: int


class _Findings:
    """What was found on the way through a request."""

    def __init__(self) -> None:
        self.input_bytes = 0
        self.reasons: list[str] = []
        self.units: set[str] = set()
        self.passes = 0

    def add_reason(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons.append(reason)

    def add_tools(self, tools: list[_Tool] | None) -> None:
        for tool in tools or ():
            for unit in _units(tool):
                self.add_reason("server_tool")
                self.units.add(unit)


def input_bound(body: Mapping[str, object]) -> InputBound:
    """Bound what a request can use besides output.

    Args:
        body: The JSON object that will be sent.
    """
    found = _Findings()
    _read_input(body.get("input"), found)
    for name, _, encoded in given_beside(body, _FREE_OF_INPUT):
        if encoded is None:
            found.add_reason(f"opaque_{name}")
            continue
        found.input_bytes += len(encoded)
        if name == "tools":
            _read_tools(encoded, found)
        elif name in SERVER_TOOLS:
            found.add_reason("server_tool")
    for reason in _held(body):
        found.add_reason(reason)
    if body.get("context_management"):
        found.add_reason("compaction")
    found.passes += "compaction" in found.reasons  # which reads all of the input once more
    return _limited(body, found)


def _limited(body: Mapping[str, object], found: _Findings) -> InputBound:
    """Limit the tools at the provider by `max_tool_calls`, which counts all of them together."""
    quantities: Quantities = ()
    unlimited: tuple[str, ...] = ()
    rounds = 1 + found.passes
    if "server_tool" in found.reasons:
        most = limit(body.get("max_tool_calls"), least=0)
        # What has no unit of its own is still a round each time.
        units = sorted(found.units - {"tool_calls"})
        if most is None:
            unlimited = tuple(units) or ("tool_calls",)
        else:
            rounds += most
            quantities = tuple((unit, most) for unit in units if most)
    return InputBound(found.input_bytes, tuple(found.reasons), quantities, unlimited, rounds)


def _read_input(value: object, found: _Findings) -> None:
    if not is_given(value):
        return
    encoded = json_bytes(value)
    if encoded is None:
        found.add_reason("opaque_input")
        return
    found.input_bytes += len(encoded)
    if isinstance(value, str):
        return
    try:
        items = _items(encoded)
    except msgspec.MsgspecError:
        found.add_reason("media")  # no shape that we know
        items = None
    for item in items or ():
        if isinstance(item, _Item):
            _read_item(item, found)
    if "media" in found.reasons:
        found.input_bytes += without_payloads(encoded) - len(encoded)


def _read_item(item: _Item, found: _Findings) -> None:
    kind = item.type
    if kind is None:  # a message may leave its type out, and so may a reference
        kind = "message" if item.role is not None else "item_reference"
    if kind in _HELD_ITEMS:
        found.add_reason("server_history")
    elif kind == "compaction_trigger":
        found.add_reason("compaction")
    elif kind not in _TEXT_ITEMS or not all(map(_is_text, _parts(item))):
        found.add_reason("media")
    if kind in _ITEMS_WITH_TOOLS:
        found.add_tools(item.tools)


def _parts(item: _Item) -> Iterator[_Part]:
    for value in (item.content, item.output):
        if isinstance(value, list):
            yield from value
        elif isinstance(value, _Part):
            yield value


def _is_text(part: _Part) -> bool:
    return part.type is None or part.type in _TEXT_PARTS


def _read_tools(encoded: bytes, found: _Findings) -> None:
    try:
        found.add_tools(_tools(encoded))
    except msgspec.MsgspecError:
        found.add_reason("server_tool")


def _units(tool: _Tool) -> Iterator[str]:
    """Yield what a tool uses at the provider, `tool_calls` where nothing has a price; own: none."""
    kind = tool.type or ""
    if kind in _OWN_TOOLS:
        return
    if kind == "namespace":
        for inner in tool.tools or ():
            yield from _units(inner)
    elif kind.startswith("web_search"):
        yield "web_searches"
    elif kind == "code_interpreter" and isinstance(tool.container, _Place):
        yield code_unit(tool.container.memory_limit)
    elif kind == "shell" and tool.environment is not None:
        if tool.environment.type != "local":
            yield code_unit(tool.environment.memory_limit)
    elif kind != "tool_search" or tool.execution != "client":
        yield _UNIT_OF_TOOL.get(kind, "tool_calls")


def code_unit(memory_limit: object) -> str:
    """Return the unit of a container: one with more memory costs more."""
    return "code_sessions" if memory_limit in _PLAIN_MEMORY else f"code_sessions:{memory_limit}"


def _held(body: Mapping[str, object]) -> Iterator[str]:
    """Yield why the model reads more than is sent."""
    if is_given(body.get("previous_response_id")) or is_given(body.get("conversation")):
        yield "server_history"
    if is_given(body.get("prompt")):
        yield "server_prompt"
    mode = getattr(view(body.get("reasoning")), "mode", None)
    # It may run prompts of its own: 1,549 input tokens were billed for 134 bytes.
    if mode not in (None, "standard"):
        yield "pro_mode"
    agents = view(body.get("multi_agent"))
    if is_given(agents) and getattr(agents, "enabled", None) is not False:
        yield "server_tool"
