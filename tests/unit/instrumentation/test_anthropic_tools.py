"""What the tools of a request, and what else the provider does by itself, let a call use."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any

import pytest

from tollspan.instrumentation._hosts import HostTable
from tollspan.instrumentation.anthropic.extract import MessagesShape
from tollspan.usage import Request

SHAPE = MessagesShape()
HOSTS = HostTable("anthropic", {"api.anthropic.com": "anthropic"})


class Count(enum.IntEnum):
    """A number of somebody's own class."""

    FIVE = 5


class Omit:
    """What the SDK puts where nothing was given."""


class NotGiven:
    """What older SDKs put there."""


OMIT, NOT_GIVEN = Omit(), NotGiven()


def read(**arguments: Any) -> Request:
    """Read a request with these arguments."""
    messages = [{"role": "user", "content": "Say hello"}]
    body = {"model": "claude-opus-4-6", "max_tokens": 100, "messages": messages, **arguments}
    url = SimpleNamespace(host="api.anthropic.com", port=None)
    request = SHAPE.request(body, HOSTS.route(url), is_stream=False)
    assert request is not None
    return request


def user(*blocks: object) -> list[dict[str, object]]:
    """Return a message of these blocks."""
    return [{"role": "user", "content": list(blocks)}]


SEARCH = {"type": "web_search_20250305", "name": "web_search"}
FETCH = {"type": "web_fetch_20260318", "name": "web_fetch"}
CODE = {"type": "code_execution_20250825", "name": "code_execution"}
OWN = {"name": "f", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("tools", "quantities", "unlimited", "rounds"),
    [
        pytest.param([SEARCH], (), ("web_searches",), 1, id="search without a limit"),
        pytest.param(
            [{**SEARCH, "max_uses": 3}], (("web_searches", 3),), (), 4, id="search with a limit"
        ),
        pytest.param([{**SEARCH, "max_uses": 0}], (("web_searches", 0),), (), 1, id="none at all"),
        pytest.param([{**SEARCH, "max_uses": None}], (), ("web_searches",), 1, id="null"),
        pytest.param([{**SEARCH, "max_uses": "3"}], (), ("web_searches",), 1, id="no number"),
        pytest.param([{**SEARCH, "max_uses": -1}], (), ("web_searches",), 1, id="negative"),
        pytest.param([{**SEARCH, "max_uses": 10**12}], (), ("web_searches",), 1, id="huge"),
        pytest.param(
            [{**SEARCH, "max_uses": 3}, {**FETCH, "max_uses": Count.FIVE}, OWN],
            (("web_fetches", 5), ("web_searches", 3)),
            (),
            9,
            id="two with limits",
        ),
        pytest.param(
            [{**SEARCH, "max_uses": 3}, FETCH, CODE],
            (("web_searches", 3),),
            ("code_executions", "web_fetches"),
            4,
            id="one with a limit, two without",
        ),
        pytest.param(
            [{**SEARCH, "max_uses": 3}, SEARCH], (), ("web_searches",), 4, id="with and without"
        ),
        pytest.param(
            [{"type": "tool_search_tool_bm25_20251119"}, {"type": "tool_search_tool_regex"}],
            (),
            (),
            11,
            id="search among tools, which is not counted",
        ),
        pytest.param([{"type": "mcp_toolset", "mcp_server_name": "s"}], (), (), 11, id="mcp"),
        pytest.param([{"type": "something_new_20270101"}], (), (), 11, id="something new"),
        pytest.param(
            [SimpleNamespace(**SEARCH, max_uses=2)], (("web_searches", 2),), (), 3, id="obj"
        ),
    ],
)
def test_tools_that_run_at_the_provider_have_no_bound_but_their_limits(
    tools: list[object],
    quantities: tuple[tuple[str, int], ...],
    unlimited: tuple[str, ...],
    rounds: int,
) -> None:
    request = read(tools=tools)
    assert request.unbounded[-1:] == ("server_tool",)
    assert (request.quantities, request.unlimited) == (quantities, unlimited)
    assert request.rounds == rounds


@pytest.mark.parametrize(
    ("tools", "tokens"),
    [
        ([OWN], 0),
        ([{**OWN, "type": "custom"}, {**OWN, "type": None}, {**OWN, "type": OMIT}], 0),
        ((OWN,), 0),
        ([{"type": "bash_20250124", "name": "bash"}], 245),
        ([{"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}], 700),
        ([{"type": "computer_20251124", "name": "computer"}], 735 + 499),
        ([{"type": "memory_20250818", "name": "memory"}], 1_000),
        ([{"type": "computer_toolset_20260801"}, {"type": "browser_toolset_20260801"}], 10_000),
    ],
)
def test_tools_that_the_caller_runs_are_bounded_with_what_the_provider_writes_about_them(
    tools: object, tokens: int
) -> None:
    request = read(tools=tools)
    assert request.unbounded == ()
    assert (request.quantities, request.unlimited, request.rounds) == ((), (), 1)
    assert request.input_bytes >= read().input_bytes + tokens


@pytest.mark.parametrize("tools", [None, OMIT, NOT_GIVEN, [], (), "web_search", 7, {}])
def test_no_tools_are_no_tools(tools: object) -> None:
    assert (read(tools=tools).unbounded, read(tools=tools).rounds) == ((), 1)


def test_a_tool_that_is_added_within_a_message_counts_as_one() -> None:
    added = {
        "type": "tool_addition",
        "tool": {"type": "tool_definition", "definition": {**SEARCH, "max_uses": 2}},
    }
    request = read(messages=user(added), tools=[{**SEARCH, "max_uses": 1}])
    assert request.quantities == (("web_searches", 3),)
    assert request.unbounded == ("server_tool",)
    packed = {
        "type": "compaction",
        "content": "x",
        "tool_changes": [added, {"type": "tool_removal"}],
    }
    assert read(messages=user(packed)).quantities == (("web_searches", 2),)
    known = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}}
    assert read(messages=user(known)).unbounded == ()


@pytest.mark.parametrize(
    ("arguments", "unbounded", "rounds"),
    [
        ({"mcp_servers": [{"type": "url", "name": "s", "url": "x"}]}, ("server_tool",), 11),
        ({"mcp_servers": []}, (), 1),
        ({"mcp_servers": OMIT}, (), 1),
        ({"container": "container_1"}, (), 1),
        ({"container": {"id": "container_1", "skills": None}}, (), 1),
        ({"container": {"skills": [{"skill_id": "pdf"}]}}, ("server_tool",), 11),
        (
            {"tools": [{"type": "advisor_20260301", "model": "claude-opus-4-6", "max_uses": 2}]},
            ("server_tool", "other_model"),
            3,
        ),
        (
            {"tools": [{"type": "advisor_20260301", "model": "claude-opus-4-6"}]},
            ("server_tool", "other_model"),
            11,
        ),
        ({"fallbacks": [{"model": "a"}, {"model": "b"}]}, ("other_model",), 3),
        ({"fallbacks": "default"}, ("other_model",), 3),
        ({"fallbacks": []}, (), 1),
        ({"fallbacks": None}, (), 1),
        (
            {"fallbacks": [{"model": "a"}], "tools": [{**SEARCH, "max_uses": 4}]},
            ("server_tool", "other_model"),
            10,
        ),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, ("compaction",), 2),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, (), 1),
        ({"context_management": {"edits": None}}, (), 1),
        (
            {
                "context_management": SimpleNamespace(
                    edits=[SimpleNamespace(type="compact_20260112")],
                    model_dump=lambda **_: {},
                )
            },
            ("compaction",),
            2,
        ),
        ({"compaction": {"type": "summarize"}}, (), 1),
        ({"thread": {"type": "create"}}, (), 1),
        ({"thread": {"type": "continue", "previous_message_id": "m"}}, ("server_history",), 1),
        ({"thread": OMIT}, (), 1),
    ],
)  # fmt: skip
def test_what_the_provider_does_by_itself_has_no_bound_in_bytes(
    arguments: dict[str, object], unbounded: tuple[str, ...], rounds: int
) -> None:
    request = read(**arguments)
    assert request.unbounded == unbounded
    assert request.rounds == rounds
