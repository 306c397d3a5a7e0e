"""Reads legacy completions: POST /completions.

Source: openai-python 3.54, `types/completion_create_params.py` and `types/completion.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from tollspan import semconv
from tollspan.instrumentation._hosts import Route
from tollspan.instrumentation._shapes import Reading, is_given
from tollspan.safety import Guard
from tollspan.usage import Request, Response, Usage, estimate_input_tokens, estimate_tokens

from ._requests import addressed, choices, limit, text
from ._sizes import given_beside, prompt_size
from ._usage import read_usage

DEFAULT_MAX_TOKENS = 16
"""What OpenAI takes where `max_tokens` is not given; other servers go on to the window's end."""

_FOLD_AFTER = 256
_FREE_OF_INPUT = frozenset(
    {
        "model", "prompt", "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs",
        "max_tokens", "n", "presence_penalty", "seed", "service_tier", "stop", "stream",
        "stream_options", "temperature", "top_p", "user",
    }
)  # fmt: skip
_guard = Guard("openai.completions.stream")


class CompletionsShape:
    """Prompts in, their continuations out."""

    is_free: ClassVar[bool] = False

    def request(self, body: Mapping[str, object], route: Route, *, is_stream: bool) -> Request:
        """Read what is asked; candidates that `best_of` throws away are billed too."""
        size = prompt_size(body.get("prompt"), "prompt")
        input_bytes, unbounded = size.input_bytes, size.unbounded
        for name, _, more in given_beside(body, _FREE_OF_INPUT):
            input_bytes += len(more or b"")
            if more is None:
                unbounded += (f"opaque_{name}",)
        each = max(choices(body.get("n")), choices(body.get("best_of")))
        operation = semconv.OPERATION_TEXT_COMPLETION
        return addressed(body, route, operation=operation, is_stream=is_stream)(
            input_bytes=input_bytes,
            unbounded=unbounded,
            max_output_tokens=_output_limit(body, route),
            choices=each * max(1, size.prompts),
        )

    def answer(self, answer: Any) -> Reading:
        """Read a whole answer."""
        usage = getattr(answer, "usage", None)
        found = getattr(answer, "choices", None) or ()
        reasons = [text(getattr(choice, "finish_reason", None)) or "" for choice in found]
        return Reading(
            Usage(status="unknown") if usage is None else read_usage(usage),
            Response(
                id=text(getattr(answer, "id", None)),
                model=text(getattr(answer, "model", None)),
                finish_reasons=tuple(reasons),
                service_tier=text(getattr(answer, "service_tier", None)),
            ),
        )

    def reader(self, request: Request, *, hides_usage: bool) -> CompletionStreamReader:
        """Return a reader of the chunks that answer a request."""
        return CompletionStreamReader(request, hides_usage=hides_usage)


def _output_limit(body: Mapping[str, object], route: Route) -> int | None:
    given = body.get("max_tokens")
    if not is_given(given) and (given is not None or "max_tokens" not in body):
        is_openai = route.provider == semconv.PROVIDER_OPENAI and not route.is_assumed
        return DEFAULT_MAX_TOKENS if is_openai else None
    return limit(given, least=0)  # 0 only scores the prompt


class CompletionStreamReader:
    """Keeps what is needed to say what a stream used; the text is all there is to see.

    Args:
        request: What was asked.
        hides_usage: The usage chunk was not asked for by the caller: keep it from him.
    """

    __slots__ = (
        "_finish_reasons", "_hides_usage", "_id", "_is_usage_final", "_model", "_request", "_texts",
        "_tier", "_usage", "first_chunk_at_ns", "kept", "look_at", "sign",
    )  # fmt: skip

    def __init__(self, request: Request, *, hides_usage: bool) -> None:
        self._request = request
        self._hides_usage = hides_usage
        self.kept: list[object] = []
        self.sign = "usage"
        self.look_at = 1
        self.first_chunk_at_ns: int | None = None
        self._texts: dict[int, list[str]] = {}
        self._finish_reasons: dict[int, str] = {}
        self._usage: object = None
        self._is_usage_final = False
        self._id: str | None = None
        self._model: str | None = None
        self._tier: str | None = None

    def look(self, chunk: object) -> bool:
        """Take note of a chunk; True when it must be hidden from the caller."""
        if self.first_chunk_at_ns is None:
            self.first_chunk_at_ns = time.perf_counter_ns()
            self.look_at = _FOLD_AFTER
        if len(self.kept) >= self.look_at:
            self._fold()
        usage = getattr(chunk, "usage", None)
        if usage is None:
            return False
        self._usage = usage
        if getattr(chunk, "choices", None):
            return False
        self._is_usage_final = True
        return self._hides_usage

    def is_whole(self) -> bool:
        """Say whether the final usage has come."""
        return self._is_usage_final

    def read(self) -> Reading:
        """Say what the stream used: as reported, else estimated from what has arrived."""
        self._fold()
        response = Response(
            id=self._id,
            model=self._model,
            finish_reasons=tuple([reason for _, reason in sorted(self._finish_reasons.items())]),
            service_tier=self._tier,
        )
        if self._usage is not None:
            usage = read_usage(self._usage)
            if self._is_usage_final or len(self._finish_reasons) >= self._request.choices:
                return Reading(usage, response)
            if usage.status == "reported":  # a count on the way, as some servers send it
                usage = msgspec.structs.replace(usage, status="estimated")
            return Reading(usage, response, is_incomplete=True)
        if self.first_chunk_at_ns is None:
            return Reading(Usage(status="unknown"), response)
        request = self._request
        model = self._model or request.model
        usage = Usage(
            status="estimated",
            input_uncached=estimate_input_tokens(request.input_bytes, model=model),
            output=estimate_tokens(list(map("".join, self._texts.values())), model=model),
        )
        return Reading(usage, response, is_incomplete=bool(request.unbounded))

    def _fold(self) -> None:
        """Keep the chunks' texts and facts, and let the chunks go."""
        kept = self.kept.copy()
        self.kept.clear()
        for chunk in kept:
            with _guard:
                self._id = self._id or text(getattr(chunk, "id", None))
                self._model = self._model or text(getattr(chunk, "model", None))
                self._tier = text(getattr(chunk, "service_tier", None)) or self._tier
                for choice in getattr(chunk, "choices", None) or ():
                    self._fold_choice(choice)

    def _fold_choice(self, choice: Any) -> None:
        index = choice.index
        said = choice.text
        if isinstance(said, str) and said:
            self._texts.setdefault(index, []).append(said)
        if choice.finish_reason:
            self._finish_reasons[index] = choice.finish_reason
