"""What is read from the events of a streamed response, whole and cut short."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from openai._models import construct_type
from openai.types.responses import ResponseStreamEvent

from tollspan.instrumentation._shapes import Reading, StreamReader, View
from tollspan.instrumentation.openai._responses import ResponsesShape
from tollspan.usage import Request, Response, Usage, estimate_input_tokens, estimate_tokens

FIXTURE = Path(__file__).parents[2] / "fixtures" / "openai" / "response_streams.json"
STREAMS: dict[str, list[dict[str, Any]]] = json.loads(FIXTURE.read_text("utf-8"))["streams"]
SHAPE = ResponsesShape()
MODEL = "gpt-5.4-2026-03-05"
RAN = Response(id="resp_1", model=MODEL, finish_reasons=("completed",), service_tier="default")
STARTED = Response(id="resp_1", model=MODEL, service_tier="default")


def asked(**fields: Any) -> Request:
    """Return a request for a stream."""
    given = {"model": "gpt-5.4", "input_bytes": 400, **fields}
    return Request(provider="openai", operation="chat", is_stream=True, **given)


def watched(events: list[object], request: Request | None = None) -> StreamReader:
    """Return a reader that saw events as whoever passes them on shows them."""
    reader: StreamReader = SHAPE.reader(request or asked(), hides_usage=True)
    for event in events:
        reader.kept.append(event)
        if getattr(event, reader.sign, None) is not None or len(reader.kept) >= reader.look_at:
            assert not reader.look(event)
    return reader


def objects(events: list[dict[str, Any]]) -> list[object]:
    """Return events as the SDK makes them."""
    return [construct_type(type_=cast("Any", ResponseStreamEvent), value=one) for one in events]


def views(events: list[dict[str, Any]]) -> list[object]:
    """Return events as they are read from the wire."""
    return [View(one) for one in events]


def seen(events: list[dict[str, Any]], request: Request | None = None) -> Reading:
    """Read events; the SDK's objects and their JSON say the same."""
    reading = watched(views(events), request).read()
    assert watched(objects(events), request).read() == reading
    return reading


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("text", Usage(input_uncached=12, cache_read=8, output=6)),
        (
            "tools",
            Usage(input_uncached=4000, output=30, reasoning=50, quantities=(("web_searches", 1),)),
        ),
    ],
)
def test_a_whole_stream_is_billed_as_reported(name: str, usage: Usage) -> None:
    assert seen(STREAMS[name]) == Reading(usage, RAN)


@pytest.mark.parametrize("name", STREAMS)
def test_only_the_event_that_ends_the_response_makes_it_whole(name: str) -> None:
    events = STREAMS[name]
    for end in range(len(events) + 1):
        assert watched(views(events[:end])).is_whole() is (end == len(events))


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_is_cut_after_any_event_is_estimated_from_what_came(name: str) -> None:
    events = STREAMS[name]
    last = 0
    for end in range(1, len(events)):
        usage = seen(events[:end]).usage
        assert usage is not None
        assert usage.status == "estimated"
        assert usage.input_tokens == estimate_input_tokens(400, model=MODEL)
        assert usage.output_tokens >= last
        last = usage.output_tokens
    assert last > 0


def test_nothing_is_known_of_a_stream_before_its_first_event() -> None:
    assert seen([]) == Reading(Usage(status="unknown"), Response())


def test_the_pieces_of_a_text_are_counted_as_one() -> None:
    reading = seen(STREAMS["text"][:-1])
    assert reading.usage is not None
    assert reading.usage.output == estimate_tokens(["Hello, world."], model=MODEL)
    assert reading.response == STARTED


def test_calls_and_summaries_are_counted_by_what_was_said() -> None:
    reading = seen(STREAMS["tools"][:-1])
    assert reading.usage is not None
    said = ["Thinking of Bern.", "weather", '{"city":"Bern"}']
    assert reading.usage.output == estimate_tokens(said, model=MODEL)
    assert reading.usage.quantities == (("web_searches", 1),)


def said_by(model: str, **started: object) -> list[dict[str, Any]]:
    """Return the start of a stream of another model."""
    first, *others = STREAMS["text"][:6]
    response = {**first["response"], "model": model, **started}
    return [{**first, "response": response}, *[one for one in others if "response" not in one]]


@pytest.mark.parametrize(
    ("events", "request_fields", "is_incomplete"),
    [
        pytest.param(said_by("gpt-4.1"), {}, False, id="all that was billed was seen"),
        pytest.param(said_by("gpt-5.4"), {}, True, id="it may have reasoned"),
        pytest.param(
            said_by("gpt-4.1"), {"unbounded": ("server_tool",)}, True, id="tools at the provider"
        ),
        pytest.param(said_by("gpt-4.1", background=True), {}, True, id="it goes on without us"),
        pytest.param(
            [*said_by("gpt-4.1"), {"type": "response.audio.delta", "delta": "AAAA"}],
            {},
            True,
            id="audio",
        ),
    ],
)
def test_what_was_not_seen_keeps_the_rest_of_the_hold(
    events: list[dict[str, Any]], request_fields: dict[str, Any], is_incomplete: bool
) -> None:
    assert seen(events, asked(**request_fields)).is_incomplete is is_incomplete


def ended(kind: str, **fields: object) -> list[dict[str, Any]]:
    """Return the text stream with another end."""
    *events, last = STREAMS["text"]
    return [*events, {**last, "type": kind, "response": {**last["response"], **fields}}]


@pytest.mark.parametrize(
    ("events", "status", "reason"),
    [
        (
            ended(
                "response.incomplete",
                status="incomplete",
                incomplete_details={"reason": "content_filter"},
            ),
            "reported",
            "content_filter",
        ),
        (ended("response.failed", status="failed"), "reported", "failed"),
        (ended("response.failed", status="failed", usage=None), "unknown", "failed"),
        (ended("response.completed", usage=None), "estimated", "completed"),
        (ended("response.completed", usage={"input_tokens": -1}), "unknown", "completed"),
    ],
)
def test_however_it_ended_its_usage_is_billed(
    events: list[dict[str, Any]], status: str, reason: str
) -> None:
    assert watched(views(events)).is_whole()
    reading = seen(events)
    assert reading.usage is not None
    assert reading.usage.status == status
    assert reading.response.finish_reasons == (reason,)


def test_the_items_that_came_before_stand_in_for_an_end_that_has_none() -> None:
    *events, last = STREAMS["tools"]
    bare = {**last, "response": {**last["response"], "output": []}}
    usage = seen([*events, bare]).usage
    assert usage is not None
    assert (usage.status, usage.quantities) == ("reported", (("web_searches", 1),))


def test_an_end_that_an_older_sdk_leaves_as_plain_json_is_an_end() -> None:
    *events, last = STREAMS["tools"]
    reader = watched([*views(events), SimpleNamespace(**last)])
    assert reader.is_whole()
    assert reader.read() == seen(STREAMS["tools"])


def test_usage_on_the_way_is_not_the_last_word() -> None:
    first = STREAMS["text"][0]
    usage = {"input_tokens": 20, "output_tokens": 1}
    reading = seen([{**first, "response": {**first["response"], "usage": usage}}])
    assert reading.usage == Usage(status="estimated", input_uncached=20, output=1)
    assert reading.is_incomplete


def test_an_end_that_only_says_sorry_is_estimated() -> None:
    error = {"type": "error", "code": "server_error", "message": "Sorry.", "param": None}
    reading = seen([*STREAMS["text"][:6], error])
    assert reading.usage is not None
    assert reading.usage.status == "estimated"


def test_a_long_stream_keeps_no_events() -> None:
    *start, end = STREAMS["text"]
    delta = start[4]
    events = [*start[:4], *[{**delta, "delta": "word "}] * 1000]
    reader = watched(views(events))
    assert len(reader.kept) < 256
    usage = reader.read().usage
    assert usage is not None
    assert usage.output == estimate_tokens(["word " * 1000], model=MODEL)
    whole = watched(views([*events, end]))
    assert whole.read().usage == Usage(input_uncached=12, cache_read=8, output=6)
    assert whole.kept == []


@pytest.mark.parametrize(
    "event",
    [object(), None, View({}), View({"type": 7}), View({"type": "response.x.delta", "delta": 7}),
     View({"type": "response.output_item.done", "item": 7}), View({"response": 7})],
)  # fmt: skip
def test_an_event_that_makes_no_sense_changes_nothing(event: object) -> None:
    reading = watched([event]).read()
    assert reading.usage is not None
    assert (reading.usage.status, reading.usage.output_tokens) == ("estimated", 0)
