"""What is read from a request for a response."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import NOT_GIVEN, omit
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from tests.unit.instrumentation.odd_values import JSON, TEXTS
from tollspan.instrumentation._hosts import HostTable, Route
from tollspan.instrumentation._shapes import Shape
from tollspan.instrumentation.openai._responses import ResponsesShape
from tollspan.usage import Request

SHAPE = ResponsesShape()
URL = cast("Any", SimpleNamespace(host="api.openai.com", port=None))
ROUTE: Route = HostTable("openai", {"api.openai.com": "openai"}).route(URL)
DATA = "A" * 9000


def read(**body: object) -> Request:
    """Read a request with this body."""
    asked = {"model": "gpt-5.4", "input": "Say hello", **body}
    return SHAPE.request(asked, ROUTE, is_stream=bool(body.get("stream")))


def reasons(**body: object) -> tuple[str, ...]:
    """Return why the bytes of a request with this body are no bound."""
    return read(**body).unbounded


def test_it_is_a_shape_that_costs_money() -> None:
    shape: Shape = SHAPE
    assert shape is SHAPE
    assert not SHAPE.is_free


def test_a_plain_request() -> None:
    request = read(max_output_tokens=50, service_tier="flex")
    assert request == Request(
        provider="openai",
        operation="chat",
        model="gpt-5.4",
        host="api.openai.com",
        input_bytes=len('"Say hello"'),
        max_output_tokens=50,
        service_tier="flex",
    )


@pytest.mark.parametrize("model", [None, 7, omit])
def test_a_request_without_a_model_is_asked_for_all_the_same(model: object) -> None:
    assert read(model=model).model == ""
    assert SHAPE.request({}, ROUTE, is_stream=True).is_stream


@pytest.mark.parametrize(
    ("given", "limit"),
    [(5, 5), (None, None), (omit, None), (NOT_GIVEN, None), (0, None), (-1, None), (5.5, None),
     ("5", None), (True, None)],
)  # fmt: skip
def test_an_output_limit_is_one_if_it_makes_sense(given: object, limit: int | None) -> None:
    assert read(max_output_tokens=given).max_output_tokens == limit


@pytest.mark.parametrize(
    "settings",
    [
        {"store": False, "metadata": {"a": "b" * 500}, "user": "u" * 500, "include": ["x" * 99]},
        {"prompt_cache_key": "k" * 500, "safety_identifier": "s" * 500, "background": True},
        {"reasoning": {"effort": "high", "summary": "auto"}, "truncation": "auto"},
        {"temperature": 0.5, "top_p": 1, "parallel_tool_calls": False, "stream_options": {}},
        {"tools": omit, "previous_response_id": None, "conversation": NOT_GIVEN, "prompt": None},
        {"context_management": [], "multi_agent": {"enabled": False}, "tools": []},
        {"reasoning": {"mode": "standard"}},
    ],
)
def test_settings_do_not_become_input(settings: dict[str, object]) -> None:
    request = read(**settings)
    assert request.input_bytes - read().input_bytes in (0, len("[]"))
    assert (request.unbounded, request.rounds, request.unlimited) == ((), 1, ())


@pytest.mark.parametrize("name", ["instructions", "tools", "text", "tool_choice", "made_up"])
def test_whatever_else_is_sent_counts_by_its_bytes(name: str) -> None:
    value = [{"type": "function", "description": "é" * 500}]
    assert read(**{name: value}).input_bytes >= read().input_bytes + 1000
    assert reasons(**{name: value}) == ()


TEXT_ITEMS = [
    {"role": "user", "content": "Say hello"},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
    {"id": "m", "role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA" + DATA},
    {"type": "function_call", "call_id": "1", "name": "f", "arguments": '{"type":"input_image"}'},
    {"type": "function_call_output", "call_id": "1", "output": '{"type":"input_image"}'},
    {"type": "function_call_output", "output": [{"type": "input_text", "text": "Hello"}]},
    {"type": "computer_call", "actions": [{"type": "click"}], "call_id": "1"},
    {"type": "shell_call", "action": {"commands": ["ls"]}, "call_id": "1"},
    {"type": "shell_call_output", "output": [{"stdout": "x", "outcome": {"type": "exit"}}]},
    {"type": "mcp_list_tools", "tools": [{"name": "f", "input_schema": {"type": "object"}}]},
    {"type": "mcp_approval_response", "approval_request_id": "1", "approve": True},
    {"type": "tool_search_output", "tools": [{"type": "function", "name": "f"}]},
    {"type": "custom_tool_call_output", "call_id": "1", "output": "x"},
]


@pytest.mark.parametrize("item", TEXT_ITEMS, ids=lambda item: str(item.get("type", "no type")))
def test_an_item_of_text_is_bounded_by_its_bytes(item: dict[str, object]) -> None:
    request = read(input=[item])
    assert request.unbounded == ()
    assert request.input_bytes >= text_bytes(item)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"role": "user", "content": [{"type": "input_image", "image_url": "https://a"}]}, "media"),
        ({"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}, "media"),
        ({"role": "user", "content": [{"type": "input_file", "file_data": DATA}]}, "media"),
        ({"role": "user", "content": [{"type": "input_file", "file_url": "https://a"}]}, "media"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "media"),
        ({"role": "user", "content": [{"type": "something new"}]}, "media"),
        ({"role": "user", "content": 7}, "media"),
        ({"type": "function_call_output", "output": [{"type": "input_image"}]}, "media"),
        ({"type": "computer_call_output", "output": {"type": "computer_screenshot"}}, "media"),
        ({"type": "image_generation_call", "id": "ig_1", "result": DATA}, "media"),
        ({"type": "something new"}, "media"),
        ("a bare text", "media"),
        ({"type": "item_reference", "id": "msg_1"}, "server_history"),
        ({"id": "msg_1"}, "server_history"),
        ({"id": "msg_1", "type": None}, "server_history"),
        ({"type": "compaction", "encrypted_content": "gAAAA"}, "server_history"),
        ({"type": "web_search_call", "id": "ws_1"}, "server_history"),
        ({"type": "file_search_call", "id": "fs_1", "queries": []}, "server_history"),
        ({"type": "code_interpreter_call", "id": "ci_1"}, "server_history"),
        ({"type": "compaction_trigger"}, "compaction"),
        ({"type": "additional_tools", "tools": [{"type": "web_search"}]}, "server_tool"),
    ],
)
def test_an_item_that_stands_for_more_has_no_bound(item: object, reason: str) -> None:
    request = read(input=[{"role": "user", "content": "What is this? " * 20}, item])
    assert request.unbounded == (reason,)
    # What is sent as data does not count as text.
    assert 280 <= request.input_bytes < 1000


def test_the_sdks_own_items_are_read() -> None:
    part = ResponseOutputText(type="output_text", text="é" * 100, annotations=[])
    message = ResponseOutputMessage(
        id="msg_1", type="message", role="assistant", status="completed", content=[part]
    )
    call = ResponseFunctionToolCall(
        type="function_call", call_id="call_1", name="weather", arguments='{"city":"Bern"}'
    )
    request = read(input=[{"role": "user", "content": "Hello"}, message, call])
    assert request.unbounded == ()
    assert request.input_bytes >= 200 + len('{"city":"Bern"}weather')


def test_a_generator_is_not_used_up() -> None:
    def generate() -> Iterator[dict[str, object]]:
        yield {"role": "user", "content": "Hello"}

    items = generate()
    assert reasons(input=items) == ("opaque_input",)
    assert len(list(items)) == 1
    assert reasons(tools=generate()) == ("opaque_tools",)
    assert reasons(input="a lone surrogate: \ud800") == ("opaque_input",)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"previous_response_id": "resp_1"}, "server_history"),
        ({"conversation": "conv_1"}, "server_history"),
        ({"conversation": {"id": "conv_1"}}, "server_history"),
        ({"prompt": {"id": "pmpt_1", "variables": {"a": "b"}}}, "server_prompt"),
        ({"reasoning": {"mode": "pro"}}, "pro_mode"),
        ({"reasoning": SimpleNamespace(mode="pro")}, "pro_mode"),
        ({"context_management": [{"type": "compaction"}]}, "compaction"),
        ({"multi_agent": {"enabled": True}}, "server_tool"),
        ({"plugins": [{"id": "web"}]}, "server_tool"),
        ({"tools": {"not": "a list"}}, "server_tool"),
    ],
)
def test_what_the_server_adds_has_no_bound(body: dict[str, object], reason: str) -> None:
    assert reasons(**body) == (reason,)


def test_a_compaction_reads_the_input_once_more() -> None:
    assert read(context_management=[{"type": "compaction"}]).rounds == 2
    assert read(input=[{"type": "compaction_trigger"}]).rounds == 2


def test_every_reason_is_given_once() -> None:
    image = {"role": "user", "content": [{"type": "input_image"}]}
    held = {"type": "item_reference", "id": "1"}
    tools = [{"type": "web_search"}, {"type": "file_search"}]
    found = reasons(
        input=[image, image, held], tools=tools, conversation="conv_1", reasoning={"mode": "pro"}
    )
    assert found == ("media", "server_history", "server_tool", "pro_mode")


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "name": "f", "parameters": {"type": "object"}},
        {"type": "function", "function": {"name": "f"}},
        {"type": "custom", "name": "f"},
        {"type": "computer_use_preview", "display_width": 1},
        {"type": "computer"},
        {"type": "local_shell"},
        {"type": "apply_patch"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "tool_search", "execution": "client"},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]},
    ],
    ids=lambda tool: str(tool["type"]),
)
def test_a_tool_that_the_caller_runs_changes_nothing(tool: dict[str, object]) -> None:
    request = read(tools=[tool])
    assert (request.unbounded, request.unlimited, request.rounds) == ((), (), 1)


@pytest.mark.parametrize(
    ("tool", "unit"),
    [
        ({"type": "web_search"}, "web_searches"),
        ({"type": "web_search_2025_08_26"}, "web_searches"),
        ({"type": "web_search_preview"}, "web_searches"),
        ({"type": "file_search", "vector_store_ids": ["vs_1"]}, "storage_searches"),
        ({"type": "code_interpreter", "container": {"type": "auto"}}, "code_sessions"),
        ({"type": "code_interpreter", "container": "cntr_1"}, "code_sessions"),
        (
            {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}},
            "code_sessions:4g",
        ),
        ({"type": "shell"}, "code_sessions"),
        ({"type": "shell", "environment": {"type": "container_auto"}}, "code_sessions"),
        (
            {"type": "shell", "environment": {"type": "container_auto", "memory_limit": "64g"}},
            "code_sessions:64g",
        ),
        ({"type": "mcp", "server_label": "m"}, None),
        ({"type": "image_generation"}, None),
        ({"type": "tool_search"}, None),
        ({"type": "programmatic_tool_calling"}, None),
        ({"type": "namespace", "tools": [{"type": "mcp"}]}, None),
        ({"type": "something new"}, None),
        ({}, None),
    ],
)
def test_a_tool_at_the_provider_is_bounded_by_the_calls_that_are_allowed(
    tool: dict[str, object], unit: str | None
) -> None:
    free = read(tools=[tool])
    assert free.unbounded == ("server_tool",)
    assert (free.quantities, free.unlimited, free.rounds) == ((), (unit or "tool_calls",), 1)
    limited = read(tools=[tool], max_tool_calls=4)
    assert limited.unbounded == ("server_tool",)
    assert limited.quantities == (((unit, 4),) if unit else ())
    assert (limited.unlimited, limited.rounds) == ((), 5)


def test_the_limit_counts_all_tools_together_and_each_may_take_it_all() -> None:
    tools = [{"type": "web_search"}, {"type": "mcp"}, {"type": "file_search"}]
    request = read(tools=tools, max_tool_calls=3)
    assert request.quantities == (("storage_searches", 3), ("web_searches", 3))
    assert request.rounds == 4
    assert read(tools=tools).unlimited == ("storage_searches", "web_searches")
    assert read(tools=tools, max_tool_calls=0).quantities == ()


def text_bytes(value: object) -> int:
    """Add up the UTF-8 bytes of every string in a value."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping):
        return sum(text_bytes(key) + text_bytes(one) for key, one in value.items())
    if isinstance(value, list):
        return sum(map(text_bytes, value))
    return 0


@given(st.lists(JSON, max_size=4) | TEXTS, JSON, JSON)
def test_nothing_raises_and_the_bytes_are_never_fewer_than_the_strings(
    items: object, tools: object, instructions: object
) -> None:
    request = read(input=items, tools=tools, instructions=instructions)
    least = text_bytes(items) + text_bytes(tools) + text_bytes(instructions)
    assert request.input_bytes >= least or "media" in request.unbounded
    assert request.rounds >= 1
