"""What is read from a moderation, which is free."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from openai._models import construct_type
from openai.types import ModerationCreateResponse

from tollspan.instrumentation._hosts import HostTable, Route
from tollspan.instrumentation._shapes import Reading, Shape, View
from tollspan.instrumentation.openai._moderations import ModerationsShape
from tollspan.usage import Request, Response, Usage

FIXTURE = Path(__file__).parents[2] / "fixtures" / "openai" / "moderations.json"
ANSWER: dict[str, Any] = json.loads(FIXTURE.read_text("utf-8"))["answer"]
SHAPE = ModerationsShape()
URL = cast("Any", SimpleNamespace(host="api.openai.com", port=None))
ROUTE: Route = HostTable("openai", {"api.openai.com": "openai"}).route(URL)


def test_it_is_a_shape_that_is_free() -> None:
    shape: Shape = SHAPE
    assert shape is SHAPE
    assert SHAPE.is_free


@pytest.mark.parametrize(
    ("body", "model"),
    [({"input": "x" * 500, "model": "omni-moderation-latest"}, "omni-moderation-latest"),
     ({"input": "x"}, "")],
)  # fmt: skip
def test_a_request_has_no_size(body: dict[str, object], model: str) -> None:
    assert SHAPE.request(body, ROUTE, is_stream=False) == Request(
        provider="openai",
        operation="moderation",
        model=model,
        host="api.openai.com",
        max_output_tokens=0,
    )


def test_nothing_is_billed() -> None:
    reading = SHAPE.answer(View(ANSWER))
    assert reading == Reading(None, Response(id="modr-1", model="omni-moderation-latest"))
    assert SHAPE.answer(construct_type(type_=ModerationCreateResponse, value=ANSWER)) == reading
    assert SHAPE.answer(object()) == Reading(None, Response())


def test_a_stream_that_should_not_be_one_is_unknown() -> None:
    request = SHAPE.request({"input": "x"}, ROUTE, is_stream=False)
    assert SHAPE.reader(request, hides_usage=False).read().usage == Usage(status="unknown")
