"""What a stream of a message says it used, wherever it breaks off."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tollspan import safety
from tollspan.instrumentation._shapes import Reading, StreamReader, View
from tollspan.instrumentation.anthropic.extract import MessagesShape
from tollspan.usage import Iteration, Request, Response, Usage, estimate_tokens

FIXTURE = Path(__file__).parents[2] / "fixtures" / "anthropic" / "streams.json"
STREAMS: dict[str, list[dict[str, Any]]] = json.loads(FIXTURE.read_text())["streams"]
REQUEST = Request(
    provider="anthropic", operation="chat", model="claude-sonnet-4-5", input_bytes=400
)
SAID = "The weather in Bern is fine today, and it will stay so for the rest of the week."
NAMES = ("text", "tools and thinking", "compaction")


def feed(reader: StreamReader, events: list[dict[str, Any]]) -> None:
    """Pass events on as a stream's proxy does."""
    for document in events:
        event = View(document)
        reader.kept.append(event)
        if getattr(event, reader.sign, None) is not None or len(reader.kept) >= reader.look_at:
            assert not reader.look(event)


def read(events: list[dict[str, Any]], request: Request = REQUEST) -> Reading:
    """Read events as a stream that ended there."""
    reader = MessagesShape().reader(request, hides_usage=True)
    feed(reader, events)
    return reader.read()


def used(reading: Reading) -> Usage:
    """Return what a reading says was used."""
    assert reading.usage is not None
    return reading.usage


def changed(events: list[dict[str, Any]], number: int, **usage: object) -> list[dict[str, Any]]:
    """Return events of which one says something else about usage."""
    documents: list[dict[str, Any]] = json.loads(json.dumps(events))
    event = documents[number]
    event.get("message", event)["usage"] = usage
    return documents


def start(**usage: object) -> dict[str, Any]:
    """Return the first event."""
    return {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": usage}}


def delta(reason: str | None = None, **usage: object) -> dict[str, Any]:
    """Return an event that says the counts so far."""
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def block(kind: str, **members: object) -> dict[str, Any]:
    """Return the start of a block."""
    return {"type": "content_block_start", "index": 0, "content_block": {"type": kind, **members}}


def piece(text: str, index: int = 0) -> dict[str, Any]:
    """Return a piece of text."""
    said = {"type": "text_delta", "text": text}
    return {"type": "content_block_delta", "index": index, "delta": said}


STOP: dict[str, Any] = {"type": "message_stop"}


def test_a_whole_stream_is_reported_and_null_overwrites_nothing() -> None:
    assert read(STREAMS["text"]) == Reading(
        Usage(
            input_uncached=25, cache_read=4000, cache_write_5m=100, cache_write_1h=200, output=40
        ),
        Response(
            id="msg_11",
            model="claude-sonnet-4-5",
            finish_reasons=("end_turn",),
            service_tier="priority",
            region="us",
        ),
    )


def test_the_counts_of_the_end_replace_those_of_the_start() -> None:
    reading = read(STREAMS["tools and thinking"])
    assert reading.usage == Usage(
        input_uncached=9000,
        cache_read=70,
        output=90,
        reasoning=120,
        quantities=(("web_searches", 1),),
    )
    assert not reading.is_incomplete


def test_iterations_at_the_end_are_billed() -> None:
    usage = used(read(STREAMS["compaction"]))
    assert usage.iterations == (Iteration(input_uncached=83555, output=310),)
    assert (usage.input_tokens, usage.output_tokens) == (83555, 310)


def test_counts_are_cumulative_and_never_added() -> None:
    reading = read(
        [
            start(input_tokens=10, output_tokens=1, cache_creation_input_tokens=5),
            delta(output_tokens=20, input_tokens=30),
            delta("end_turn", output_tokens=25, cache_creation_input_tokens=6),
            STOP,
        ]
    )
    assert reading.usage == Usage(input_uncached=30, cache_write_5m=6, output=25)


def test_a_server_that_counts_the_input_only_at_the_end_is_believed() -> None:
    events = [
        start(input_tokens=0, output_tokens=0),
        delta("end_turn", input_tokens=9, output_tokens=2),
    ]
    assert read(events).usage == Usage(input_uncached=9, output=2)


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_is_whole_once_its_stop_reason_came(name: str) -> None:
    events = STREAMS[name]
    for end in range(len(events) + 1):
        reader = MessagesShape().reader(REQUEST, hides_usage=False)
        feed(reader, events[:end])
        is_whole = end >= len(events) - 1
        assert reader.is_whole() is is_whole
        assert (used(reader.read()).status == "reported") is is_whole
        assert reader.is_whole() is is_whole


def test_nothing_that_arrived_is_unknown() -> None:
    assert read([]) == Reading(Usage(status="unknown"), Response())


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_cut_anywhere_keeps_the_input_and_never_less_than_the_output_of_the_start(
    name: str,
) -> None:
    events = STREAMS[name]
    told = read_start(events)
    outputs: list[int] = []
    for end in range(1, len(events) - 1):
        usage = used(read(events[:end]))
        assert usage.status == "estimated"
        assert usage.input_tokens == told.input_tokens
        outputs.append(usage.output_tokens)
    assert outputs == sorted(outputs)
    assert outputs[0] == told.output_tokens
    assert outputs[-1] > told.output_tokens


def read_start(events: list[dict[str, Any]]) -> Usage:
    """Read the usage of the first event."""
    return used(MessagesShape().answer(View(events[0]["message"])))


def test_the_output_of_a_cut_stream_is_estimated_from_its_text() -> None:
    reading = read(STREAMS["text"][:5])
    assert used(reading).output == estimate_tokens([SAID], model="claude-sonnet-4-5")
    assert used(reading).reasoning == 0
    assert not reading.is_incomplete
    assert reading.response.finish_reasons == ()


def test_thinking_of_a_cut_stream_is_reasoning_and_leaves_it_incomplete() -> None:
    events = STREAMS["tools and thinking"]
    reading = read(events[:3])
    assert (used(reading).output, used(reading).reasoning) == (3, 61)
    assert used(reading).output_tokens == 64  # as the stream itself estimates it, not more
    assert reading.is_incomplete
    assert not read(events[:1]).is_incomplete


def test_searches_of_a_cut_stream_are_counted() -> None:
    assert used(read(STREAMS["tools and thinking"][:6])).quantities == (("web_searches", 1),)
    assert used(read(STREAMS["tools and thinking"][:5])).quantities == ()
    counted = delta(server_tool_use={"web_search_requests": 3, "web_fetch_requests": 1})
    reading = read([*STREAMS["tools and thinking"][:6], counted])
    assert used(reading).quantities == (("web_fetches", 1), ("web_searches", 3))


@pytest.mark.parametrize(
    ("first", "is_incomplete"),
    [
        (block("text", text=""), False),
        (block("tool_use", name="f", input={}), False),
        (block("thinking", thinking="", signature=""), True),
        (block("redacted_thinking", data="QUJD"), True),
        (block("server_tool_use", name="code_execution", input={}), True),
        (block("mcp_tool_use", name="f", server_name="s", input={}), True),
        (block("compaction", content=None), True),
        (block("fallback"), True),
        (block("something new"), True),
    ],
    ids=lambda value: str(value["content_block"]["type"]) if isinstance(value, dict) else "",
)
def test_what_may_be_billed_unseen_leaves_a_cut_stream_incomplete(
    first: dict[str, Any], is_incomplete: bool
) -> None:
    assert read([start(input_tokens=10, output_tokens=1), first]).is_incomplete is is_incomplete


def test_a_text_is_kept_from_the_start_of_its_block() -> None:
    events = [
        start(input_tokens=10, output_tokens=1),
        block("text", text=SAID[:30]),
        piece(SAID[30:]),
    ]
    assert used(read(events)).output == estimate_tokens([SAID], model="m")


def test_counts_on_the_way_are_the_least_that_was_used() -> None:
    events = [start(input_tokens=10, output_tokens=1), piece("Hi"), delta(output_tokens=500)]
    reading = read(events)
    assert reading.usage == Usage(status="estimated", input_uncached=10, output=500)


def test_iterations_on_the_way_keep_their_sum() -> None:
    entry = {"type": "compaction", "input_tokens": 900, "output_tokens": 2}
    events = [start(input_tokens=10, output_tokens=1), piece(SAID), delta(iterations=[entry])]
    usage = used(read(events))
    assert usage.status == "estimated"
    assert usage.input_tokens == 900
    assert usage.output_tokens == estimate_tokens([SAID], model="m")
    assert sum(one.output_tokens for one in usage.iterations) == usage.output_tokens


def test_the_input_is_estimated_where_nobody_reports_it() -> None:
    media = msgspec.structs.replace(REQUEST, unbounded=("media",))
    for events in (
        [piece(SAID)],
        [start(), piece(SAID)],
        [piece(SAID), delta("end_turn", output_tokens=1)],
    ):
        usage = used(read(events))
        assert usage.status == "estimated"
        assert 0 < usage.input_uncached <= REQUEST.input_bytes
        assert usage.output == estimate_tokens([SAID], model="claude-sonnet-4-5")
        assert not read(events).is_incomplete
        assert read(events, media).is_incomplete


def test_an_end_without_counts_is_estimated() -> None:
    for end in (STOP, delta("end_turn")):
        reading = read([start(input_tokens=10, output_tokens=1), piece(SAID), end])
        assert used(reading).status == "estimated"
        assert used(reading).output > 10


def test_iterations_that_can_not_be_read_leave_a_whole_stream_incomplete() -> None:
    end = delta("end_turn", output_tokens=2, iterations=["?"])
    reading = read([start(input_tokens=10, output_tokens=1), end])
    assert reading.is_incomplete
    assert used(reading).flags == ("malformed_iterations",)


def long_stream() -> list[dict[str, Any]]:
    """Return a stream of thousands of pieces."""
    return [STREAMS["text"][0], *[piece("word ", index) for index in (0, 1)] * 2_000]


def test_memory_stays_flat_and_a_long_text_is_estimated_as_one() -> None:
    reader = MessagesShape().reader(REQUEST, hides_usage=False)
    kept = reader.kept
    for event in long_stream():
        feed(reader, [event])
        assert len(reader.kept) <= 256
    assert reader.kept is kept
    whole = estimate_tokens(["word " * 2_000, "word " * 2_000], model="claude-sonnet-4-5")
    assert used(reader.read()).output == whole


def test_a_long_stream_is_whole_at_its_end() -> None:
    events = [*long_stream(), *STREAMS["text"][-2:]]
    assert read(events) == read(STREAMS["text"])
    for more in range(300):  # wherever the last events are folded
        reader = MessagesShape().reader(REQUEST, hides_usage=False)
        feed(reader, [*STREAMS["text"][:1], *[piece("x")] * more, *STREAMS["text"][-2:]])
        assert reader.is_whole()
        assert reader.read() == read(STREAMS["text"])


class Hostile:
    """Raises what it is asked for."""

    type = "message_delta"

    @property
    def delta(self) -> object:
        raise KeyError("no")


def test_an_event_that_fails_is_left_out_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    caught: dict[tuple[str, str], int] = {}
    monkeypatch.setattr(safety, "internal_errors", caught)
    reader = MessagesShape().reader(REQUEST, hides_usage=False)
    feed(reader, STREAMS["text"][:3])
    reader.kept.append(Hostile())
    feed(reader, STREAMS["text"][3:5])
    assert not reader.is_whole()
    assert used(reader.read()).output == estimate_tokens([SAID], model="claude-sonnet-4-5")
    assert caught == {("anthropic.stream", "KeyError"): 2}


@pytest.mark.parametrize(
    "event",
    [
        None,
        7,
        SimpleNamespace(),
        SimpleNamespace(type=None),
        SimpleNamespace(type=[]),
        SimpleNamespace(type="message_start", message=None),
        SimpleNamespace(type="message_start", message=SimpleNamespace(usage=7)),
        SimpleNamespace(type="message_delta", delta=None, usage=None),
        SimpleNamespace(type="content_block_start", index=0, content_block=None),
        SimpleNamespace(type="content_block_delta", index=0, delta=None),
        SimpleNamespace(type="content_block_delta", index=[], delta=None),
        SimpleNamespace(type="something_new"),
    ],
    ids=repr,
)
def test_events_that_nobody_expects_change_nothing(event: object) -> None:
    reader = MessagesShape().reader(REQUEST, hides_usage=False)
    reader.kept.append(event)
    reader.look(event)
    reader.kept.extend(map(View, STREAMS["text"]))
    assert reader.is_whole()
    assert reader.read() == read(STREAMS["text"])


def test_the_time_of_the_first_event_is_noted_once() -> None:
    reader = MessagesShape().reader(REQUEST, hides_usage=False)
    assert reader.first_chunk_at_ns is None
    feed(reader, STREAMS["text"][:1])
    first = reader.first_chunk_at_ns
    assert first is not None
    feed(reader, long_stream())
    assert reader.first_chunk_at_ns == first


def test_another_model_at_the_start_is_the_answers_model() -> None:
    events = changed(STREAMS["text"], 0, input_tokens=1, output_tokens=1, speed="fast")
    response = read(events).response
    assert (response.model, response.service_tier, response.region) == (
        "claude-sonnet-4-5",
        "fast",
        None,
    )
