"""The shape of OpenAI's chat completions.

Sources: openai-python 3.54 (`types/chat`, `_streaming.py`) and the API's reference for chat
completions, both read in November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, ClassVar

from tollspan import semconv
from tollspan.instrumentation._hosts import Route
from tollspan.instrumentation._shapes import Reading, StreamReader, is_given, text
from tollspan.usage import Request, Response, Usage

from ._requests import choices, lowered
from ._sizes import further_size, message_size
from ._streams import ChatStreamReader
from ._usage import read_usage

_LIMITS = ("max_completion_tokens", "max_tokens")
_OPENAI = frozenset({semconv.PROVIDER_OPENAI, "azure.ai.openai"})
_finish_reason = attrgetter("finish_reason")


class ChatShape:
    """`POST /chat/completions`."""

    is_free: ClassVar[bool] = False

    def request(self, body: Mapping[str, object], route: Route, *, is_stream: bool) -> Request:
        """Read what is asked; what is not there may be a server's own default."""
        model = body.get("model")
        input_bytes, unbounded = message_size(body.get("messages"))
        more, prediction, reasons = further_size(body)
        return Request(
            provider=route.provider,
            operation=semconv.OPERATION_CHAT,
            # A name that is no text can't be priced, but is asked for all the same.
            model=model if type(model) is str else text(model) or "",
            host=route.host,
            port=route.port,
            is_assumed=route.is_assumed,
            input_bytes=input_bytes + more,
            unbounded=unbounded + reasons,
            max_output_tokens=_output_limit(body),
            choices=choices(body["n"]) if "n" in body else 1,
            prediction_bytes=prediction,
            service_tier=text(body["service_tier"]) if "service_tier" in body else None,
            is_stream=is_stream,
        )

    def limited(self, body: Mapping[str, object], request: Request) -> Mapping[str, object] | None:
        """Limit the output by whichever of the two names the caller used.

        OpenAI's newer models refuse the old name, and others' servers don't know the new one.
        Predicted output goes with no limit.
        """
        if is_given(body.get("prediction")):
            return None
        given = [name for name in _LIMITS if is_given(body.get(name))]
        if not given:
            is_openai = request.provider in _OPENAI and not request.is_assumed
            given = [_LIMITS[0] if is_openai else _LIMITS[1]]
        return lowered(body, given, request)

    def answer(self, answer: Any) -> Reading:
        """Read a `ChatCompletion`."""
        usage = getattr(answer, "usage", None)
        if usage is None:
            return Reading(Usage(status="unknown"), _response(answer))
        return Reading(read_usage(usage), _response(answer))

    def reader(self, request: Request, *, hides_usage: bool) -> StreamReader:
        """Read a stream of `ChatCompletionChunk`."""
        return ChatStreamReader(request, hides_usage=hides_usage)


def _output_limit(body: Mapping[str, object]) -> int | None:
    """Return the larger of the two limits, since servers differ in which one they read."""
    limit = body.get("max_completion_tokens")
    if type(limit) is int and limit > 0 and "max_tokens" not in body:
        return limit
    limit = None
    for name in _LIMITS:
        value = body.get(name)
        if isinstance(value, int) and value > 0:
            limit = int(value) if limit is None else max(limit, int(value))
        elif is_given(value):
            return None  # whatever a server makes of -1, 0.5 or "many"
    return limit


def _response(result: object) -> Response:
    reasons: tuple[Any, ...] = tuple(map(_finish_reason, getattr(result, "choices", None) or ()))
    return Response(
        id=getattr(result, "id", None),
        model=getattr(result, "model", None),
        finish_reasons=tuple([one or "" for one in reasons]) if None in reasons else reasons,
        service_tier=getattr(result, "service_tier", None),
    )
