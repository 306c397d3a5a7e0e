"""The fake provider, driven by the real SDK: its protocol, its errors and its breakages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk

from tests.fakes import FakeOpenAI, Reply, ToolCall, refusing_base_url, silent_base_url
from tests.fakes.calls import MODEL, PROMPT_TOKENS, chat, price_nanousd, stream, text_of

QUICK = 0.001


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def client(fake: FakeOpenAI) -> Iterator[OpenAI]:
    with OpenAI(base_url=fake.base_url, api_key="key", max_retries=0) as made:
        yield made


# --- ordinary answers -----------------------------------------------------------------------------


def test_a_completion_looks_like_the_real_one(fake: FakeOpenAI, client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "Say hello"}]
    )
    completion = raw.parse()
    assert raw.headers["x-request-id"].startswith("req_")
    assert int(raw.headers["openai-processing-ms"]) >= 1
    assert raw.headers["content-type"] == "application/json"
    assert completion.id.startswith("chatcmpl-")
    assert completion.model == "gpt-4o-mini-2024-07-18"
    assert completion.service_tier == "default"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.choices[0].message.content == "Hello! How can I help you today?"
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == PROMPT_TOKENS
    assert completion.usage.completion_tokens == 8
    assert completion.usage.total_tokens == PROMPT_TOKENS + 8
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.completion_tokens_details is not None
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8)


def test_cached_and_reasoning_tokens_are_reported_and_billed(
    fake: FakeOpenAI, client: OpenAI
) -> None:
    fake.script.push(Reply(output_tokens=5, reasoning_tokens=7, cached_tokens=4))
    usage = chat(client, n=2).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 4
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 14
    assert usage.completion_tokens == 24
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 24, cached_tokens=4)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_output_is_held_to_the_limit(fake: FakeOpenAI, client: OpenAI, name: str) -> None:
    fake.script.default = Reply(output_tokens=50, reasoning_tokens=3)
    limits: dict[str, int] = {name: 10}
    completion = chat(client, **limits)
    chunks = list(stream(client, stream_options={"include_usage": True}, **limits))
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 10
    assert completion.choices[0].finish_reason == "length"
    assert text_of(chunks) == completion.choices[0].message.content
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 10


def test_tool_calls_come_whole_and_in_pieces(fake: FakeOpenAI, client: OpenAI) -> None:
    arguments = '{"city": "Zürich", "days": 3}'
    fake.script.default = Reply(
        text="", tool_calls=(ToolCall(name="weather", arguments=arguments),)
    )
    completion = chat(client)
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.arguments == arguments
    assert completion.choices[0].finish_reason == "tool_calls"
    deltas = [chunk.choices[0].delta.tool_calls or [] for chunk in stream(client)]
    functions = [call.function for calls in deltas for call in calls if call.function]
    assert "".join(function.arguments or "" for function in functions) == arguments
    assert [function.name for function in functions if function.name] == ["weather"]


def test_a_real_tokenizer_counts_on_request() -> None:
    server = FakeOpenAI(Reply(output_tokens=33), tokenizer="o200k")
    with server as fake, OpenAI(base_url=fake.base_url, api_key="key") as client:
        usage = chat(client).usage
        cut = list(stream(client, max_tokens=20, stream_options={"include_usage": True}))[-1].usage
    assert usage is not None
    assert cut is not None
    assert usage.prompt_tokens == 3 + 3 + 1 + 2
    assert usage.completion_tokens == 33
    assert cut.completion_tokens == 20


def test_other_billable_paths_answer_and_count(fake: FakeOpenAI, client: OpenAI) -> None:
    vectors = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert [len(item.embedding) for item in vectors.data] == [8, 8]
    assert not client.moderations.create(input="a kind word").results[0].flagged
    response = client.responses.create(model=MODEL, input="hi", max_output_tokens=3)
    assert response.usage is not None
    assert response.usage.output_tokens == 3
    assert MODEL in [model.id for model in client.models.list()]
    stats = fake.stats()
    assert stats["hits"] == 3
    assert stats["other_requests"] == 1
    assert fake.billed_nanousd == vectors.usage.prompt_tokens * 20 + price_nanousd(4, 3)


def test_an_unknown_model_is_served_and_counted_as_unpriced(
    fake: FakeOpenAI, client: OpenAI
) -> None:
    assert chat(client, model="nobody-knows").model == "nobody-knows"
    assert fake.stats()["unpriced_requests"] == 1
    assert fake.billed_nanousd == 0


# --- streams --------------------------------------------------------------------------------------


def test_a_stream_has_usage_only_when_asked(fake: FakeOpenAI, client: OpenAI) -> None:
    plain = list(stream(client))
    asked = list(stream(client, stream_options={"include_usage": True}))
    assert all("usage" not in chunk.model_fields_set for chunk in plain)
    assert plain[-1].choices[0].finish_reason == "stop"
    assert all("usage" in chunk.model_fields_set for chunk in asked)
    assert [chunk.usage for chunk in asked[:-1]] == [None] * (len(asked) - 1)
    assert asked[-1].choices == []
    assert asked[-1].usage is not None
    assert asked[-1].usage.completion_tokens == 8
    assert text_of(plain) == text_of(asked) == "Hello! How can I help you today?"
    assert fake.billed_nanousd == 2 * price_nanousd(PROMPT_TOKENS, 8)
    assert fake.completed == 2


def test_a_stream_of_two_choices_has_two_of_each(fake: FakeOpenAI, client: OpenAI) -> None:
    fake.script.push(Reply(chunks=("a", "b")))
    chunks = list(stream(client, n=2))
    assert [chunk.choices[0].index for chunk in chunks] == [0, 1] * 4
    assert text_of(chunks) == "aabb"


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
def test_a_stream_survives_its_packing(client: OpenAI, shape: dict[str, object]) -> None:
    chunks = stream(client, fake_reply={"chunks": ["Grüße, ", "世界", " 👋🏽"], **shape})
    assert text_of(list(chunks)) == "Grüße, 世界 👋🏽"


def test_a_stream_cut_by_the_client_bills_what_was_generated(
    fake: FakeOpenAI, client: OpenAI
) -> None:
    fake.script.push(Reply(output_tokens=100, reasoning_tokens=5, stall_after_chunks=3))
    with stream(client) as chunks:
        for number, _ in enumerate(chunks):
            if number == 3:
                break
        assert fake.in_flight == 1
    assert fake.wait_idle()
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 5 + 3)
    assert fake.disconnected == 1
    assert fake.completed == 0
    assert fake.requests[0].is_client_disconnected


def test_a_provider_error_ends_a_stream(fake: FakeOpenAI, client: OpenAI) -> None:
    fake.script.push(Reply(output_tokens=10, error_in_stream=2, error_message="sorry"))
    seen: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError, match="sorry"):
        seen.extend(stream(client))
    assert text_of(seen) == " the and"
    assert fake.requests[0].billed_nanousd == price_nanousd(PROMPT_TOKENS, 2)
    assert fake.completed == 0


# --- errors and retries ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_a_status_becomes_the_sdk_exception(
    fake: FakeOpenAI, client: OpenAI, status: int, kind: type[openai.APIStatusError]
) -> None:
    with pytest.raises(kind) as caught:
        chat(client, fake_reply={"status": status, "error_code": "because"})
    assert caught.value.status_code == status
    assert caught.value.code == "because"
    assert (fake.hits, fake.completed, fake.billed_nanousd) == (1, 1, 0)


def test_retries_are_hits_and_only_success_is_billed(fake: FakeOpenAI, client: OpenAI) -> None:
    fake.script.push(
        Reply(status=429, retry_after_seconds=QUICK), Reply(status=500, retry_after_seconds=QUICK)
    )
    chat(client.with_options(max_retries=2))
    assert fake.hits == 3
    assert [record.status for record in fake.requests] == [429, 500, 200]
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8)


def test_a_header_scripts_each_attempt(fake: FakeOpenAI, client: OpenAI) -> None:
    attempts = [{"status": 503, "retry_after_seconds": QUICK}, {"text": "at last"}]
    completion = chat(client.with_options(max_retries=5), fake_reply=attempts)
    assert completion.choices[0].message.content == "at last"
    assert fake.hits == 2


def test_a_failed_request_can_be_billed(fake: FakeOpenAI, client: OpenAI) -> None:
    with pytest.raises(openai.InternalServerError):
        chat(client, fake_reply={"status": 500, "billing": "everything"})
    chat(client, fake_reply={"billing": "nothing"})
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"messages": []}, id="no messages"),
        pytest.param({"max_tokens": 0}, id="no output"),
        pytest.param({"stream_options": {"include_usage": True}}, id="options without stream"),
        pytest.param({"fake_reply": {"no_such_field": 1}}, id="a misspelt script"),
    ],
)
def test_what_the_real_one_refuses_is_refused(
    fake: FakeOpenAI, client: OpenAI, options: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError):
        chat(client, **options)
    assert (fake.hits, fake.billed_nanousd, fake.in_flight) == (1, 0, 0)


def test_malformed_json_reaches_the_sdk(fake: FakeOpenAI, client: OpenAI) -> None:
    with pytest.raises((openai.APIError, json.JSONDecodeError)):
        chat(client, fake_reply={"malformed_json": True})
    with pytest.raises((openai.APIError, json.JSONDecodeError)):
        list(stream(client, fake_reply={"malformed_json": True}))


def test_usage_can_be_omitted_and_gzip_is_read(fake: FakeOpenAI, client: OpenAI) -> None:
    completion = chat(client, fake_reply={"omit_usage": True, "gzip": True, "text": "é" * 500})
    assert completion.usage is None
    assert completion.choices[0].message.content == "é" * 500
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 250)


# --- broken connections ---------------------------------------------------------------------------


@pytest.mark.parametrize("close_with", ["rst", "fin"])
@pytest.mark.parametrize("drop", ["before_headers", "after_headers", "mid_body"])
def test_a_dropped_answer_is_a_connection_error_and_billed(
    fake: FakeOpenAI, client: OpenAI, drop: str, close_with: str
) -> None:
    with pytest.raises(openai.APIConnectionError):
        chat(client, fake_reply={"drop": drop, "close_with": close_with})
    assert (fake.hits, fake.completed) == (1, 0)
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8)
    assert fake.disconnected == 0


@pytest.mark.parametrize("close_with", ["rst", "fin"])
def test_a_dropped_stream_delivers_its_pieces_first(
    fake: FakeOpenAI, client: OpenAI, close_with: str
) -> None:
    reply = {"drop": "mid_stream", "after_chunks": 2, "close_with": close_with}
    seen: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIConnectionError):
        seen.extend(stream(client, fake_reply=reply))
    assert text_of(seen) == "Hello! How"
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 3)


def test_a_drop_is_retried_and_billed_twice(
    fake: FakeOpenAI, client: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", QUICK)
    fake.script.push(Reply(drop="before_headers"))
    chat(client.with_options(max_retries=1))
    assert fake.hits == 2
    assert fake.billed_nanousd == 2 * price_nanousd(PROMPT_TOKENS, 8)


def test_a_client_time_out_is_a_disconnect_and_billed(fake: FakeOpenAI, client: OpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        chat(client, fake_reply={"latency_seconds": 30}, timeout=0.05)
    assert fake.wait_idle()
    assert fake.disconnected == 1
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8)


def test_a_stalled_stream_times_out(fake: FakeOpenAI, client: OpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        list(stream(client, fake_reply={"stall_after_chunks": 1}, timeout=0.05))
    assert fake.wait_idle()
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 2)


def test_ports_that_refuse_and_ports_that_are_silent() -> None:
    with (
        refusing_base_url() as url,
        OpenAI(base_url=url, api_key="key", max_retries=0) as client,
        pytest.raises(openai.APIConnectionError) as caught,
    ):
        chat(client)
    assert not isinstance(caught.value, openai.APITimeoutError)
    with (
        silent_base_url() as url,
        OpenAI(base_url=url, api_key="key", max_retries=0, timeout=0.05) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        chat(client)


def test_closing_ends_what_is_in_flight() -> None:
    with (
        FakeOpenAI(Reply(latency_seconds=60)) as fake,
        ThreadPoolExecutor(1) as pool,
        OpenAI(base_url=fake.base_url, api_key="key", max_retries=0) as client,
    ):
        future = pool.submit(chat, client)
        while not fake.in_flight:
            pass
        fake.close()
        with pytest.raises(openai.APIConnectionError):
            future.result(timeout=5)
        assert fake.in_flight == 0
