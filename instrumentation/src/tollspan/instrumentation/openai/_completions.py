"""Reads legacy completions: POST /completions.

Source: openai-python 3.54, `types/completion_create_params.py` and `types/completion.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tollspan import semconv
from tollspan.instrumentation._bytes import given_beside
from tollspan.instrumentation._hosts import Route
from tollspan.instrumentation._shapes import Reading, is_given, text
from tollspan.safety import Guard
from tollspan.usage import Request, Response, Usage

from ._requests import addressed, choices, limit, lowered
from ._sizes import prompt_size
from ._streams import ChatStreamReader
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

    def limited(self, body: Mapping[str, object], request: Request) -> Mapping[str, object] | None:
        """Limit each of the texts."""
        return lowered(body, ("max_tokens",), request)

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


class CompletionStreamReader(ChatStreamReader):
    """Reads the chunks as chat's are read; the text is all there is to see."""

    __slots__ = ()

    def _may_have_more(self, model: str) -> bool:  # noqa: ARG002 - nothing is reasoned out of sight
        return bool(self._request.unbounded)

    def _fold_choice(self, choice: Any) -> None:
        self._keep(choice.index, "text", choice.text)
        if choice.finish_reason:
            self._finish_reasons[choice.index] = choice.finish_reason
