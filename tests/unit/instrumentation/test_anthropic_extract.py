"""What is read from the body of a request for a message, in every shape."""

from __future__ import annotations

import enum
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from tollspan.instrumentation.anthropic.extract import MessagesShape
from tollspan.usage import Request

SHAPE = MessagesShape()
HOSTS = HostTable("anthropic", {"api.anthropic.com": "anthropic"})
MESSAGES: list[dict[str, object]] = [{"role": "user", "content": "Say hello"}]
BODY: dict[str, object] = {"model": "claude-opus-4-6", "max_tokens": 100, "messages": MESSAGES}


class Model(str, enum.Enum):  # noqa: UP042 - it prints differently, and is what people have
    """Names of models, as programs keep them."""

    SMALL = "claude-haiku-4-5"


class Omit:
    """What the SDK puts where nothing was given."""


class NotGiven:
    """What older SDKs put there."""


OMIT, NOT_GIVEN = Omit(), NotGiven()


def asked(body: Mapping[str, object], host: str = "api.anthropic.com") -> Request:
    """Read a body as it is."""
    url = SimpleNamespace(host=host, port=None)
    return SHAPE.request(body, HOSTS.route(url), is_stream=False)


def read(**arguments: Any) -> Request:
    """Read a request with these arguments."""
    return asked({**BODY, **arguments})


def user(*blocks: object) -> list[dict[str, object]]:
    """Return a message of these blocks."""
    return [{"role": "user", "content": list(blocks)}]


@pytest.mark.parametrize("missing", ["model", "messages", "max_tokens"])
def test_a_request_without_a_required_argument_is_gated_all_the_same(missing: str) -> None:
    request = asked({name: value for name, value in BODY.items() if name != missing})
    assert request.operation == "chat"


def test_a_request_says_where_it_goes_and_what_it_is() -> None:
    request = read()
    assert (request.provider, request.operation, request.host, request.is_assumed) == (
        "anthropic", "chat", "api.anthropic.com", False,
    )  # fmt: skip
    assert (request.unbounded, request.rounds, request.choices) == ((), 1, 1)
    other = asked(BODY, "proxy.example")
    assert other.is_assumed
    url = SimpleNamespace(host="api.anthropic.com", port=None)
    stream = SHAPE.request(BODY, HOSTS.route(url), is_stream=True)
    assert stream.is_stream


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("claude-opus-4-6", "claude-opus-4-6"),
        (Model.SMALL, "claude-haiku-4-5"),
        (Text("claude-opus-4-6"), "claude-opus-4-6"),
        (None, ""),
        (7, ""),
        (OMIT, ""),
    ],
)
def test_no_model_gets_past_the_gate_by_its_type(model: object, name: str) -> None:
    found = read(model=model).model
    assert found == name
    assert type(found) is str


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        (5, 5),
        (Count.FIVE, 5),
        pytest.param(0, 0, id="0 only fills the prompt cache"),
        pytest.param(-1, None, id="negative"),
        pytest.param(5.5, None, id="a fraction"),
        pytest.param("5", None, id="a text"),
        pytest.param(True, None, id="bool"),
        pytest.param(None, None, id="None"),
        pytest.param(OMIT, None, id="omitted"),
        pytest.param(10**12, None, id="more than any model writes"),
    ],
)
def test_the_output_limit_is_max_tokens(given: object, limit: int | None) -> None:
    found = read(max_tokens=given).max_output_tokens
    assert found == limit
    assert type(found) is not Count


def test_a_budget_for_thinking_is_within_the_limit() -> None:
    thinking = {"type": "enabled", "budget_tokens": 5_000}
    request = read(max_tokens=8_000, thinking=thinking)
    assert request.max_output_tokens == 8_000
    assert request.input_bytes == read().input_bytes


@pytest.mark.parametrize(
    ("arguments", "tier"),
    [
        ({}, None),
        ({"service_tier": "auto"}, "auto"),
        ({"service_tier": "standard_only", "speed": "standard"}, "standard_only"),
        ({"speed": "fast"}, "fast"),
        ({"speed": "fast", "service_tier": "auto"}, "fast"),
        ({"speed": None, "service_tier": OMIT}, None),
    ],
)
def test_the_speed_counts_as_a_tier(arguments: dict[str, object], tier: str | None) -> None:
    assert read(**arguments).service_tier == tier


@pytest.mark.parametrize(("given", "region"), [("us", "us"), (None, None), (OMIT, None), (7, None)])
def test_the_region_is_the_one_asked_for(given: object, region: str | None) -> None:
    assert read(inference_geo=given).region == region


# --- bytes ---


INPUTS = st.fixed_dictionaries({"type": st.just("tool_use"), "id": TEXTS, "input": JSON})


@given(
    st.lists(st.fixed_dictionaries({"role": TEXTS, "content": TEXTS | st.lists(INPUTS)})),
    TEXTS,
    st.lists(st.dictionaries(TEXTS.filter(lambda name: name != "type"), JSON, max_size=3)),
)
def test_the_bytes_are_never_fewer_than_those_of_the_strings(
    messages: list[dict[str, object]], system: str, tools: list[dict[str, object]]
) -> None:
    request = read(messages=messages, system=system, tools=tools)
    assert request.unbounded == ()
    assert request.input_bytes >= text_bytes(messages) + text_bytes(system) + text_bytes(tools)


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param(tuple(MESSAGES), id="tuple"),
        pytest.param(deque(MESSAGES), id="deque"),
        pytest.param(dict(enumerate(MESSAGES)).values(), id="dict values"),
        pytest.param([MappingProxyType(MESSAGES[0])], id="mapping"),
        pytest.param([{"role": Text("user"), "content": Text("Say hello")}], id="own strings"),
        pytest.param([{"role": "user", "content": "Say hello", "name": OMIT}], id="omitted"),
        pytest.param(user({"type": "text", "text": "Say hello"}), id="text block"),
        pytest.param(
            user({"type": "text", "text": "Say hello", "cache_control": {"type": "ephemeral"}}),
            id="cache control",
        ),
    ],
)
def test_whatever_the_sdk_takes_is_counted(messages: object) -> None:
    request = read(messages=messages)
    assert request.unbounded == ()
    assert request.input_bytes >= len("roleusercontentSay hello")


def test_a_generator_is_not_used_up_and_has_no_bound() -> None:
    def generate() -> Iterator[dict[str, object]]:
        yield from MESSAGES

    messages, inner, tools, system = generate(), generate(), generate(), generate()
    assert read(messages=messages).unbounded == ("opaque_messages",)
    assert read(messages=user({"type": "tool_result", "content": inner})).unbounded == (
        "opaque_messages",
    )
    assert read(tools=tools).unbounded == ("opaque_tools",)
    assert read(system=system).unbounded == ("opaque_system",)
    for one in (messages, inner, tools, system):
        assert list(one) == MESSAGES


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
    assert read(messages=[{"role": "user", "content": content}]).unbounded == ("opaque_messages",)


@pytest.mark.parametrize(
    "messages", [None, 7, "Hi", {}, ["Hi"], [{"content": {"type": "image"}}], [[[]]], [None]]
)
def test_messages_that_are_none_are_left_to_the_provider(messages: object) -> None:
    assert read(messages=messages).max_output_tokens == 100


BASE64 = {"type": "base64", "media_type": "image/png", "data": "A" * 9000}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "A" * 9000}
TEXT = {"type": "text", "text": "What is this? " * 20}


@pytest.mark.parametrize(
    "block",
    [
        pytest.param({"type": "image", "source": BASE64}, id="image, inline"),
        pytest.param(
            {"type": "image", "source": {"type": "url", "url": "https://e.com"}}, id="url"
        ),
        pytest.param({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, id="file"),
        pytest.param({"type": "document", "source": PDF}, id="document, inline"),
        pytest.param(
            {"type": "document", "source": {"type": "url", "url": "https://e.com"}}, id="document"
        ),
        pytest.param(
            {
                "type": "document",
                "source": {"type": "content", "content": [{"type": "image", "source": BASE64}]},
            },
            id="image in a document",
        ),
        pytest.param(
            {"type": "tool_result", "content": [TEXT, {"type": "image", "source": BASE64}]},
            id="image in a tool's result",
        ),
        pytest.param(
            {
                "type": "web_fetch_tool_result",
                "content": {
                    "type": "web_fetch_result",
                    "content": {"type": "document", "source": PDF},
                },
            },
            id="document in a fetched page",
        ),
        pytest.param({"type": "container_upload", "file_id": "file_1"}, id="container upload"),
        pytest.param({"type": "something new", "value": 1}, id="something new"),
        pytest.param({"value": 1}, id="no type beside a typed block"),
    ],
)
def test_media_have_no_bound_in_bytes_and_their_data_is_not_counted_as_text(
    block: dict[str, object],
) -> None:
    request = read(messages=user(TEXT, block, {"type": "tool_use", "input": {"type": "x"}}))
    assert request.unbounded == ("media",)
    assert 280 <= request.input_bytes < 1000


@pytest.mark.parametrize(
    "block",
    [
        TEXT,
        {**TEXT, "citations": [{"type": "page_location", "cited_text": "x"}]},
        {"type": "tool_use", "id": "t", "name": "draw", "input": {"type": "image", "source": {}}},
        {"type": "tool_result", "content": "text"},
        {"type": "tool_result", "content": [TEXT, {"type": "tool_reference", "tool_name": "f"}]},
        {"type": "thinking", "thinking": "Well", "signature": "QUJD"},
        {"type": "redacted_thinking", "data": "QUJD" * 300},
        {"type": "document", "source": {"type": "text", "data": "x", "media_type": "text/plain"}},
        {"type": "document", "source": {"type": "content", "content": [TEXT]}},
        {"type": "search_result", "source": "https://e.com", "title": "x", "content": [TEXT]},
        {
            "type": "web_search_tool_result",
            "content": [{"type": "web_search_result", "encrypted_content": "QUJD"}],
        },
        {
            "type": "web_search_tool_result",
            "content": {"type": "web_search_tool_result_error", "error_code": "unavailable"},
        },
        {
            "type": "code_execution_tool_result",
            "content": {
                "type": "code_execution_result",
                "stdout": "x",
                "content": [{"type": "code_execution_output", "file_id": "file_1"}],
            },
        },
        {"type": "compaction", "content": "We talked.", "tool_changes": []},
        {"type": "mcp_tool_result", "content": [TEXT]},
        {"type": "mcp_tool_listing", "tools": [{"input_schema": {"type": "object"}}]},
        {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}},
    ],
    ids=lambda block: str(block["type"]),
)
def test_text_in_blocks_is_bounded_by_its_bytes(block: dict[str, object]) -> None:
    request = read(messages=user(block))
    assert request.unbounded == ()
    assert request.input_bytes >= text_bytes(block)


def test_text_about_images_is_text() -> None:
    content = '{"type":"image","source":{"type":"url","url":"https://example.com"}}'
    assert read(messages=[{"role": "user", "content": content}]).unbounded == ()


@pytest.mark.parametrize(
    "name", ["system", "tools", "tool_choice", "output_config", "output_format", "made_up"]
)
def test_what_becomes_input_beside_the_messages_is_counted(name: str) -> None:
    value = [{"name": "f", "description": "é" * 500}]
    assert read(**{name: value}).input_bytes >= read().input_bytes + 1000
    assert read(**{name: OMIT}).input_bytes == read().input_bytes
    assert read(**{name: NOT_GIVEN}).input_bytes == read().input_bytes


def test_settings_that_never_become_input_are_not_counted() -> None:
    request = read(
        temperature=0.5, top_p=1, top_k=5, stop_sequences=["x"], metadata={"user_id": "u" * 500},
        cache_control={"type": "ephemeral", "ttl": "1h"}, container="container_1", stream=True,
        thinking={"type": "adaptive"}, diagnostics={"previous_message_id": "msg_1"}, betas=["x"],
        fallback_credit_token="t" * 500, thread={"type": "create"},
    )  # fmt: skip
    assert request.input_bytes == read().input_bytes
    assert request.unbounded == ()


SHORT = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    ("arguments", "never"),
    [
        pytest.param({}, ("cache_write", "cache_write_5m", "cache_write_1h"), id="no wish"),
        pytest.param(
            {"cache_control": {"type": "ephemeral"}}, ("cache_write_1h",), id="at the top"
        ),
        pytest.param({"cache_control": HOUR}, (), id="at the top, an hour"),
        pytest.param(
            {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
            ("cache_write_1h",),
            id="in the system prompt",
        ),
        pytest.param({"tools": [{"name": "f", "cache_control": HOUR}]}, (), id="in a tool"),
        pytest.param(
            {"messages": user({"type": "text", "text": "x", "cache_control": HOUR})},
            (),
            id="in a message",
        ),
        pytest.param({"messages": iter(())}, (), id="nobody knows"),
    ],
)
def test_a_cache_that_nobody_asked_to_write_is_not_held_for(
    arguments: dict[str, Any], never: tuple[str, ...]
) -> None:
    assert read(**arguments).never == never
