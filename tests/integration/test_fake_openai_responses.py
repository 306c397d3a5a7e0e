"""The fake's Responses API, driven by the real SDK: whole, streamed, in the background."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import CompactedResponse, Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from tests.fakes import FAKE_HEADER, FEES, PRICES, FakeOpenAI, Reply, ToolCall, bill_nanousd
from tests.fakes.calls import MODEL, price_nanousd
from tests.fakes.raw import post, post_stream

PROMPT = "hi"
PROMPT_TOKENS = 3 + 1
ASKED: dict[str, Any] = {"model": MODEL, "input": PROMPT}
HELLO = "Hello! How can I help you today?"
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
FULL: dict[str, Any] = {
    "reasoning_text": "let me see",
    "reasoning_tokens": 9,
    "web_searches": 2,
    "page_visits": 1,
    "file_searches": 1,
    "code_containers": ["cntr_1", "cntr_1", "cntr_2"],
    "tool_calls": [{"name": "weather", "arguments": '{"city": "Zürich"}'}],
    "prompt_tokens": 1000,
    "cached_tokens": 600,
}
TOOLS_NANOUSD = (
    2 * FEES["web_searches"] + FEES["storage_searches"] + 2 * FEES["code_sessions"]
) // 1000


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def client(fake: FakeOpenAI) -> Iterator[OpenAI]:
    with OpenAI(base_url=fake.base_url, api_key="key", max_retries=0) as made:
        yield made


REPLIES = [
    pytest.param({}, id="plain"),
    pytest.param(FULL, id="everything"),
    pytest.param({"text": ""}, id="empty"),
    pytest.param({"reasoning_tokens": 5}, id="reasoning that is not shown"),
    pytest.param({"finish_reason": "failed"}, id="failed"),
    pytest.param({"finish_reason": "content_filter"}, id="filtered"),
    pytest.param({"gzip": True, "chunked": True, "split_bytes": 3}, id="packed"),
]


@pytest.mark.parametrize("reply", REPLIES)
def test_a_body_fits_the_types_of_the_sdk(fake: FakeOpenAI, reply: dict[str, Any]) -> None:
    Response.model_validate(post(fake, "/v1/responses", ASKED, reply))


@pytest.mark.parametrize("reply", REPLIES)
def test_events_fit_the_types_of_the_sdk(fake: FakeOpenAI, reply: dict[str, Any]) -> None:
    events = post_stream(fake, "/v1/responses", {**ASKED, "stream": True}, reply)
    for number, event in enumerate(events):
        assert event.name == event.data["type"]
        assert event.data["sequence_number"] == number
        EVENT.validate_python(event.data)
    plain = post(fake, "/v1/responses", ASKED, reply)
    streamed = events[-1].data["response"]
    assert [item["type"] for item in streamed["output"]] == [
        item["type"] for item in plain["output"]
    ]
    assert (streamed["status"], streamed["usage"]) == (plain["status"], plain["usage"])
    assert fake.requests[0].billed_nanousd == fake.requests[1].billed_nanousd


def test_events_come_in_the_real_order(client: OpenAI) -> None:
    reply = Reply(
        text="a b",
        reasoning_text="hm",
        web_searches=1,
        tool_calls=(ToolCall(name="t", arguments="{}"),),
    )
    kinds = [event.type for event in _stream(client, reply)]
    assert [kind.removeprefix("response.") for kind in kinds] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "web_search_call.in_progress",
        "web_search_call.searching",
        "web_search_call.completed",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


def test_hosted_tools_have_fees(fake: FakeOpenAI, client: OpenAI) -> None:
    fake.script.push(Reply().with_json(FULL))
    response = client.responses.create(**ASKED)
    assert [item.type for item in response.output] == [
        "reasoning",
        *["web_search_call"] * 3,
        "file_search_call",
        *["code_interpreter_call"] * 3,
        "message",
        "function_call",
    ]
    assert [item.action.type for item in response.output if item.type == "web_search_call"] == [
        "search",
        "search",
        "open_page",
    ]
    assert response.usage is not None
    assert response.usage.input_tokens_details.cached_tokens == 600
    assert response.usage.output_tokens_details.reasoning_tokens == 9
    tokens = price_nanousd(1000, response.usage.output_tokens, cached_tokens=600)
    assert fake.billed_nanousd == tokens + TOOLS_NANOUSD
    assert fake.requests[0].units == {"web_searches": 2, "storage_searches": 1, "code_sessions": 2}


def test_cache_writes_are_reported_and_billed(fake: FakeOpenAI, client: OpenAI) -> None:
    fake.script.push(Reply(prompt_tokens=1000, cached_tokens=500, cache_write_tokens=400))
    usage = client.responses.create(model="gpt-6-luna", input=PROMPT).usage
    assert usage is not None
    assert usage.input_tokens_details.cache_write_tokens == 400
    # 100 x 0.10 + 500 x 0.01 + 400 x 0.125 + 8 x 0.50 USD per million
    assert fake.billed_nanousd == 10_000 + 5_000 + 50_000 + 4_000


@pytest.mark.parametrize(
    ("reply", "status", "last"),
    [
        ({}, "completed", "response.completed"),
        ({"output_tokens": 50}, "incomplete", "response.incomplete"),
        ({"finish_reason": "failed", "error_message": "oh"}, "failed", "response.failed"),
    ],
)
def test_a_stream_ends_in_its_status(
    fake: FakeOpenAI, client: OpenAI, reply: dict[str, Any], status: str, last: str
) -> None:
    fake.script.default = Reply().with_json(reply)
    plain = client.responses.create(max_output_tokens=10, **ASKED)
    with client.responses.stream(max_output_tokens=10, **ASKED) as events:
        end = list(events)[-1]
    assert plain.status == status
    assert end.type == last
    assert (plain.usage is None) == (status == "failed")


def test_the_helper_and_parse_build_what_fits(fake: FakeOpenAI, client: OpenAI) -> None:
    class City(BaseModel):
        name: str
        people: int

    fake.script.default = Reply(text='{"name": "Zürich", "people": 400000}', split_bytes=1)
    parsed = client.responses.parse(text_format=City, **ASKED)
    assert parsed.output_parsed == City(name="Zürich", people=400_000)
    with client.responses.stream(text_format=City, **ASKED) as events:
        assert events.get_final_response().output_parsed == parsed.output_parsed
    assert fake.requests[0].billed_nanousd == fake.requests[1].billed_nanousd


def test_async_streams_and_their_helper(fake: FakeOpenAI) -> None:
    async def run() -> None:
        async with AsyncOpenAI(base_url=fake.base_url, api_key="key", max_retries=0) as client:
            assert (await client.responses.create(**ASKED)).output_text == HELLO
            events = await client.responses.create(stream=True, **ASKED)
            kinds = [event.type async for event in events]
            assert kinds[-1] == "response.completed"
            async with client.responses.stream(**ASKED) as helper:
                assert (await helper.get_final_response()).output_text == HELLO

    asyncio.run(run())
    assert fake.billed_nanousd == 3 * price_nanousd(PROMPT_TOKENS, 8)


def test_raw_and_streaming_responses_are_read_as_they_are(fake: FakeOpenAI, client: OpenAI) -> None:
    raw = client.responses.with_raw_response.create(**ASKED)
    assert raw.parse().output_text == HELLO
    with client.responses.with_streaming_response.create(stream=True, **ASKED) as response:
        lines = list(response.iter_lines())
    assert lines[0] == "event: response.created"
    assert fake.completed == 2


def test_a_promise_is_kept_later(fake: FakeOpenAI, client: OpenAI) -> None:
    promise = client.responses.create(background=True, **ASKED)
    assert (promise.status, promise.usage, promise.output) == ("queued", None, [])
    kept = client.responses.retrieve(promise.id)
    assert (kept.status, kept.output_text) == ("completed", HELLO)
    assert kept.usage is not None
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8)
    assert fake.hits == 1
    events = list(client.responses.create(background=True, stream=True, **ASKED))
    assert [event.type for event in events][:3] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]


def test_a_compaction_is_billed(fake: FakeOpenAI, client: OpenAI) -> None:
    fake.script.default = Reply(prompt_tokens=5000, output_tokens=70)
    compacted = client.responses.compact(model=MODEL, input=PROMPT)
    assert compacted.output[0].type == "compaction"
    assert compacted.usage.output_tokens == 70
    assert fake.billed_nanousd == price_nanousd(5000, 70)
    CompactedResponse.model_validate(post(fake, "/v1/responses/compact", ASKED))


def test_a_service_tier_has_its_price(fake: FakeOpenAI, client: OpenAI) -> None:
    fake.script.push(Reply(service_tier="priority"))
    assert client.responses.create(**ASKED).service_tier == "priority"
    price = PRICES["gpt-4o-mini@priority"]
    assert fake.billed_nanousd == bill_nanousd(price, prompt_tokens=4, output_tokens=8)


# --- breakages ------------------------------------------------------------------------------------


def test_a_provider_error_is_an_event(fake: FakeOpenAI, client: OpenAI) -> None:
    reply = Reply(output_tokens=10, error_in_stream=2, error_message="sorry", error_code="oops")
    *_, last = _stream(client, reply)
    assert last.type == "error"
    assert (last.message, last.code) == ("sorry", "oops")
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 2)
    assert fake.completed == 0


@pytest.mark.parametrize("close_with", ["rst", "fin"])
def test_a_dropped_stream_delivers_its_pieces_first(
    fake: FakeOpenAI, client: OpenAI, close_with: Any
) -> None:
    seen: list[str] = []
    reply = Reply(drop="mid_stream", after_chunks=2, close_with=close_with)
    with pytest.raises(openai.APIConnectionError):
        seen.extend(
            event.delta
            for event in _stream(client, reply)
            if event.type == "response.output_text.delta"
        )
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 3)


def test_a_stream_cut_by_the_client_bills_what_was_generated(
    fake: FakeOpenAI, client: OpenAI
) -> None:
    reply = Reply(output_tokens=100, reasoning_tokens=5, web_searches=1, stall_after_chunks=3)
    events = _stream(client, reply)
    for event in events:
        if event.type == "response.output_text.delta":
            break
    events.close()
    assert fake.wait_idle()
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 5 + 3) + 10_000_000
    assert fake.disconnected == 1


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param({"split_bytes": 1}, id="single bytes"),
        pytest.param({"gzip": True, "split_bytes": 7}, id="gzip in pieces"),
        pytest.param({"sse_comments": True}, id="comments"),
        pytest.param({"chunk_delay_seconds": 0.001}, id="one write per piece"),
    ],
)
def test_a_stream_survives_its_packing(client: OpenAI, shape: dict[str, Any]) -> None:
    reply = Reply().with_json({"chunks": ["Grüße, ", "世界", " 👋🏽"], **shape})
    *_, last = _stream(client, reply)
    assert last.type == "response.completed"
    assert last.response.output_text == "Grüße, 世界 👋🏽"


def test_a_status_becomes_the_sdk_exception(fake: FakeOpenAI, client: OpenAI) -> None:
    fake.script.push(Reply(status=429), Reply(status=500))
    with pytest.raises(openai.RateLimitError):
        client.responses.create(**ASKED)
    with pytest.raises(openai.InternalServerError):
        client.responses.create(stream=True, **ASKED)
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model=MODEL)
    assert fake.billed_nanousd == 0


def _stream(client: OpenAI, reply: Reply) -> openai.Stream[ResponseStreamEvent]:
    """Ask for a stream that is scripted by the header, as another process would."""
    usual = asdict(Reply())
    document = {name: value for name, value in asdict(reply).items() if value != usual[name]}
    return client.responses.create(
        model=MODEL, input=PROMPT, stream=True, extra_headers={FAKE_HEADER: json.dumps(document)}
    )
