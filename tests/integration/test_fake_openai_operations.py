"""The fake's other operations and Azure's paths, driven by the real SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI, AzureOpenAI, OpenAI
from openai.types import (
    Completion,
    CreateEmbeddingResponse,
    ModerationCreateResponse,
)
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from tests.fakes import PRICES, FakeOpenAI, Reply, ToolCall, bill_nanousd
from tests.fakes.calls import MODEL, PROMPT_TOKENS, chat, price_nanousd, stream, text_of
from tests.fakes.raw import post, post_stream

INSTRUCT = "gpt-3.5-turbo-instruct"
EMBEDDING = "text-embedding-3-small"
HELLO = "Hello! How can I help you today?"
CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello"}]}
FULL: dict[str, Any] = {
    "reasoning_tokens": 9,
    "tool_calls": [{"name": "weather", "arguments": '{"city": "Zürich"}'}],
    "prompt_tokens": 1000,
    "cached_tokens": 600,
    "cache_write_tokens": 50,
}


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def client(fake: FakeOpenAI) -> Iterator[OpenAI]:
    with OpenAI(base_url=fake.base_url, api_key="key", max_retries=0) as made:
        yield made


def instruct_nanousd(prompt_tokens: int, output_tokens: int) -> int:
    return bill_nanousd(PRICES[INSTRUCT], prompt_tokens=prompt_tokens, output_tokens=output_tokens)


# --- the wire -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [{}, FULL, {"chunked": True, "split_bytes": 5, "gzip": True}])
@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/v1/chat/completions", CHAT, ChatCompletion),
        ("/v1/completions", {"model": INSTRUCT, "prompt": "a"}, Completion),
        ("/v1/embeddings", {"model": EMBEDDING, "input": "a"}, CreateEmbeddingResponse),
        ("/v1/moderations", {"input": ["a", "b"]}, ModerationCreateResponse),
        ("/openai/v1/chat/completions", CHAT, ChatCompletion),
    ],
)
def test_a_body_fits_the_types_of_the_sdk(
    fake: FakeOpenAI, path: str, body: object, kind: type[BaseModel], reply: object
) -> None:
    kind.model_validate(post(fake, path, body, reply))


@pytest.mark.parametrize("reply", [{}, FULL])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/openai/v1/chat/completions"])
def test_events_fit_the_types_of_the_sdk(fake: FakeOpenAI, path: str, reply: object) -> None:
    asked = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    *events, done = post_stream(fake, path, asked, reply)
    assert done.data == "[DONE]"
    for event in events:
        assert event.name is None
        if event.data["model"]:  # Azure's first event doesn't fit
            ChatCompletionChunk.model_validate(event.data)
    assert events[-1].data["choices"] == []


# --- legacy completions ---------------------------------------------------------------------------


def test_a_legacy_completion_has_its_price(fake: FakeOpenAI, client: OpenAI) -> None:
    completion = client.completions.create(model=INSTRUCT, prompt="Say hello")
    assert completion.choices[0].text == HELLO
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == 3
    assert completion.usage.prompt_tokens_details is None
    assert fake.billed_nanousd == instruct_nanousd(3, 8)


def test_a_legacy_completion_stops_at_16_tokens(client: OpenAI) -> None:
    headers = {"x-fake": '{"output_tokens": 50}'}
    completion = client.completions.create(model=INSTRUCT, prompt="", extra_headers=headers)
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 16


@pytest.mark.parametrize(
    ("prompt", "prompt_tokens", "prompts"),
    [
        pytest.param("four more", 3, 1, id="a text"),
        pytest.param(["four", "more"], 2, 2, id="texts"),
        pytest.param([1, 2, 3, 4, 5], 5, 1, id="tokens"),
        pytest.param([[1, 2], [3, 4, 5]], 5, 2, id="arrays of tokens"),
    ],
)
def test_each_prompt_has_its_choices(
    fake: FakeOpenAI, client: OpenAI, prompt: Any, prompt_tokens: int, prompts: int
) -> None:
    completion = client.completions.create(model=INSTRUCT, prompt=prompt, n=2, best_of=3)
    assert len(completion.choices) == 2 * prompts
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == prompt_tokens
    assert completion.usage.completion_tokens == 3 * prompts * 8
    assert fake.billed_nanousd == instruct_nanousd(prompt_tokens, 24 * prompts)


def test_a_legacy_stream_has_usage_only_when_asked(fake: FakeOpenAI, client: OpenAI) -> None:
    plain = list(client.completions.create(model=INSTRUCT, prompt="Say hello", stream=True))
    asked = list(
        client.completions.create(
            model=INSTRUCT,
            prompt="Say hello",
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    for chunks in (plain, asked):
        assert "".join(one.choices[0].text for one in chunks if one.choices) == HELLO
    assert all("usage" not in chunk.model_fields_set for chunk in plain)
    assert plain[-1].choices[0].finish_reason == "stop"
    assert asked[-1].usage is not None
    assert asked[-1].usage.completion_tokens == 8
    assert fake.billed_nanousd == 2 * instruct_nanousd(3, 8)


def test_a_legacy_stream_can_break(fake: FakeOpenAI, client: OpenAI) -> None:
    fake.script.push(
        Reply(error_in_stream=2, error_message="sorry"), Reply(drop="mid_stream", after_chunks=1)
    )
    with pytest.raises(openai.APIError, match="sorry"):
        list(client.completions.create(model=INSTRUCT, prompt="Say hello", stream=True))
    with pytest.raises(openai.APIConnectionError):
        list(client.completions.create(model=INSTRUCT, prompt="Say hello", stream=True))
    first, second = fake.requests
    assert first.billed_nanousd == instruct_nanousd(3, 3)
    assert second.billed_nanousd == instruct_nanousd(3, 2)


# --- embeddings, moderations, structured chat -----------------------------------------------------


@pytest.mark.parametrize(
    ("given", "prompt_tokens", "vectors"),
    [
        pytest.param("four more", 3, 1, id="a text"),
        pytest.param(["four", "more"], 2, 2, id="texts"),
        pytest.param([1, 2, 3], 3, 1, id="tokens"),
        pytest.param([[1, 2], [3, 4, 5]], 5, 2, id="arrays of tokens"),
    ],
)
def test_each_input_has_its_vector(
    fake: FakeOpenAI, client: OpenAI, given: Any, prompt_tokens: int, vectors: int
) -> None:
    made = client.embeddings.create(model=EMBEDDING, input=given)
    assert [len(one.embedding) for one in made.data] == [8] * vectors
    assert made.usage.prompt_tokens == prompt_tokens
    assert fake.billed_nanousd == 20 * prompt_tokens


@pytest.mark.parametrize(
    ("given", "results"),
    [
        ("a", 1),
        (["a", "b"], 2),
        ([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "b"}}], 1),
    ],
)
def test_moderations_are_free(fake: FakeOpenAI, client: OpenAI, given: Any, results: int) -> None:
    made = client.moderations.create(input=given)
    assert len(made.results) == results
    assert made.results[0].categories.self_harm_intent is False
    assert (fake.hits, fake.billed_nanousd) == (1, 0)


def test_structured_chat_is_text_that_fits(fake: FakeOpenAI, client: OpenAI) -> None:
    class City(BaseModel):
        name: str
        people: int

    fake.script.default = Reply(text='{"name": "Zürich", "people": 400000}', split_bytes=1)
    parsed = client.chat.completions.parse(response_format=City, **CHAT)
    assert parsed.choices[0].message.parsed == City(name="Zürich", people=400_000)
    with client.chat.completions.stream(response_format=City, **CHAT) as events:
        built = events.get_final_completion()
    assert built.choices[0].message.parsed == parsed.choices[0].message.parsed
    sent = fake.requests[0].json
    assert isinstance(sent, dict)
    assert sent["response_format"]["type"] == "json_schema"


# --- Azure ----------------------------------------------------------------------------------------


@pytest.fixture
def azure(fake: FakeOpenAI) -> Iterator[AzureOpenAI]:
    with AzureOpenAI(
        azure_endpoint=fake.root_url, api_key="key", api_version="2024-10-21", max_retries=0
    ) as made:
        yield made


def test_a_deployment_stands_for_a_model(fake: FakeOpenAI, azure: AzureOpenAI) -> None:
    answer = chat(azure, model="chat-prod")
    assert answer.model == "gpt-4o-mini-2024-07-18"
    record = fake.requests[0]
    assert record.path == "/openai/deployments/chat-prod/chat/completions"
    assert record.query == "api-version=2024-10-21"
    assert record.headers["api-key"] == "key"
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8)


def test_azure_streams_begin_without_a_model(fake: FakeOpenAI, azure: AzureOpenAI) -> None:
    chunks = list(stream(azure, model="chat-prod", stream_options={"include_usage": True}))
    assert (chunks[0].model, chunks[0].choices) == ("", [])
    assert chunks[1].model == "gpt-4o-mini-2024-07-18"
    assert text_of(chunks) == HELLO
    assert chunks[-1].usage is not None
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8)


def test_other_operations_have_azure_paths(fake: FakeOpenAI, azure: AzureOpenAI) -> None:
    assert azure.embeddings.create(model="vectors", input="a").model == EMBEDDING
    assert azure.completions.create(model=INSTRUCT, prompt="a").model == INSTRUCT
    answer = azure.responses.create(model="chat-prod", input="hi")
    assert answer.model == "gpt-4o-mini-2024-07-18"
    assert [record.path for record in fake.requests] == [
        "/openai/deployments/vectors/embeddings",
        f"/openai/deployments/{INSTRUCT}/completions",
        "/openai/responses",
    ]
    assert fake.billed_nanousd == 20 + instruct_nanousd(1, 8) + price_nanousd(4, 8)


def test_a_client_may_have_its_deployment_and_its_own_token(fake: FakeOpenAI) -> None:
    async def run() -> None:
        async with AsyncAzureOpenAI(
            azure_endpoint=fake.root_url,
            azure_deployment="chat-prod",
            azure_ad_token="token",
            api_version="2024-10-21",
            max_retries=0,
        ) as client:
            answer = await client.chat.completions.create(**{**CHAT, "model": "anything"})
            assert answer.model == "gpt-4o-mini-2024-07-18"

    asyncio.run(run())
    assert fake.requests[0].headers["authorization"] == "Bearer token"


def test_azure_has_paths_like_those_of_openai(fake: FakeOpenAI) -> None:
    url = f"{fake.root_url}/openai/v1/"
    with OpenAI(base_url=url, api_key="key", max_retries=0) as client:
        assert chat(client, model="chat-prod").model == "gpt-4o-mini-2024-07-18"
        answer = client.responses.create(model="chat-prod", input="hi", stream=True)
        assert [event.type for event in answer][-1] == "response.completed"
    assert fake.requests[0].path == "/openai/v1/chat/completions"
    assert fake.billed_nanousd == price_nanousd(PROMPT_TOKENS, 8) + price_nanousd(4, 8)


def test_an_unknown_deployment_is_not_found(fake: FakeOpenAI, azure: AzureOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        chat(azure, model="nobody-knows")
    assert caught.value.code == "DeploymentNotFound"
    body = post(fake, "/openai/deployments/chat-prod/chat/completions", CHAT)
    assert body["error"]["message"] == "Resource not found"
    assert post(fake, "/openai/v1/chat/completions", CHAT, keys={})["error"]["code"] == (
        "invalid_api_key"
    )
    assert fake.billed_nanousd == 0


def test_a_test_may_name_its_deployments() -> None:
    with (
        FakeOpenAI(deployments={"mine": "o4-mini"}) as fake,
        AzureOpenAI(
            azure_endpoint=fake.root_url, api_key="key", api_version="2024-10-21"
        ) as client,
    ):
        fake.script.push(Reply(text="", tool_calls=(ToolCall(name="t"),), reasoning_tokens=4))
        answer = chat(client, model="mine")
        assert answer.model == "o4-mini-2025-04-16"
        assert answer.choices[0].finish_reason == "tool_calls"
