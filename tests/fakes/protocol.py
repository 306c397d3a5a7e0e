"""OpenAI's wire format, as pure functions: bodies, stream events, errors, headers.

Shapes after the API reference and the types of openai-python 3.54; values are made up.
"""

from __future__ import annotations

import base64
import json
import struct
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.fakes.generation import Generation, Piece
from tests.fakes.replies import Reply

SYSTEM_FINGERPRINT = "fp_fa4e0e0000"
_ERRORS = {
    400: ("invalid_request_error", None, "Invalid request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", "unsupported_country_region_territory", "Not allowed."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    408: ("timeout", None, "Request timed out."),
    409: ("invalid_request_error", None, "Conflict."),
    422: ("invalid_request_error", None, "Unprocessable."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}


@dataclass(frozen=True, slots=True)
class BadRequestError(ValueError):
    """A request that the real API would refuse too."""

    message: str
    param: str | None = None
    status: int = 400
    code: str | None = None


def error_body(
    status: int, *, message: str | None = None, code: str | None = None, param: str | None = None
) -> dict[str, object]:
    """Return the error object of a status; what isn't given comes from a table."""
    fallback = _ERRORS[500] if status >= 500 else _ERRORS[400]
    kind, usual_code, usual_message = _ERRORS.get(status, fallback)
    error = {
        "message": message or usual_message,
        "type": "insufficient_quota" if code == "insufficient_quota" else kind,
        "param": param,
        "code": code or usual_code,
    }
    return {"error": error}


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return a status line and headers, with the ids that every answer of the real API has."""
    phrase = "OK" if status == 200 else "Error"
    fields = {
        "x-request-id": f"req_{uuid.uuid4().hex}",
        "openai-version": "2020-10-01",
        "openai-organization": "fake-org",
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode("latin-1")


def retry_headers(reply: Reply) -> dict[str, str]:
    """Return the headers of a refused request that steer the SDK's retries."""
    headers: dict[str, str] = {}
    if reply.retry_after_seconds is not None:
        headers["retry-after-ms"] = str(round(reply.retry_after_seconds * 1000))
        headers["retry-after"] = str(max(1, round(reply.retry_after_seconds)))
    if reply.should_retry is not None:
        headers["x-should-retry"] = str(reply.should_retry).lower()
    return headers


def validate_chat(request: Mapping[str, object]) -> None:
    """Refuse what the real API refuses.

    Raises:
        BadRequestError: Names the wrong parameter.
    """
    if not isinstance(request.get("model"), str):
        raise BadRequestError("you must provide a model parameter")
    if not isinstance(request.get("messages"), list) or not request["messages"]:
        raise BadRequestError("Missing required parameter: 'messages'.", "messages")
    for name in ("max_tokens", "max_completion_tokens", "n"):
        value = request.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise BadRequestError(f"Invalid type for '{name}': expected an integer.", name)
        if isinstance(value, int) and value < 1:
            raise BadRequestError(f"Invalid '{name}': expected a value >= 1.", name)
    if request.get("stream_options") is not None and not request.get("stream"):
        raise BadRequestError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )


def chat_usage(generation: Generation) -> dict[str, object]:
    """Return the usage object of a chat completion."""
    return {
        "prompt_tokens": generation.prompt_tokens,
        "completion_tokens": generation.output_tokens,
        "total_tokens": generation.prompt_tokens + generation.output_tokens,
        "prompt_tokens_details": {"cached_tokens": generation.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": generation.choices * generation.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def chat_completion(generation: Generation, reply: Reply) -> bytes:
    """Return the body of a chat completion that isn't streamed."""
    message: dict[str, object] = {
        "role": "assistant",
        "content": generation.text or (None if generation.tool_calls else ""),
        "refusal": None,
        "annotations": [],
    }
    choices: list[object] = []
    for index in range(generation.choices):
        calls = [
            {
                "id": _tool_call_id(),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in generation.tool_calls
        ]
        choices.append(
            {
                "index": index,
                "message": message | ({"tool_calls": calls} if calls else {}),
                "logprobs": None,
                "finish_reason": generation.finish_reason,
            }
        )
    body = _chat_envelope(generation, "chat.completion") | {"choices": choices}
    if not reply.omit_usage:
        body["usage"] = chat_usage(generation)
    return json.dumps(body).encode()


class ChatEvents:
    """The stream events of one chat completion, each as the JSON text of a `data:` line."""

    def __init__(self, generation: Generation, reply: Reply, *, include_usage: bool) -> None:
        self._generation = generation
        self._include_usage = include_usage and not reply.omit_usage
        self._envelope = _chat_envelope(generation, "chat.completion.chunk")
        self._prefix = json.dumps(self._envelope, ensure_ascii=False)[:-1] + ', "choices": '
        self._suffix = ', "usage": null}' if self._include_usage else "}"
        self._names = [call.name for call in generation.tool_calls]

    def opening(self) -> Iterator[str]:
        """Yield one event per choice that carries the role."""
        has_text = bool(self._generation.text) or not self._names
        delta = {"role": "assistant", "content": "" if has_text else None, "refusal": None}
        return self._for_each_choice(delta, None)

    def piece(self, piece: Piece) -> Iterator[str]:
        """Yield one event per choice with a piece of output."""
        if piece.tool_index is None:
            return self._for_each_choice({"content": piece.text}, None)
        call: dict[str, object] = {"index": piece.tool_index}
        if piece.opens:
            function = {"name": self._names[piece.tool_index], "arguments": piece.text}
            call |= {"id": _tool_call_id(), "type": "function", "function": function}
        else:
            call["function"] = {"arguments": piece.text}
        return self._for_each_choice({"tool_calls": [call]}, None)

    def closing(self) -> Iterator[str]:
        """Yield one event per choice with its finish reason, then the usage if it was asked for."""
        yield from self._for_each_choice({}, self._generation.finish_reason)
        if self._include_usage:
            usage = chat_usage(self._generation)
            yield json.dumps(self._envelope | {"choices": [], "usage": usage})

    def _for_each_choice(self, delta: Mapping[str, object], finish: str | None) -> Iterator[str]:
        for index in range(self._generation.choices):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            text = json.dumps([choice], ensure_ascii=False)
            yield f"{self._prefix}{text}{self._suffix}"


def response(generation: Generation, reply: Reply) -> bytes:
    """Return the body of a minimal Responses API answer: one message."""
    content = {"type": "output_text", "text": generation.text, "annotations": [], "logprobs": []}
    is_cut = generation.finish_reason == "length"
    body: dict[str, object] = {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if is_cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": None,
        "metadata": {},
        "model": generation.served_model,
        "output": [
            {
                "id": f"msg_{uuid.uuid4().hex}",
                "type": "message",
                "status": "incomplete" if is_cut else "completed",
                "role": "assistant",
                "content": [content],
            }
        ],
        "parallel_tool_calls": True,
        "service_tier": generation.service_tier,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }
    if not reply.omit_usage:
        body["usage"] = {
            "input_tokens": generation.prompt_tokens,
            "input_tokens_details": {"cached_tokens": generation.cached_tokens},
            "output_tokens": generation.output_tokens,
            "output_tokens_details": {"reasoning_tokens": generation.reasoning_tokens},
            "total_tokens": generation.prompt_tokens + generation.output_tokens,
        }
    return json.dumps(body).encode()


def embeddings(request: Mapping[str, object], *, prompt_tokens: int, omit_usage: bool) -> bytes:
    """Return a list of embeddings of 8 numbers (or `dimensions`), one per input."""
    given = request.get("input")
    inputs = len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1
    dimensions = request.get("dimensions")
    size = dimensions if isinstance(dimensions, int) else 8
    vector = [1.0] + [0.0] * (size - 1)
    as_base64 = request.get("encoding_format") == "base64"
    packed = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
    embedding: object = packed if as_base64 else vector
    body: dict[str, object] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": embedding}
            for index in range(inputs)
        ],
        "model": request.get("model"),
    }
    if not omit_usage:
        body["usage"] = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return json.dumps(body).encode()


def moderation(request: Mapping[str, object]) -> bytes:
    """Return a moderation that flags nothing."""
    categories = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")
    result = {
        "flagged": False,
        "categories": dict.fromkeys(categories, False),
        "category_scores": dict.fromkeys(categories, 0.0),
        "category_applied_input_types": {name: ["text"] for name in categories},
    }
    model = request.get("model") or "omni-moderation-latest"
    body = {"id": f"modr-{uuid.uuid4().hex}", "model": model, "results": [result]}
    return json.dumps(body).encode()


def models(names: list[str]) -> bytes:
    """Return the list of models."""
    data = [
        {"id": name, "object": "model", "created": 1_720_000_000, "owned_by": "fake"}
        for name in names
    ]
    return json.dumps({"object": "list", "data": data}).encode()


def _chat_envelope(generation: Generation, kind: str) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex[:29]}",
        "object": kind,
        "created": int(time.time()),
        "model": generation.served_model,
        "service_tier": generation.service_tier,
        "system_fingerprint": SYSTEM_FINGERPRINT,
    }


def _tool_call_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"
