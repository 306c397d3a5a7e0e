"""What is read from the body of a chat completion, in every shape."""

from __future__ import annotations

import enum
import sys
from collections import deque
from collections.abc import Iterator
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import NOT_GIVEN, omit
from openai.types.chat import ChatCompletionMessage, ChatCompletionMessageFunctionToolCall
from openai.types.chat.chat_completion_message_function_tool_call import Function

from tests.unit.instrumentation.odd_values import (
    JSON,
    TEXTS,
    Count,
    Hostile,
    Text,
    nest,
    text_bytes,
)
from tollspan.instrumentation._hosts import HostTable
from tollspan.instrumentation._stainless import Asked
from tollspan.instrumentation.openai._chat import ChatShape
from tollspan.usage import Request

HOSTS = HostTable("openai", {"api.openai.com": "openai"})
MESSAGES: list[dict[str, object]] = [{"role": "user", "content": "Say hello"}]


class Model(str, enum.Enum):  # noqa: UP042 - it prints differently, and is what people have
    """Names of models, as programs keep them."""

    SMALL = "gpt-4o-mini"


def options(body: dict[str, Any], extra: dict[str, Any] | None = None) -> SimpleNamespace:
    """Return what the SDK's funnel is given."""
    return SimpleNamespace(json_data=body, extra_json=extra, headers=NOT_GIVEN)


def read(host: str = "api.openai.com", port: int | None = None, **body: Any) -> Request:
    """Read a request with this body."""
    extra = body.pop("extra_body", None)
    asked = options({"model": "gpt-4o-mini", "messages": MESSAGES, **body}, extra)
    route = HOSTS.route(SimpleNamespace(host=host, port=port))
    return ChatShape().request(Asked(None, asked, is_stream=False).body(), route, is_stream=False)


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_request_without_a_required_argument_is_gated_all_the_same(missing: str) -> None:
    """Some servers have a default, and who posts by hand is not checked by the SDK."""
    body = {"model": "gpt-4o-mini", "messages": MESSAGES}
    del body[missing]
    request = ChatShape().request(
        body, HOSTS.route(SimpleNamespace(host="x", port=None)), is_stream=False
    )
    assert request.model == body.get("model", "")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "gpt-4o"),
        (Model.SMALL, "gpt-4o-mini"),
        (Text("gpt-4o"), "gpt-4o"),
        pytest.param(None, "", id="None: a server may have a default"),
        pytest.param(7, "", id="no text"),
        pytest.param(omit, "", id="omit"),
    ],
)
def test_no_model_gets_past_the_gate_by_its_type(model: object, name: str) -> None:
    found = read(model=model).model
    assert found == name
    assert type(found) is str


@pytest.mark.parametrize(
    ("kwargs", "limit"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 5}, 5),
        ({"max_completion_tokens": 5, "max_tokens": 9}, 9),
        ({"max_completion_tokens": 9, "max_tokens": 5}, 9),
        ({"max_tokens": None, "max_completion_tokens": 5}, 5),
        ({"max_tokens": NOT_GIVEN, "max_completion_tokens": omit}, None),
        ({"max_tokens": Count.FIVE}, 5),
        ({"max_tokens": 5, "extra_body": {"max_tokens": 50}}, 50),
        ({"max_tokens": 5, "extra_body": {"max_completion_tokens": 50}}, 50),
        pytest.param({"max_tokens": -1}, None, id="-1 is no limit"),
        pytest.param({"max_tokens": 0}, None, id="0 is no limit"),
        pytest.param({"max_tokens": 5.5}, None, id="a fraction is no limit"),
        pytest.param({"max_tokens": "5"}, None, id="a text is no limit"),
        pytest.param({"max_tokens": -1, "max_completion_tokens": 5}, None, id="one is no limit"),
    ],
)
def test_the_output_limit_is_the_largest_that_a_server_may_read(
    kwargs: dict[str, Any], limit: int | None
) -> None:
    assert read(**kwargs).max_output_tokens == limit


@pytest.mark.parametrize(
    ("given", "choices"),
    [
        (3, 3), (None, 1), (NOT_GIVEN, 1), (omit, 1), (0, 1), (-2, 1), (2.0, 2), (2.5, 3),
        ("4", 4), ("many", 1), (Count.FIVE, 5), (float("inf"), 1), ([], 1), (True, 1),
    ],
)  # fmt: skip
def test_choices_are_never_fewer_than_a_server_may_make(given: object, choices: int) -> None:
    assert read(n=given).choices == choices


def test_extra_body_overrides_what_it_overrides_on_the_wire() -> None:
    long: list[dict[str, object]] = [{"role": "user", "content": "x" * 1000}]
    request = read(
        extra_body={"model": "gpt-4o", "messages": long, "n": 4, "service_tier": "flex"},
        service_tier="priority",
    )
    assert (request.model, request.choices, request.service_tier) == ("gpt-4o", 4, "flex")
    assert request.input_bytes >= 1000


def test_the_host_is_read_from_the_client() -> None:
    known = read()
    assert (known.provider, known.host, known.is_assumed) == ("openai", "api.openai.com", False)
    other = read("llm.example", 8000)
    assert (other.host, other.port, other.is_assumed) == ("llm.example", 8000, True)


# --- bytes ---


@given(
    st.lists(st.fixed_dictionaries({"role": TEXTS, "content": TEXTS | st.none()}), max_size=5),
    st.lists(st.dictionaries(TEXTS, JSON, max_size=3), max_size=3),
)
def test_the_bytes_are_never_fewer_than_those_of_the_strings(
    messages: list[dict[str, object]], tools: list[dict[str, object]]
) -> None:
    request = read(messages=messages, tools=tools)
    assert request.input_bytes >= text_bytes(messages) + text_bytes(tools)


def test_the_sdks_own_messages_are_counted() -> None:
    call = ChatCompletionMessageFunctionToolCall(
        id="call_1", type="function", function=Function(name="weather", arguments='{"city":"Bern"}')
    )
    answer = ChatCompletionMessage(role="assistant", content="é" * 100, tool_calls=[call])
    request = read(messages=[*MESSAGES, answer])
    assert request.unbounded == ()
    assert request.input_bytes >= 200 + len('{"city":"Bern"}weather')


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param(tuple(MESSAGES), id="tuple"),
        pytest.param(deque(MESSAGES), id="deque"),
        pytest.param(dict(enumerate(MESSAGES)).values(), id="dict values"),
        pytest.param([MappingProxyType(MESSAGES[0])], id="mapping"),
        pytest.param([{"role": Text("user"), "content": Text("Say hello")}], id="own strings"),
        pytest.param([{"role": "user", "content": "Say hello", "name": omit}], id="omitted"),
        pytest.param([{"role": "user", "content": "Say hello", "name": NOT_GIVEN}], id="not given"),
        pytest.param(
            [{"role": "user", "content": [{"type": "text", "text": "Say hello"}]}], id="text part"
        ),
        pytest.param([{"role": "user", "content": "Say hello", "n": Count.FIVE}], id="own number"),
    ],
)
def test_whatever_the_sdk_takes_is_counted(messages: object) -> None:
    request = read(messages=messages)
    assert request.unbounded == ()
    assert request.input_bytes >= len("roleusercontentSay hello")


def test_a_generator_is_not_used_up_and_has_no_bound() -> None:
    def generate() -> Iterator[dict[str, object]]:
        yield from MESSAGES

    messages = generate()
    assert read(messages=messages).unbounded == ("opaque_messages",)
    assert list(messages) == MESSAGES
    inner = generate()
    assert read(messages=[{"role": "user", "content": inner}]).unbounded == ("opaque_messages",)
    assert list(inner) == MESSAGES


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("a lone surrogate: \ud800", id="lone surrogate"),
        pytest.param(object(), id="unknown type"),
        pytest.param(Hostile(), id="raises"),
        pytest.param({("a", 1): "x"}, id="odd keys"),
        pytest.param(nest(sys.getrecursionlimit() * 50), id="too deep"),
    ],
)
def test_what_can_not_be_read_has_no_bound_but_is_gated(content: object) -> None:
    request = read(messages=[{"role": "user", "content": content}])
    assert request.unbounded == ("opaque_messages",)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * 9000}"}},
        {"type": "input_audio", "input_audio": {"data": "A" * 9000, "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{'A' * 9000}"}},
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
        {"type": "something new", "value": 1},
    ],
    ids=lambda part: str(part["type"]),
)
def test_media_have_no_bound_in_bytes_and_their_data_is_not_counted_as_text(
    part: dict[str, object],
) -> None:
    text = {"type": "text", "text": "What is this? " * 20}
    request = read(messages=[{"role": "user", "content": [text, part]}])
    assert request.unbounded == ("media",)
    assert 280 <= request.input_bytes < 1000


def test_earlier_audio_of_the_assistant_has_no_bound() -> None:
    message = {"role": "assistant", "audio": {"id": "audio_1"}}
    assert read(messages=[*MESSAGES, message]).unbounded == ("media",)


def test_text_about_images_is_text() -> None:
    content = '{"type":"image_url","image_url":{"url":"https://example.com"}}'
    assert read(messages=[{"role": "user", "content": content}]).unbounded == ()


@pytest.mark.parametrize(
    ("kwargs", "reasons"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, ()),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, ()),
        ({"tools": ({"type": "function"},)}, ()),
        ({"tools": NOT_GIVEN}, ()),
        ({"tools": omit}, ()),
        ({"tools": None}, ()),
        ({"tools": [{"type": "browser_search"}]}, ("server_tool",)),
        ({"tools": iter([])}, ("opaque_tools",)),
        pytest.param({"web_search_options": {}}, ("server_tool",), id="web search, no options"),
        ({"web_search_options": {"search_context_size": "low"}}, ("server_tool",)),
        ({"web_search_options": omit}, ()),
        ({"web_search_options": None}, ()),
        ({"extra_body": {"plugins": [{"id": "web"}]}}, ("server_tool",)),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, ()),
    ],
)
def test_tools_that_run_at_the_provider_have_no_bound(
    kwargs: dict[str, Any], reasons: tuple[str, ...]
) -> None:
    assert read(**kwargs).unbounded == reasons


@pytest.mark.parametrize("name", ["tools", "functions", "response_format", "made_up"])
def test_what_becomes_input_beside_the_messages_is_counted(name: str) -> None:
    plain = read().input_bytes
    value = [{"type": "function", "function": {"description": "é" * 500}}]
    kwargs = {name: value} if name != "made_up" else {"extra_body": {name: value}}
    assert read(**kwargs).input_bytes >= plain + 1000


def test_a_prediction_counts_as_input_and_as_output() -> None:
    request = read(prediction={"type": "content", "content": "x" * 500})
    assert request.prediction_bytes >= 500
    assert request.input_bytes >= 500 + len("Say hello")


def test_settings_that_never_become_input_are_not_counted() -> None:
    request = read(temperature=0.5, seed=1, user="u" * 500, metadata={"a": "b" * 500}, stop=["x"])
    assert request.input_bytes == read().input_bytes


@pytest.mark.parametrize("is_extra", [False, True])
def test_what_the_caller_gave_is_never_changed_and_put_back(*, is_extra: bool) -> None:
    wanted = {"include_obfuscation": False}
    body: dict[str, Any] = {"model": "m", "messages": MESSAGES}
    extra = {"stream_options": wanted} if is_extra else None
    if not is_extra:
        body["stream_options"] = wanted
    given = dict(body)
    asked = Asked(None, options(body, extra), is_stream=True)
    asked.ask_for_usage()
    assert asked.body()["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert body == given
    assert wanted == {"include_obfuscation": False}
    asked.restore()
    assert asked.options.json_data is body
    assert asked.options.extra_json is extra
    assert asked.given is None


@pytest.mark.parametrize("headers", [NOT_GIVEN, {}, {"X-Stainless-Raw-Response": "stream"}])
def test_usage_is_asked_for_unless_the_caller_did_or_reads_bytes(headers: Any) -> None:
    asked = Asked(None, options({"model": "m"}), is_stream=True)
    asked.options.headers = headers
    asked.ask_for_usage()
    assert ("stream_options" in asked.body()) is not bool(headers)
    asked.restore()
    asked.options.json_data = {"stream_options": {"include_usage": True}}
    asked.ask_for_usage()
    assert asked.given is None
