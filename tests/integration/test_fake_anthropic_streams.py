"""The streams of the fake of Anthropic, driven by the real SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import RawMessageStreamEvent
from anthropic.types.beta import BetaRawMessageStreamEvent
from pydantic import TypeAdapter

from tests.fakes import FakeAnthropic, Reply, ToolCall
from tests.fakes.anthropic_calls import ASKED, PROMPT_TOKENS, price_nanousd, stream, text_of
from tests.fakes.raw import post_stream

HELLO = "Hello! How can I help you today?"
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
BETA_EVENT: TypeAdapter[Any] = TypeAdapter(BetaRawMessageStreamEvent)
FULL: dict[str, Any] = {
    "reasoning_text": "let me see",
    "reasoning_tokens": 9,
    "web_searches": 2,
    "tool_calls": [{"name": "weather", "arguments": '{"city": "Zürich"}'}],
    "prompt_tokens": 1000,
    "cached_tokens": 600,
    "cache_write_tokens": 100,
    "iterations": [{"type": "compaction", "input_tokens": 7, "output_tokens": 3}],
}


@pytest.fixture
def fake() -> Iterator[FakeAnthropic]:
    with FakeAnthropic() as server:
        yield server


@pytest.fixture
def client(fake: FakeAnthropic) -> Iterator[Anthropic]:
    with Anthropic(base_url=fake.base_url, api_key="key", max_retries=0) as made:
        yield made


def test_events_come_in_the_real_order(client: Anthropic) -> None:
    reply = {"reasoning_text": "hm", "reasoning_tokens": 4, "text": "a b"}
    reply |= {"tool_calls": [{"name": "t", "arguments": "{}"}]}
    events = list(stream(client, fake_reply=reply))
    assert [_named(event) for event in events] == [
        "message_start",
        "content_block_start thinking",
        "content_block_delta thinking_delta",
        "content_block_delta signature_delta",
        "content_block_stop",
        "content_block_start text",
        "content_block_delta text_delta",
        "content_block_delta text_delta",
        "content_block_stop",
        "content_block_start tool_use",
        "content_block_delta input_json_delta",
        "content_block_delta input_json_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param({}, id="plain"),
        pytest.param(FULL, id="everything"),
        pytest.param({"text": ""}, id="empty"),
        pytest.param({"reasoning_tokens": 5}, id="thinking that is not shown"),
        pytest.param({"finish_reason": "refusal"}, id="refused"),
    ],
)
def test_the_wire_fits_the_types_of_the_sdk(fake: FakeAnthropic, reply: dict[str, Any]) -> None:
    events = post_stream(fake, "/v1/messages", {**ASKED, "stream": True}, reply)
    assert [event.name for event in events][:2] == ["message_start", "ping"]
    for event in events:
        assert event.name == event.data["type"]
        if event.name != "ping":
            EVENT.validate_python(event.data)
            BETA_EVENT.validate_python(event.data)


def test_usage_comes_at_both_ends_and_is_cumulative(fake: FakeAnthropic, client: Anthropic) -> None:
    reply = {"prompt_tokens": 500, "cached_tokens": 100, "opening_input_tokens": 60}
    events = list(stream(client, fake_reply={**reply, "web_searches": 1}))
    first, last = events[0], events[-2]
    assert first.type == "message_start"
    assert first.message.usage.input_tokens == 60
    assert first.message.usage.output_tokens == 1
    assert first.message.usage.cache_read_input_tokens == 100
    assert last.type == "message_delta"
    assert last.usage.input_tokens == 400
    assert last.usage.output_tokens == 8
    assert last.usage.server_tool_use is not None
    assert last.usage.server_tool_use.web_search_requests == 1
    expected = price_nanousd(500, 8, cached_tokens=100) + 10_000_000
    assert fake.billed_nanousd == expected


def test_the_helper_builds_the_whole_message(fake: FakeAnthropic, client: Anthropic) -> None:
    arguments = '{"city": "Zürich", "days": 3}'
    fake.script.push(
        Reply(
            text="Grüße, 世界 👋🏽",
            reasoning_text="let me see",
            web_searches=1,
            tool_calls=(ToolCall(name="weather", arguments=arguments),),
        )
    )
    with client.messages.stream(**ASKED) as events:
        assert "".join(events.text_stream) == "Grüße, 世界 👋🏽"
        built = events.get_final_message()
    kinds = ["thinking", "server_tool_use", "web_search_tool_result", "text", "tool_use"]
    assert [block.type for block in built.content] == kinds
    assert built.content[-1].type == "tool_use"
    assert built.content[-1].input == {"city": "Zürich", "days": 3}
    assert built.stop_reason == "tool_use"
    output_tokens = built.usage.output_tokens
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, output_tokens) + 10_000_000


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param({"split_bytes": 1}, id="single bytes"),
        pytest.param({"gzip": True}, id="gzip"),
        pytest.param({"gzip": True, "split_bytes": 7}, id="gzip in pieces"),
        pytest.param({"sse_comments": True}, id="comments"),
        pytest.param({"chunk_delay_seconds": 0.001}, id="one write per piece"),
    ],
)
def test_a_stream_survives_its_packing(client: Anthropic, shape: dict[str, object]) -> None:
    events = stream(client, fake_reply={"chunks": ["Grüße, ", "世界", " 👋🏽"], **shape})
    assert text_of(list(events)) == "Grüße, 世界 👋🏽"


def test_async_streams_and_their_helper(fake: FakeAnthropic) -> None:
    async def run() -> None:
        async with AsyncAnthropic(base_url=fake.base_url, api_key="key", max_retries=0) as client:
            events = await client.messages.create(stream=True, **ASKED)
            assert text_of([event async for event in events]) == HELLO
            async with client.messages.stream(**ASKED) as helper:
                assert await helper.get_final_text() == HELLO
            async with client.beta.messages.stream(**ASKED) as beta:
                assert (await beta.get_final_message()).usage.output_tokens == 8

    asyncio.run(run())
    assert fake.billed_nanousd == 3 * price_nanousd(PROMPT_TOKENS, 8)


def test_raw_and_streaming_responses_are_read_as_they_are(
    fake: FakeAnthropic, client: Anthropic
) -> None:
    raw = client.messages.with_raw_response.create(stream=True, **ASKED)
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert text_of(raw.parse()) == HELLO
    with client.messages.with_streaming_response.create(stream=True, **ASKED) as response:
        lines = list(response.iter_lines())
    assert lines[0] == "event: message_start"
    assert fake.completed == 2


def test_a_stream_cut_by_the_client_bills_what_was_generated(
    fake: FakeAnthropic, client: Anthropic
) -> None:
    fake.script.push(Reply(output_tokens=100, reasoning_tokens=5, stall_after_chunks=3))
    with stream(client) as events:
        for event in events:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                break
        assert fake.in_flight == 1
    assert fake.wait_idle()
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 5 + 3)
    assert (fake.disconnected, fake.completed) == (1, 0)


def test_a_provider_error_ends_a_stream(fake: FakeAnthropic, client: Anthropic) -> None:
    fake.script.push(Reply(output_tokens=10, error_in_stream=2, error_message="sorry"))
    seen: list[RawMessageStreamEvent] = []
    with pytest.raises(anthropic.APIStatusError, match="sorry") as caught:
        seen.extend(stream(client))
    assert caught.value.type == "overloaded_error"
    assert text_of(seen) == " the and"
    assert fake.requests[0].billed_nanousd == price_nanousd(PROMPT_TOKENS, 2)
    assert fake.completed == 0


@pytest.mark.parametrize("close_with", ["rst", "fin"])
def test_a_dropped_stream_delivers_its_pieces_first(
    fake: FakeAnthropic, client: Anthropic, close_with: str
) -> None:
    reply = {"drop": "mid_stream", "after_chunks": 2, "close_with": close_with}
    seen: list[RawMessageStreamEvent] = []
    with pytest.raises(httpx2.TransportError):  # the SDK doesn't wrap it, as OpenAI's does
        seen.extend(stream(client, fake_reply=reply))
    assert text_of(seen) == "Hello! How"
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 3)


def test_malformed_json_and_missing_usage_reach_the_sdk(client: Anthropic) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(stream(client, fake_reply={"malformed_json": True}))
    events = list(stream(client, fake_reply={"omit_usage": True}))
    assert text_of(events) == HELLO
    assert events[-2].type == "message_delta"
    assert "usage" not in events[-2].model_fields_set


def _named(event: RawMessageStreamEvent) -> str:
    if event.type == "content_block_start":
        return f"{event.type} {event.content_block.type}"
    if event.type == "content_block_delta":
        return f"{event.type} {event.delta.type}"
    return event.type
