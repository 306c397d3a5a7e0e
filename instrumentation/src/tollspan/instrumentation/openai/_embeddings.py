"""Reads embeddings: POST /embeddings.

Source: openai-python 3.54, `types/embedding_create_params.py` and `create_embedding_response.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tollspan import semconv
from tollspan.instrumentation._bytes import given_beside
from tollspan.instrumentation._hosts import Route
from tollspan.instrumentation._shapes import Reading, text
from tollspan.usage import Request, Response, Usage

from ._requests import addressed
from ._sizes import prompt_size
from ._unread import UnreadReader
from ._usage import read_input_usage

_FREE_OF_INPUT = frozenset(
    {"model", "input", "dimensions", "encoding_format", "user", "service_tier", "stream"}
)


class EmbeddingsShape:
    """Texts or tokens in, vectors out: there are no output tokens."""

    is_free: ClassVar[bool] = False

    def request(self, body: Mapping[str, object], route: Route, *, is_stream: bool) -> Request:
        """Read what is asked; an array of tokens counts exactly."""
        size = prompt_size(body.get("input"), "input")
        input_bytes, unbounded = size.input_bytes, size.unbounded
        for name, _, more in given_beside(body, _FREE_OF_INPUT):
            input_bytes += len(more or b"")
            if more is None:
                unbounded += (f"opaque_{name}",)
        return addressed(body, route, operation=semconv.OPERATION_EMBEDDINGS, is_stream=is_stream)(
            input_bytes=input_bytes, unbounded=unbounded, max_output_tokens=0
        )

    def limited(self, body: Mapping[str, object], request: Request) -> Mapping[str, object] | None:  # noqa: ARG002 - the protocol's
        """Limit nothing: nothing is written."""
        return None

    def answer(self, answer: Any) -> Reading:
        """Read a whole answer."""
        usage = getattr(answer, "usage", None)
        return Reading(
            Usage(status="unknown") if usage is None else read_input_usage(usage),
            Response(
                id=text(getattr(answer, "id", None)),
                model=text(getattr(answer, "model", None)),
                service_tier=text(getattr(answer, "service_tier", None)),
            ),
        )

    def reader(self, request: Request, *, hides_usage: bool) -> UnreadReader:  # noqa: ARG002
        """Return a reader that reads nothing: embeddings are not streamed."""
        return UnreadReader()
