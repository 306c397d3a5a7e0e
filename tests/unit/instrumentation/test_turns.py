"""What the last turn of a conversation is, in the three ways to write one, and of a tool."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessage

from tollspan.instrumentation._turns import arguments_turn, last_turn

Item = dict[str, Any]
SYSTEM = {"role": "system", "content": "You are helpful. " * 600}
HISTORY = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]


def user(text: object) -> Item:
    return {"role": "user", "content": text}


def said(text: str, **more: object) -> Item:
    return {"role": "assistant", "content": text, **more}


def chat_call(number: int, arguments: str = '{"q": "x"}', name: str = "search") -> Item:
    call = {"id": f"call_{number}", "type": "function"}
    return said("", tool_calls=[{**call, "function": {"name": name, "arguments": arguments}}])


def chat_result(number: int, text: str = "nothing found") -> Item:
    return {"role": "tool", "tool_call_id": f"call_{number}", "content": text}


def use(number: int, arguments: object, name: str = "search") -> Item:
    part = {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": arguments}
    return {"role": "assistant", "content": [{"type": "text", "text": f"Try {number}."}, part]}


def used(number: int, text: str, **more: object) -> Item:
    part = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": text, **more}
    return user([part])


def function(number: int, arguments: str = '{"q":"x"}') -> Item:
    call = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}"}
    return {**call, "name": "search", "arguments": arguments, "status": "completed"}


def output(number: int, text: str = "nothing found") -> Item:
    return {"type": "function_call_output", "call_id": f"call_{number}", "output": text}


REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param([user("Why?")], [SYSTEM, *HISTORY, user("Why?")], id="a longer history"),
        pytest.param(
            [SYSTEM, user("Why?")],
            [{"role": "developer", "content": "It is noon."}, user("Why?")],
            id="another system prompt",
        ),
        pytest.param(
            [*HISTORY, user("Why?")],
            [*HISTORY, user("Why?"), said("Because."), user("Why?")],
            id="the question once more",
        ),
        pytest.param(
            [user("Go"), chat_call(1), chat_result(1)],
            [user("Go"), chat_call(1), chat_result(1), chat_call(2), chat_result(2)],
            id="chat: the same call and result",
        ),
        pytest.param(
            [chat_call(1, '{"q": "x", "n": 1}'), chat_result(1)],
            [chat_call(2, '{"n":1,"q":"x"}'), chat_result(2)],
            id="arguments in another order",
        ),
        pytest.param(
            [user("Go"), use(1, {"q": "x"}), used(1, "none")],
            [user("Go"), use(1, {"q": "x"}), used(1, "none"), use(2, {"q": "x"}), used(2, "none")],
            id="anthropic: the same use and result, whatever the model says of it",
        ),
        pytest.param(
            [use(1, {}), used(1, "none")],
            [use(1, {}), used(1, "none", cache_control={"type": "ephemeral"})],
            id="a mark of where a cache ends",
        ),
        pytest.param(
            [function(1), output(1)],
            [user("Go"), REASONING, function(1), output(1), REASONING, function(2), output(2)],
            id="responses: the same call and output",
        ),
        pytest.param("Why?", "Why?", id="a text alone"),
        pytest.param(
            [user("Go"), said("Once upon")], [*HISTORY, user("Go"), said("Once upon")], id="go on"
        ),
    ],
)
def test_turns_that_are_alike(one: object, other: object) -> None:
    assert last_turn(one) == last_turn(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param([SYSTEM, user("Why?")], [SYSTEM, user("How?")], id="behind one long prompt"),
        pytest.param("Why?", "How?", id="a text alone"),
        pytest.param(
            [user("Go"), chat_call(1), chat_result(1)],
            [user("Go"), chat_call(1), chat_result(1, "found")],
            id="chat: another result",
        ),
        pytest.param(
            [user("Go"), chat_call(1), chat_result(1)],
            [user("Go"), chat_call(1, '{"q": "y"}'), chat_result(1)],
            id="chat: other arguments",
        ),
        pytest.param(
            [chat_call(1, '{"id": 1}'), chat_result(1)],
            [chat_call(1, '{"id": 2}'), chat_result(1)],
            id="an id that is an argument",
        ),
        pytest.param(
            [chat_call(1, "{not json"), chat_result(1)],
            [chat_call(1, "{not JSON either"), chat_result(1)],
            id="arguments that are no JSON",
        ),
        pytest.param(
            [chat_call(1), chat_result(1)],
            [chat_call(1, name="fetch"), chat_result(1)],
            id="another tool",
        ),
        pytest.param(
            [use(1, {"q": "x"}), used(1, "none")],
            [use(1, {"q": "y"}), used(1, "none")],
            id="anthropic: another input",
        ),
        pytest.param(
            [use(1, {}), used(1, "none")],
            [use(1, {}), used(1, "none", is_error=True)],
            id="anthropic: an error",
        ),
        pytest.param(
            [function(1), output(1)], [function(1, '{"q":"y"}'), output(1)], id="responses: a call"
        ),
        pytest.param(
            [function(1), output(1)], [function(1), output(1, "found")], id="responses: an output"
        ),
        pytest.param([user("Go")], [user("Go"), chat_call(1), chat_result(1)], id="a step on"),
        pytest.param([user("Go"), said("One")], [user("Go"), said("Two")], id="another beginning"),
        pytest.param(
            [user([{"type": "image_url", "image_url": {"url": "data:a"}}])],
            [user([{"type": "image_url", "image_url": {"url": "data:b"}}])],
            id="another image",
        ),
    ],
)
def test_turns_that_differ(one: object, other: object) -> None:
    assert None is not last_turn(one) != last_turn(other) is not None


@pytest.mark.parametrize("items", [None, 7, [], [SYSTEM], {}, iter([user("Why?")])])
def test_where_nobody_said_anything_that_can_be_read_there_is_no_turn(items: object) -> None:
    assert last_turn(items) is None


def test_messages_of_the_sdk_are_read_as_those_that_are_written_by_hand() -> None:
    message = ChatCompletionMessage.model_validate(chat_call(1))
    assert last_turn([message, chat_result(1)]) == last_turn([chat_call(1), chat_result(1)])


def test_what_is_nested_without_end_is_read_as_far_as_it_makes_sense() -> None:
    deep: object = "x"
    for _ in range(200):
        deep = [deep]
    assert last_turn([user(deep)]) is not None


@dataclasses.dataclass
class Query:
    """An argument that can be written down."""

    text: str


class Tools:
    """An object that nobody can write down."""


def test_a_tools_turn_is_its_name_and_arguments() -> None:
    turn = arguments_turn("search", (("x",), {"id": 1}))
    assert turn is not None
    assert turn == arguments_turn("search", (("x",), {"id": 1}))
    for name, given in (
        ("fetch", (("x",), {"id": 1})),
        ("search", (("x",), {"id": 2})),
        ("search", (("x", {"id": 1}), {})),
    ):
        assert arguments_turn(name, given) not in (turn, None)
    assert arguments_turn("a", Query("x")) == arguments_turn("a", Query("x"))
    assert arguments_turn("a", Query("x")) != arguments_turn("a", Query("y"))
    assert arguments_turn("a", Tools()) is None
