"""The SDK's own objects read as views of their JSON do, and go back into requests."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from anthropic import NOT_GIVEN, BaseModel
from anthropic._models import construct_type
from anthropic.types import Message, RawMessageStreamEvent, TextBlock, ThinkingBlock, ToolUseBlock
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent

from tollspan.instrumentation._hosts import HostTable
from tollspan.instrumentation._shapes import Reading, View
from tollspan.instrumentation.anthropic.extract import MessagesShape
from tollspan.usage import Request

FIXTURES = Path(__file__).parents[2] / "fixtures" / "anthropic"
ANSWERS: list[dict[str, Any]] = json.loads((FIXTURES / "usages.json").read_text())["answers"]
STREAMS: dict[str, list[dict[str, Any]]] = json.loads((FIXTURES / "streams.json").read_text())[
    "streams"
]
SHAPE = MessagesShape()


class Older(BaseModel):
    """The usage of an SDK that knows two fields of it."""

    input_tokens: int
    output_tokens: int


REQUEST = Request(provider="anthropic", operation="chat", model="claude-opus-4-6")


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: str(case["id"]))
def test_an_answer_reads_as_its_json_does(case: dict[str, Any]) -> None:
    of_json = SHAPE.answer(View(case["answer"]))
    assert SHAPE.answer(BetaMessage.model_validate(case["answer"])) == of_json
    assert SHAPE.answer(BetaMessage.construct(**case["answer"])) == of_json
    # What a class does not know of, as an older one does not, is JSON in its objects.
    assert SHAPE.answer(Message.construct(**case["answer"])) == of_json
    older = {**case["answer"], "usage": Older.construct(**case["answer"]["usage"])}
    assert SHAPE.answer(SimpleNamespace(**older)) == of_json


def event(kind: object, document: dict[str, Any]) -> object:
    """Make an event as the SDK does: a type that its class does not know is no error."""
    made: object = construct_type(type_=kind, value=document)
    assert not isinstance(made, dict)
    return made


def read(events: list[object]) -> tuple[bool, Reading]:
    """Read a stream's events as whoever passes them on does."""
    reader = SHAPE.reader(REQUEST, hides_usage=False)
    for one in events:
        reader.kept.append(one)
        if getattr(one, reader.sign, None) is not None or len(reader.kept) >= reader.look_at:
            assert not reader.look(one)
    return reader.is_whole(), reader.read()


@pytest.mark.parametrize("name", STREAMS)
def test_events_read_as_their_json_does(name: str) -> None:
    documents = STREAMS[name]
    of_json = [read([View(one) for one in documents[:n]]) for n in range(len(documents) + 1)]
    for kind in (BetaRawMessageStreamEvent, RawMessageStreamEvent):
        objects = [event(kind, one) for one in documents]
        assert [read(objects[:n]) for n in range(len(objects) + 1)] == of_json


def test_an_event_without_news_costs_no_call() -> None:
    piece = event(RawMessageStreamEvent, STREAMS["text"][2])
    reader = SHAPE.reader(REQUEST, hides_usage=False)
    assert getattr(piece, reader.sign, None) is None


def test_the_sdks_own_blocks_are_counted_when_they_are_sent_back() -> None:
    blocks = [
        ThinkingBlock(type="thinking", thinking="é" * 100, signature="abc"),
        TextBlock(type="text", text="é" * 100),
        ToolUseBlock(type="tool_use", id="toolu_1", name="f", input={"type": "image"}),
    ]
    body = {
        "model": "claude-opus-4-6",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": blocks}],
        "system": NOT_GIVEN,
    }
    url = SimpleNamespace(host="api.anthropic.com", port=None)
    request = SHAPE.request(body, HostTable("anthropic", {}).route(url), is_stream=False)
    assert request is not None
    assert request.unbounded == ()
    assert request.input_bytes >= 400 + len("thinkingabctexttoolu_1image")
