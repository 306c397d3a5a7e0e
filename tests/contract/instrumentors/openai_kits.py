"""OpenAI's surfaces."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import openai
from openai.resources.chat.completions import Completions
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from tests.contract.instrumentors.kit import Helper, Kit, Other, Parse, Streams
from tests.fakes import FakeOpenAI
from tollspan.instrumentation.openai import OPENAI

PROMPT = "Tell me a story about a fox, a dog and a farmer."
MESSAGES = [{"role": "user", "content": PROMPT}]
CLIENTS = (openai.OpenAI, openai.AsyncOpenAI)
KINDS = (openai.Stream, openai.AsyncStream)
# Until 2025 the SDK let the transport's own exceptions through in mid-stream.
WRAPS = "APIConnectionError" in inspect.getsource(importlib.import_module("openai._streaming"))
# A shape that nobody sends: the SDK finds it when it turns the body into JSON.
OBJECT: Any = object()
# Where the SDK has its helpers: until 2025 they were in beta.
HELPING = "chat.completions" if hasattr(Completions, "stream") else "beta.chat.completions"


def _address(root_url: str) -> dict[str, Any]:
    return {"base_url": f"{root_url}/v1"}


def _azure_address(root_url: str) -> dict[str, Any]:
    return {"azure_endpoint": root_url, "api_version": "2024-10-21"}


def _delta(chunk: Any) -> str:
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def _written(chunk: Any) -> str:
    return str(chunk.choices[0].text) if chunk.choices else ""


def _said(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def _parsed(answer: Any) -> object:
    return answer.choices[0].message.parsed


def _event_text(event: Any) -> str:
    return event.delta if event.type == "response.output_text.delta" else ""


def _chat_event_text(event: Any) -> str:
    return event.delta if event.type == "content.delta" else ""


def _response_parsed(answer: Any) -> object:
    return answer.output_parsed


def _response_text(answer: Any) -> str:
    return str(answer.output_text)


_CHAT: dict[str, Any] = {
    "sdk": OPENAI,
    "package": openai,
    "fake": FakeOpenAI,
    "resource": "chat.completions",
    "asked": {"model": "gpt-4o-mini", "messages": MESSAGES, "max_completion_tokens": 200},
    "unsendable": {"messages": [{"role": "user", "content": OBJECT}]},
    "invalid": {"finish_reason": "unheard of"},
    "most_output": 200,
    "answer": ChatCompletion,
    "text": _said,
    "operation": "chat",
    "model": "gpt-4o-mini",
    "served_model": "gpt-4o-mini-2024-07-18",
    "attributes": {"openai.response.service_tier": str},
    "streams": Streams(
        kinds=KINDS,
        piece=_delta,
        thinking={"call": {"model": "o4-mini"}},
        wraps_transport_errors=WRAPS,
    ),
    "helper": Helper(
        final="get_final_completion", final_text=_said, delta=_chat_event_text, resource=HELPING
    ),
    "parse": Parse(schema="response_format", parsed=_parsed, resource=HELPING),
}

OTHERS = (
    Other(
        name="official",
        module="opentelemetry.instrumentation.genai.openai",
        kind="OpenAIInstrumentor",
        scope="opentelemetry.instrumentation.genai.openai",
    ),
    Other(
        name="openllmetry",
        module="opentelemetry.instrumentation.openai",
        kind="OpenAIInstrumentor",
        scope="opentelemetry.instrumentation.openai.v1",
    ),
    Other(
        name="openinference",
        module="openinference.instrumentation.openai",
        kind="OpenAIInstrumentor",
        scope="openinference.instrumentation.openai",
        replaces_funnel=True,
    ),
)

CHAT = Kit(
    name="openai chat",
    clients=CLIENTS,
    address=_address,
    provider="openai",
    stands_for_others=True,
    others=OTHERS,
    **_CHAT,
)

AZURE = Kit(
    name="azure chat",
    clients=(openai.AzureOpenAI, openai.AsyncAzureOpenAI),
    address=_azure_address,
    provider="azure.ai.openai",
    **_CHAT,
)

RESPONSES = Kit(
    name="openai responses",
    sdk=OPENAI,
    package=openai,
    fake=FakeOpenAI,
    clients=CLIENTS,
    address=_address,
    resource="responses",
    asked={"model": "gpt-4o-mini", "input": PROMPT, "max_output_tokens": 200},
    unsendable={"input": [{"role": "user", "content": OBJECT}]},
    invalid=None,
    most_output=200,
    answer=Response,
    text=_response_text,
    provider="openai",
    operation="chat",
    model="gpt-4o-mini",
    served_model="gpt-4o-mini-2024-07-18",
    failed={"finish_reason": "failed"},
    stands_for_others=True,
    attributes={"openai.response.service_tier": str},
    streams=Streams(
        kinds=KINDS,
        piece=_event_text,
        says_usage_unasked=True,
        thinking={"call": {"model": "o4-mini"}},
        event_error="server_error",
        wraps_transport_errors=WRAPS,
    ),
    helper=Helper(final="get_final_response", final_text=_response_text, delta=_event_text),
    parse=Parse(schema="text_format", parsed=_response_parsed),
)

COMPLETIONS = Kit(
    name="openai completions",
    sdk=OPENAI,
    package=openai,
    fake=FakeOpenAI,
    clients=CLIENTS,
    address=_address,
    resource="completions",
    asked={"model": "gpt-3.5-turbo-instruct", "prompt": PROMPT, "max_tokens": 200},
    unsendable={"prompt": OBJECT},
    invalid={"finish_reason": "unheard of"},
    most_output=200,
    answer=Completion,
    text=_written,
    provider="openai",
    operation="text_completion",
    model="gpt-3.5-turbo-instruct",
    served_model="gpt-3.5-turbo-instruct",
    streams=Streams(kinds=KINDS, piece=_written, wraps_transport_errors=WRAPS),
)

EMBEDDINGS = Kit(
    name="openai embeddings",
    sdk=OPENAI,
    package=openai,
    fake=FakeOpenAI,
    clients=CLIENTS,
    address=_address,
    resource="embeddings",
    asked={"model": "text-embedding-3-small", "input": PROMPT},
    unsendable={"input": OBJECT},
    invalid=None,
    most_output=0,
    answer=CreateEmbeddingResponse,
    text=None,
    provider="openai",
    operation="embeddings",
    model="text-embedding-3-small",
    served_model="text-embedding-3-small",
)

OPENAI_KITS = (CHAT, AZURE, RESPONSES, COMPLETIONS, EMBEDDINGS)
