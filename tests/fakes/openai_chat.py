"""OpenAI's chat and legacy completions, as pure functions from a request to its answer.

Shapes after the API reference and the types of openai-python 3.54; values are made up.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping

from tests.fakes import tokens
from tests.fakes.books import Charge
from tests.fakes.dialect import Answer, RefusedError, SseEvent
from tests.fakes.generation import Ask, Generation, Piece, generate
from tests.fakes.openai_errors import error_object
from tests.fakes.replies import Reply
from tests.fakes.values import mapping, positive_int, sequence

SYSTEM_FINGERPRINT = "fp_fa4e0e0000"
DONE = SseEvent("[DONE]")
_COMPLETION_LIMIT = 16
_PLAIN_TIERS = {"default", "scale"}


def chat(
    request: Mapping[str, object], reply: Reply, count: tokens.Count, *, is_azure: bool = False
) -> Answer:
    """Answer `POST /v1/chat/completions`."""
    _validate_chat(request)
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    choices = positive_int(request.get("n")) or 1
    ask = Ask(
        model=str(request["model"]),
        prompt_tokens=tokens.prompt_tokens(request, count),
        max_output_tokens=positive_int(limit),
        choices=choices,
        sampled=choices,
        is_streamed=bool(request.get("stream")),
        service_tier=asked_tier(request),
    )
    made = generate(ask, reply, count)
    charges = (charge_of(made),)
    if not ask.is_streamed:
        return Answer(charges=charges, body=_completion(made, reply))
    events = ChatEvents(made, reply, include_usage=_includes_usage(request), is_azure=is_azure)
    return Answer(charges=charges, generation=made, events=events)


def completions(request: Mapping[str, object], reply: Reply, count: tokens.Count) -> Answer:
    """Answer `POST /v1/completions`: one prompt or many, as texts or token arrays."""
    validate_model(request)
    validate_counts(request, "max_tokens", "n", "best_of")
    _validate_stream_options(request)
    prompts = _prompts(request.get("prompt"))
    choices = positive_int(request.get("n")) or 1
    sampled = max(choices, positive_int(request.get("best_of")) or 1)
    ask = Ask(
        model=str(request["model"]),
        prompt_tokens=sum(tokens.input_tokens(prompt, count) for prompt in prompts),
        max_output_tokens=positive_int(request.get("max_tokens")) or _COMPLETION_LIMIT,
        choices=choices * len(prompts),
        sampled=sampled * len(prompts),
        is_streamed=bool(request.get("stream")),
        has_tools=False,
    )
    made = generate(ask, reply, count)
    charges = (charge_of(made),)
    if not ask.is_streamed:
        return Answer(charges=charges, body=_text_completion(made, reply))
    events = TextEvents(made, reply, include_usage=_includes_usage(request))
    return Answer(charges=charges, generation=made, events=events)


def charge_of(generation: Generation, **units: int) -> Charge:
    """Return what a generation costs, in the service tier that it ran in."""
    tier = generation.service_tier
    variants = () if tier in _PLAIN_TIERS else (tier,)
    return Charge(generation.ask.model, generation.consumed(**units), variants)


def asked_tier(request: Mapping[str, object]) -> str:
    """Return the service tier that a request runs in."""
    tier = request.get("service_tier")
    return tier if isinstance(tier, str) and tier != "auto" else "default"


def validate_model(request: Mapping[str, object]) -> None:
    """Refuse a request that names no model."""
    if not isinstance(request.get("model"), str):
        raise RefusedError("you must provide a model parameter")


def validate_counts(request: Mapping[str, object], *names: str) -> None:
    """Refuse a request in which one of these is no integer from 1 up."""
    for name in names:
        value = request.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise RefusedError(f"Invalid type for '{name}': expected an integer.", name)
        if isinstance(value, int) and value < 1:
            raise RefusedError(f"Invalid '{name}': expected a value >= 1.", name)


def _validate_chat(request: Mapping[str, object]) -> None:
    validate_model(request)
    if not sequence(request.get("messages")):
        raise RefusedError("Missing required parameter: 'messages'.", "messages")
    validate_counts(request, "max_tokens", "max_completion_tokens", "n")
    _validate_stream_options(request)


def _validate_stream_options(request: Mapping[str, object]) -> None:
    if request.get("stream_options") is not None and not request.get("stream"):
        raise RefusedError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )


def _includes_usage(request: Mapping[str, object]) -> bool:
    return mapping(request.get("stream_options")).get("include_usage") is True


def _prompts(given: object) -> list[object]:
    """Return the prompts of a legacy completion: texts, or lists of tokens."""
    if isinstance(given, list) and given and not isinstance(given[0], int):
        return list(sequence(given))
    return ["<|endoftext|>" if given is None else given]


def _usage(generation: Generation) -> dict[str, object]:
    details = {"cached_tokens": generation.cached_tokens, "audio_tokens": 0}
    if generation.cache_write_tokens:
        details["cache_write_tokens"] = generation.cache_write_tokens
    return {
        "prompt_tokens": generation.prompt_tokens,
        "completion_tokens": generation.output_tokens,
        "total_tokens": generation.prompt_tokens + generation.output_tokens,
        "prompt_tokens_details": details,
        "completion_tokens_details": {
            "reasoning_tokens": generation.choices * generation.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _text_usage(generation: Generation) -> dict[str, object]:
    """Return the usage of a legacy completion, which has no details."""
    usage = _usage(generation)
    return {name: usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}


def _completion(generation: Generation, reply: Reply) -> bytes:
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
        body["usage"] = _usage(generation)
    return json.dumps(body).encode()


def _text_completion(generation: Generation, reply: Reply) -> bytes:
    choices = [
        _text_choice(index, generation.text, generation.finish_reason)
        for index in range(generation.choices)
    ]
    body = _text_envelope(generation) | {"choices": choices}
    if not reply.omit_usage:
        body["usage"] = _text_usage(generation)
    return json.dumps(body).encode()


class ChatEvents:
    """The stream events of one chat completion.

    Azure's begin with one that has no choice and no model, but the verdicts on the prompt.
    """

    def __init__(
        self, generation: Generation, reply: Reply, *, include_usage: bool, is_azure: bool = False
    ) -> None:
        self._generation = generation
        self._is_azure = is_azure
        self._include_usage = include_usage and not reply.omit_usage
        self._envelope = _chat_envelope(generation, "chat.completion.chunk")
        self._prefix = json.dumps(self._envelope, ensure_ascii=False)[:-1] + ', "choices": '
        self._suffix = ', "usage": null}' if self._include_usage else "}"
        self._names = [call.name for call in generation.tool_calls]

    def opening(self) -> Iterator[SseEvent]:
        """Yield one event per choice that carries the role."""
        if self._is_azure:
            yield SseEvent(json.dumps(_AZURE_OPENING))
        has_text = bool(self._generation.text) or not self._names
        delta = {"role": "assistant", "content": "" if has_text else None, "refusal": None}
        yield from self._for_each_choice(delta, None)

    def piece(self, piece: Piece) -> Iterator[SseEvent]:
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

    def closing(self) -> Iterator[SseEvent]:
        """Yield one event per choice with its finish reason, then the usage if it was asked for."""
        yield from self._for_each_choice({}, self._generation.finish_reason)
        if self._include_usage:
            usage = _usage(self._generation)
            yield SseEvent(json.dumps(self._envelope | {"choices": [], "usage": usage}))
        yield DONE

    def failure(self, reply: Reply) -> Iterator[SseEvent]:
        """Yield the error that ends a broken stream."""
        yield _failure(reply)

    def _for_each_choice(
        self, delta: Mapping[str, object], finish: str | None
    ) -> Iterator[SseEvent]:
        for index in range(self._generation.choices):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            text = json.dumps([choice], ensure_ascii=False)
            yield SseEvent(f"{self._prefix}{text}{self._suffix}")


class TextEvents:
    """The stream events of one legacy completion."""

    def __init__(self, generation: Generation, reply: Reply, *, include_usage: bool) -> None:
        self._generation = generation
        self._include_usage = include_usage and not reply.omit_usage
        self._envelope = _text_envelope(generation)

    def opening(self) -> Iterator[SseEvent]:
        """Yield nothing: the first event has the first piece."""
        return iter(())

    def piece(self, piece: Piece) -> Iterator[SseEvent]:
        """Yield one event per choice with a piece of output."""
        return self._for_each_choice(piece.text, None)

    def closing(self) -> Iterator[SseEvent]:
        """Yield one event per choice with its finish reason, then the usage if it was asked for."""
        yield from self._for_each_choice("", self._generation.finish_reason)
        if self._include_usage:
            yield self._event([], _text_usage(self._generation))
        yield DONE

    def failure(self, reply: Reply) -> Iterator[SseEvent]:
        """Yield the error that ends a broken stream."""
        yield _failure(reply)

    def _for_each_choice(self, text: str, finish: str | None) -> Iterator[SseEvent]:
        for index in range(self._generation.choices):
            yield self._event([_text_choice(index, text, finish)], None)

    def _event(self, choices: list[object], usage: object) -> SseEvent:
        body = self._envelope | {"choices": choices}
        if self._include_usage:
            body["usage"] = usage
        return SseEvent(json.dumps(body, ensure_ascii=False))


_AZURE_OPENING: Mapping[str, object] = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": [
        {
            "prompt_index": 0,
            "content_filter_results": {
                name: {"filtered": False, "severity": "safe"}
                for name in ("hate", "self_harm", "sexual", "violence")
            },
        }
    ],
}


def _failure(reply: Reply) -> SseEvent:
    problem = RefusedError(
        reply.error_message, status=500, code=reply.error_code, kind=reply.error_type
    )
    return SseEvent(json.dumps({"error": error_object(problem)}))


def _chat_envelope(generation: Generation, kind: str) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex[:29]}",
        "object": kind,
        "created": int(time.time()),
        "model": generation.served_model,
        "service_tier": generation.service_tier,
        "system_fingerprint": SYSTEM_FINGERPRINT,
    }


def _text_envelope(generation: Generation) -> dict[str, object]:
    return {
        "id": f"cmpl-{uuid.uuid4().hex[:29]}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": generation.served_model,
    }


def _text_choice(index: int, text: str, finish: str | None) -> object:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def _tool_call_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"
