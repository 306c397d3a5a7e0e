"""The fake of Anthropic, driven by the real SDK: its answers, errors, breakages and bill."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message
from anthropic.types.beta import BetaMessage
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.fakes import ANTHROPIC_PRICES, FakeAnthropic, Iteration, Reply, ToolCall, bill_nanousd
from tests.fakes.anthropic_calls import (
    ASKED,
    MODEL,
    PROMPT_TOKENS,
    message,
    price_nanousd,
    stream,
    text_of,
)
from tests.fakes.raw import post
from tests.fakes.tokens import count_bytes4, messages_tokens

QUICK = 0.001
HELLO = "Hello! How can I help you today?"


@pytest.fixture
def fake() -> Iterator[FakeAnthropic]:
    with FakeAnthropic() as server:
        yield server


@pytest.fixture
def client(fake: FakeAnthropic) -> Iterator[Anthropic]:
    with Anthropic(base_url=fake.base_url, api_key="key", max_retries=0) as made:
        yield made


# --- ordinary answers -----------------------------------------------------------------------------


def test_a_message_looks_like_the_real_one(fake: FakeAnthropic, client: Anthropic) -> None:
    raw = client.messages.with_raw_response.create(**ASKED)
    answer = raw.parse()
    assert raw.headers["request-id"].startswith("req_")
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["anthropic-ratelimit-requests-limit"]
    assert answer.id.startswith("msg_")
    assert answer.model == "claude-haiku-4-5-20251001"
    assert answer.content[0].type == "text"
    assert answer.content[0].text == HELLO
    assert answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens == PROMPT_TOKENS
    assert answer.usage.output_tokens == 8
    assert answer.usage.service_tier == "standard"
    assert answer.usage.inference_geo == "not_available"
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8)


FULL = {
    "reasoning_text": "let me see",
    "reasoning_tokens": 9,
    "web_searches": 2,
    "page_visits": 1,
    "tool_calls": [{"name": "weather", "arguments": '{"city": "Zürich"}'}],
    "prompt_tokens": 1000,
    "cached_tokens": 600,
    "cache_write_tokens": 100,
    "cache_write_1h_tokens": 50,
    "iterations": [{"type": "compaction", "input_tokens": 7, "output_tokens": 3}],
}


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param({}, id="plain"),
        pytest.param(FULL, id="everything"),
        pytest.param({"text": "", "output_tokens": None}, id="empty"),
        pytest.param({"finish_reason": "refusal"}, id="refused"),
        pytest.param({"gzip": True, "chunked": True, "split_bytes": 3}, id="packed"),
    ],
)
def test_the_wire_fits_the_types_of_the_sdk(fake: FakeAnthropic, reply: dict[str, Any]) -> None:
    Message.model_validate(post(fake, "/v1/messages", ASKED, reply))
    BetaMessage.model_validate(post(fake, "/v1/messages?beta=true", ASKED, reply))
    assert [record.query for record in fake.requests] == ["", "beta=true"]


def test_usage_is_exclusive_of_caches(fake: FakeAnthropic, client: Anthropic) -> None:
    fake.script.push(
        Reply(
            prompt_tokens=1000,
            cached_tokens=600,
            cache_write_tokens=100,
            cache_write_1h_tokens=50,
            output_tokens=20,
        )
    )
    usage = message(client).usage
    assert usage.input_tokens == 250
    assert usage.cache_read_input_tokens == 600
    assert usage.cache_creation_input_tokens == 150
    assert usage.cache_creation is not None
    assert usage.cache_creation.ephemeral_5m_input_tokens == 100
    assert usage.cache_creation.ephemeral_1h_input_tokens == 50
    # 250 x 1 + 600 x 0.10 + 100 x 1.25 + 50 x 2 + 20 x 5 USD per million
    assert fake.billed_nanousd == 250_000 + 60_000 + 125_000 + 100_000 + 100_000


def test_thinking_is_output_that_is_told_apart(fake: FakeAnthropic, client: Anthropic) -> None:
    fake.script.push(Reply(reasoning_tokens=30, reasoning_text="hm", output_tokens=5))
    answer = message(client)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.usage.output_tokens == 35
    assert answer.usage.output_tokens_details is not None
    assert answer.usage.output_tokens_details.thinking_tokens == 30
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 35)


def test_output_is_held_to_the_limit(fake: FakeAnthropic, client: Anthropic) -> None:
    fake.script.push(Reply(reasoning_tokens=3, output_tokens=50))
    answer = message(client, max_tokens=10)
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens == 10


def test_searches_have_a_fee(fake: FakeAnthropic, client: Anthropic) -> None:
    fake.script.push(Reply(web_searches=3, page_visits=2))
    answer = message(client)
    assert [block.type for block in answer.content][:2] == [
        "server_tool_use",
        "web_search_tool_result",
    ]
    assert answer.usage.server_tool_use is not None
    assert answer.usage.server_tool_use.web_search_requests == 3
    assert answer.usage.server_tool_use.web_fetch_requests == 2
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8) + 3 * 10_000_000


def test_tool_calls_stop_a_message(fake: FakeAnthropic, client: Anthropic) -> None:
    call = ToolCall(name="weather", arguments='{"city": "Zürich", "days": 3}')
    fake.script.push(Reply(text="", tool_calls=(call,)))
    answer = message(client)
    assert answer.stop_reason == "tool_use"
    assert answer.content[0].type == "tool_use"
    assert answer.content[0].input == {"city": "Zürich", "days": 3}


def test_iterations_are_billed_by_their_own_model(fake: FakeAnthropic, client: Anthropic) -> None:
    fake.script.push(
        Reply(
            iterations=(
                Iteration(input_tokens=100, cached_tokens=10, output_tokens=5),
                Iteration(type="compaction", input_tokens=2_000, output_tokens=50),
                Iteration(
                    type="advisor_message", model="claude-opus-4-7", input_tokens=9, output_tokens=4
                ),
            )
        )
    )
    usage = client.beta.messages.create(**ASKED).usage
    assert usage.iterations is not None
    assert [one.type for one in usage.iterations] == [
        "message",
        "compaction",
        "advisor_message",
        "message",
    ]
    assert (usage.input_tokens, usage.output_tokens) == (100 + PROMPT_TOKENS, 5 + 8)
    assert usage.cache_read_input_tokens == 10
    own = price_nanousd(110, 5, cached_tokens=10) + price_nanousd(PROMPT_TOKENS, 8)
    compaction = price_nanousd(2_000, 50)
    advisor = bill_nanousd(ANTHROPIC_PRICES["claude-opus-4-7"], prompt_tokens=9, output_tokens=4)
    assert fake.billed_nanousd == own + compaction + advisor


def test_where_and_how_fast_it_ran_is_told(fake: FakeAnthropic, client: Anthropic) -> None:
    fake.script.push(Reply(service_tier="priority"), Reply(inference_geo="us"))
    assert message(client).usage.service_tier == "priority"
    usage = message(client, model="claude-opus-4-7").usage
    assert usage.inference_geo == "us"
    beta = client.beta.messages.create(speed="fast", inference_geo="global", **ASKED)
    assert (beta.usage.speed, beta.usage.inference_geo) == ("fast", "global")


def test_a_variant_has_a_price_of_its_own_or_none(fake: FakeAnthropic, client: Anthropic) -> None:
    message(client, model="claude-opus-4-7", inference_geo="us")
    at_home = bill_nanousd(
        ANTHROPIC_PRICES["claude-opus-4-7@us"], prompt_tokens=PROMPT_TOKENS, output_tokens=8
    )
    assert fake.billed_nanousd == at_home
    message(client, inference_geo="us")  # without a surcharge for a model of before 2026
    assert fake.billed_nanousd == at_home + price_nanousd(PROMPT_TOKENS, 8)
    client.beta.messages.create(speed="fast", **ASKED)
    assert fake.stats()["unpriced_requests"] == 1


def test_structured_output_is_text_that_fits(fake: FakeAnthropic, client: Anthropic) -> None:
    class City(BaseModel):
        name: str
        people: int

    fake.script.default = Reply(text='{"name": "Zürich", "people": 400000}')
    parsed = client.messages.parse(output_format=City, **ASKED)
    assert parsed.parsed_output == City(name="Zürich", people=400_000)
    with client.messages.stream(output_format=City, **ASKED) as events:
        assert events.get_final_message().parsed_output == parsed.parsed_output
    sent = fake.requests[0].json
    assert isinstance(sent, dict)
    assert sent["output_config"]["format"]["type"] == "json_schema"


def test_counting_tokens_is_free(fake: FakeAnthropic, client: Anthropic) -> None:
    asked = {"model": MODEL, "messages": ASKED["messages"]}
    assert client.messages.count_tokens(**asked).input_tokens == PROMPT_TOKENS
    assert (fake.hits, fake.billed_nanousd) == (1, 0)
    assert [one.id for one in client.models.list()] == [
        "claude-haiku-4-5",
        "claude-sonnet-5-5",
        "claude-opus-4-7",
    ]
    assert fake.stats()["other_requests"] == 1


def test_blocks_tools_and_a_system_prompt_count(client: Anthropic) -> None:
    plain = message(client).usage.input_tokens
    tool = {"name": "weather", "input_schema": {"type": "object"}}
    asked = [{"type": "text", "text": "Say hello"}]
    result = [
        {"type": "tool_result", "tool_use_id": "x", "content": [{"type": "text", "text": "four"}]}
    ]
    usage = message(
        client,
        system=[{"type": "text", "text": "be kind!"}],
        tools=[tool],
        messages=[{"role": "user", "content": asked}, {"role": "user", "content": result}],
    ).usage
    assert usage.input_tokens == plain + 2 + 14 + (3 + 1 + 1)


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"x-api-key": "key", "anthropic-version": "2023-06-01"}, "message"),
        ({"authorization": "Bearer key", "anthropic-version": "2026-10-21"}, "message"),
        ({"anthropic-version": "2026-10-21"}, "authentication_error"),
        ({"x-api-key": "key"}, "invalid_request_error"),
    ],
)
def test_a_key_goes_either_way_and_a_version_with_it(
    fake: FakeAnthropic, keys: dict[str, str], kind: str
) -> None:
    body = post(fake, "/v1/messages", ASKED, keys=keys)
    assert body.get("error", body)["type"] == kind


# --- errors and retries ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "name"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (413, anthropic.APIStatusError, "request_too_large"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.APIStatusError, "overloaded_error"),
    ],
)
def test_a_status_becomes_the_sdk_exception(
    fake: FakeAnthropic,
    client: Anthropic,
    status: int,
    kind: type[anthropic.APIStatusError],
    name: str,
) -> None:
    with pytest.raises(kind) as caught:
        message(client, fake_reply={"status": status, "error_message": "no"})
    assert caught.value.status_code == status
    body = caught.value.body
    assert isinstance(body, dict)
    assert body["type"] == "error"
    assert body["error"] == {"type": name, "message": "no"}
    assert body["request_id"] == caught.value.response.headers["request-id"]
    assert (fake.hits, fake.completed, fake.billed_nanousd) == (1, 1, 0)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"messages": []}, id="no messages"),
        pytest.param({"max_tokens": 0}, id="no output"),
        pytest.param({"fake_reply": {"no_such_field": 1}}, id="a misspelt script"),
    ],
)
def test_what_the_real_one_refuses_is_refused(
    fake: FakeAnthropic, client: Anthropic, options: dict[str, Any]
) -> None:
    with pytest.raises(anthropic.BadRequestError):
        message(client, **options)
    assert (fake.hits, fake.billed_nanousd, fake.in_flight) == (1, 0, 0)


def test_retries_are_hits_and_only_success_is_billed(
    fake: FakeAnthropic, client: Anthropic
) -> None:
    fake.script.push(
        Reply(status=529, retry_after_seconds=QUICK),
        Reply(status=400, should_retry=True, retry_after_seconds=QUICK),
    )
    message(client.with_options(max_retries=2))
    assert [record.status for record in fake.requests] == [529, 400, 200]
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8)


def test_no_retry_where_the_provider_says_so(fake: FakeAnthropic, client: Anthropic) -> None:
    fake.script.push(Reply(status=500, should_retry=False))
    with pytest.raises(anthropic.InternalServerError):
        message(client.with_options(max_retries=2))
    assert fake.hits == 1


@pytest.mark.parametrize("drop", ["before_headers", "after_headers", "mid_body"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_dropped_answer_is_an_error_and_billed(
    fake: FakeAnthropic, client: Anthropic, drop: str, chunked: bool
) -> None:
    with pytest.raises(anthropic.APIConnectionError):
        message(client, fake_reply={"drop": drop, "close_with": "fin", "chunked": chunked})
    assert (fake.hits, fake.completed) == (1, 0)
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8)


def test_a_client_time_out_is_a_disconnect_and_billed(
    fake: FakeAnthropic, client: Anthropic
) -> None:
    with pytest.raises(anthropic.APITimeoutError):
        message(client, fake_reply={"latency_seconds": 30}, timeout=0.05)
    assert fake.wait_idle()
    assert fake.disconnected == 1
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8)


# --- many at once ---------------------------------------------------------------------------------


def test_money_is_exact_under_16_threads(fake: FakeAnthropic, client: Anthropic) -> None:
    def work(number: int) -> int:
        reply = {"output_tokens": number % 7, "cached_tokens": number % 3}
        if number % 2:
            used = message(client, fake_reply=reply).usage
            output_tokens = used.output_tokens
        else:
            *_, delta, _ = stream(client, fake_reply=reply)
            assert delta.type == "message_delta"
            output_tokens = delta.usage.output_tokens
        return price_nanousd(PROMPT_TOKENS, output_tokens, cached_tokens=number % 3)

    with ThreadPoolExecutor(16) as pool:
        expected_nanousd = sum(pool.map(work, range(160)))
    assert fake.hits == fake.completed == 160
    assert fake.billed_nanousd == expected_nanousd


def test_100_tasks_at_once(fake: FakeAnthropic) -> None:
    async def run() -> None:
        async with AsyncAnthropic(base_url=fake.base_url, api_key="key", max_retries=0) as client:

            async def ask(number: int) -> None:
                if number % 2:
                    await client.messages.create(**ASKED)
                    return
                async with client.messages.stream(**ASKED) as events:
                    assert await events.get_final_text() == HELLO

            await asyncio.gather(*map(ask, range(100)))

    asyncio.run(run())
    assert fake.completed == 100
    assert fake.billed_nanousd == 100 * price_nanousd(PROMPT_TOKENS, 8)


def test_the_program_serves_too() -> None:
    command = [sys.executable, "-m", "tests.fakes.anthropic_server", "--until-eof", "--text", "hi"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        base_url = process.stdout.readline().decode().strip()
        with Anthropic(base_url=base_url, api_key="key") as client:
            assert text_of(stream(client)) == "hi"
        process.stdin.close()
        assert process.wait(timeout=5) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_script_from_afar_may_hold_iterations(fake: FakeAnthropic) -> None:
    script = {"queue": [{"iterations": [{"type": "compaction", "input_tokens": 5}]}]}
    post(fake, "/_fake/script", script)
    usage = post(fake, "/v1/messages", ASKED)["usage"]
    assert [one["type"] for one in usage["iterations"]] == ["compaction", "message"]
    json.dumps(fake.stats())


@settings(deadline=None, database=None, max_examples=50)
@given(text=st.text(max_size=80))
def test_a_fake_never_counts_more_than_the_bytes_of_a_request(text: str) -> None:
    block = {"type": "tool_result", "content": [{"type": "text", "text": text}]}
    request = {
        "system": text,
        "messages": [{"role": "user", "content": text}, {"role": "user", "content": [block]}],
        "tools": [{"name": text}],
    }
    tokens = messages_tokens(request, count_bytes4)
    assert tokens <= len(json.dumps(request, ensure_ascii=False).encode("utf-8", "surrogatepass"))
