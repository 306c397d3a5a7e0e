"""By which field a body is let ask for less output, for each API shape."""

from __future__ import annotations

from typing import Any

import pytest

from tollspan.instrumentation._shapes import Shape
from tollspan.instrumentation.anthropic import ANTHROPIC
from tollspan.instrumentation.openai import OPENAI
from tollspan.usage import Request

SHAPES = {path.path: path.shape() for sdk in (OPENAI, ANTHROPIC) for path in sdk.paths}
CHAT = SHAPES["/chat/completions"]
RESPONSES = SHAPES["/responses"]
COMPLETIONS = SHAPES["/completions"]
MESSAGES = SHAPES["/v1/messages"]


def a_request(provider: str = "openai", *, is_assumed: bool = False) -> Request:
    return Request(
        provider=provider,
        operation="chat",
        model="m",
        is_assumed=is_assumed,
        max_output_tokens=50,
    )


@pytest.mark.parametrize(
    ("shape", "body", "fields"),
    [
        pytest.param(CHAT, {"max_tokens": 90}, {"max_tokens": 50}, id="the old name"),
        pytest.param(
            CHAT, {"max_completion_tokens": 90}, {"max_completion_tokens": 50}, id="the new name"
        ),
        pytest.param(
            CHAT,
            {"max_tokens": 90, "max_completion_tokens": 90},
            {"max_tokens": 50, "max_completion_tokens": 50},
            id="both",
        ),
        pytest.param(
            CHAT,
            {"max_tokens": 40, "max_completion_tokens": 90},
            {"max_completion_tokens": 50},
            id="both, and one is low enough",
        ),
        pytest.param(CHAT, {}, {"max_completion_tokens": 50}, id="none"),
        pytest.param(CHAT, {"max_tokens": None}, {"max_completion_tokens": 50}, id="null"),
        pytest.param(CHAT, {"max_tokens": -1}, {"max_tokens": 50}, id="what a server makes of it"),
        pytest.param(CHAT, {"prediction": {"content": "x"}}, None, id="with a prediction"),
        pytest.param(RESPONSES, {}, {"max_output_tokens": 50}, id="a response"),
        pytest.param(COMPLETIONS, {"max_tokens": 90}, {"max_tokens": 50}, id="a completion"),
        pytest.param(MESSAGES, {"max_tokens": 90}, {"max_tokens": 50}, id="a message"),
        pytest.param(
            MESSAGES,
            {"max_tokens": 90, "thinking": {"type": "enabled", "budget_tokens": 49}},
            {"max_tokens": 50},
            id="a message that thinks less",
        ),
        pytest.param(
            MESSAGES,
            {"max_tokens": 90, "thinking": {"type": "enabled", "budget_tokens": 50}},
            None,
            id="a message that thinks as much",
        ),
        pytest.param(SHAPES["/embeddings"], {}, None, id="vectors"),
        pytest.param(SHAPES["/moderations"], {}, None, id="a moderation"),
    ],
)
def test_the_fields_that_limit_a_body(
    shape: Shape, body: dict[str, Any], fields: dict[str, Any] | None
) -> None:
    assert shape.limited(body, a_request()) == fields


@pytest.mark.parametrize(
    ("provider", "is_assumed", "name"),
    [
        ("openai", False, "max_completion_tokens"),
        ("azure.ai.openai", False, "max_completion_tokens"),
        ("openai", True, "max_tokens"),
        ("mistral_ai", False, "max_tokens"),
    ],
)
def test_servers_that_are_not_openais_are_asked_by_the_old_name(
    provider: str, is_assumed: bool, name: str
) -> None:
    request = a_request(provider, is_assumed=is_assumed)
    assert CHAT.limited({}, request) == {name: 50}
