"""Says what the tools in a request let the provider do within one call, and at what size.

Source: anthropic-python 2.12, `types/beta/beta_tool_union_param.py`, and Anthropic's figures for
prompts as other people's pages cite them; both read in November 2026.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, cast

from tollspan.instrumentation._shapes import is_given
from tollspan.usage import Quantities

LOOP_ROUNDS = 10
"""Rounds of a server tool that has no limit of its own: the API then pauses (`pause_turn`)."""

# Tools that run at the provider, by type without its date: what is counted of each, "" for nothing.
_AT_PROVIDER = {
    "web_search": "web_searches",
    "web_fetch": "web_fetches",
    "code_execution": "code_executions",
    "tool_search_tool_bm25": "",
    "tool_search_tool_regex": "",
    "mcp_toolset": "",
    "advisor": "",
}
# Tools that the caller runs, whose description the provider writes: tokens that it takes at most.
# Published: bash 245, text editor 700, computer 735 and its prompt 499. The other figures are ours.
_AT_CALLER = {
    "bash": 512,
    "text_editor": 1_024,
    "computer": 2_048,
    "memory": 4_096,
    "computer_toolset": 16_384,
    "browser_toolset": 16_384,
}
_DATE = re.compile(r"_\d{8}$")
_MOST = 10**9


class ToolUse(NamedTuple):
    """What tools can do in one call.

    Attributes:
        is_at_provider: Some of them run at the provider, and read what nobody can foresee.
        runs_other_model: One of them asks another model.
        quantities: (unit, most) pairs, sorted.
        unlimited: Units that nothing limits, sorted.
        rounds: How often the model may read the input, without the calls of unlimited units.
        prompt_tokens: What the provider itself writes into the prompt about them, at most.
    """

    is_at_provider: bool = False
    runs_other_model: bool = False
    quantities: Quantities = ()
    unlimited: tuple[str, ...] = ()
    rounds: int = 1
    prompt_tokens: int = 0


NO_TOOLS = ToolUse()


def read_tools(tools: Iterable[object], *, has_loop: bool = False) -> ToolUse:
    """Read tools as they are sent: mappings, or the SDK's own objects.

    Args:
        tools: The tools; one of an unknown type counts as the provider's.
        has_loop: Something beside them, a server of tools say, runs at the provider too.
    """
    limited: Counter[str] = Counter()
    unlimited: set[str] = set()
    calls = prompt_tokens = 0
    is_at_provider, runs_other_model = has_loop, False
    for tool in tools:
        given = _member(tool, "type")
        if given == "custom" or not is_given(given):
            continue
        kind = _DATE.sub("", str(given))
        if kind in _AT_CALLER:
            prompt_tokens += _AT_CALLER[kind]
            continue
        is_at_provider = True
        runs_other_model |= kind == "advisor"
        unit = _AT_PROVIDER.get(kind, "")
        most = _limit(_member(tool, "max_uses"))
        if most is not None:
            calls += most
            if unit:
                limited[unit] += most
        elif unit:
            unlimited.add(unit)
        else:
            has_loop = True
    return ToolUse(
        is_at_provider=is_at_provider,
        runs_other_model=runs_other_model,
        quantities=tuple(sorted((unit, n) for unit, n in limited.items() if unit not in unlimited)),
        unlimited=tuple(sorted(unlimited)),
        rounds=1 + calls + (LOOP_ROUNDS if has_loop else 0),
        prompt_tokens=prompt_tokens,
    )


def listed(tools: object) -> Iterable[object]:
    """Return what can be read without using it up; nothing otherwise."""
    if isinstance(tools, Collection) and not isinstance(tools, str | bytes | Mapping):
        return cast("Collection[object]", tools)
    return ()


def _member(value: object, name: str) -> object:
    if isinstance(value, Mapping):
        return cast("Mapping[str, object]", value).get(name)
    return getattr(value, name, None)


def _limit(value: object) -> int | None:
    """Return how often a tool may be used, None for no limit or one that makes no sense."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST:
        return int(value)
    return None
