"""Reads responses: POST /responses, and /responses/compact.

Source: openai-python 3.54, `resources/responses/responses.py`. A response that is made in the
background answers at once, without usage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tollspan import semconv
from tollspan.instrumentation._hosts import Route
from tollspan.instrumentation._shapes import Reading
from tollspan.usage import Request

from ._requests import addressed, limit, lowered
from ._response_input import input_bound
from ._response_streams import ResponseStreamReader
from ._response_usage import read_response


class ResponsesShape:
    """Items in, items out, with tools at the provider in between."""

    is_free: ClassVar[bool] = False

    def request(self, body: Mapping[str, object], route: Route, *, is_stream: bool) -> Request:
        """Read what is asked."""
        size = input_bound(body)
        asked = addressed(body, route, operation=semconv.OPERATION_CHAT, is_stream=is_stream)
        return asked(
            input_bytes=size.input_bytes,
            unbounded=size.unbounded,
            max_output_tokens=limit(body.get("max_output_tokens")),
            quantities=size.quantities,
            unlimited=size.unlimited,
            rounds=size.rounds,
        )

    def limited(self, body: Mapping[str, object], request: Request) -> Mapping[str, object] | None:
        """Limit the output, reasoning included."""
        return lowered(body, ("max_output_tokens",), request)

    def answer(self, answer: Any) -> Reading:
        """Read a whole answer; what it does not say yet is unknown."""
        return read_response(answer)

    def reader(self, request: Request, *, hides_usage: bool) -> ResponseStreamReader:  # noqa: ARG002
        """Return a reader of the events; they say the usage without being asked."""
        return ResponseStreamReader(request)
