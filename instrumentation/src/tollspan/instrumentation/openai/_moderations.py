"""Reads moderations: POST /moderations. They are free of charge.

Source: openai-python 3.54, `types/moderation_create_params.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tollspan import semconv
from tollspan.instrumentation._hosts import Route
from tollspan.instrumentation._shapes import Reading, text
from tollspan.usage import Request, Response

from ._requests import addressed
from ._unread import UnreadReader


class ModerationsShape:
    """Texts or images in, verdicts out: nothing is used that has a price.

    The bound of such a request is meaningless: whoever sees `is_free` asks no gate.
    """

    is_free: ClassVar[bool] = True

    def request(self, body: Mapping[str, object], route: Route, *, is_stream: bool) -> Request:
        """Read what is asked, without its size."""
        operation = semconv.OPERATION_MODERATION
        return addressed(body, route, operation=operation, is_stream=is_stream)(max_output_tokens=0)

    def limited(self, body: Mapping[str, object], request: Request) -> Mapping[str, object] | None:  # noqa: ARG002 - the protocol's
        """Limit nothing: nothing is written."""
        return None

    def answer(self, answer: Any) -> Reading:
        """Read a whole answer: nothing is billed."""
        return Reading(
            None,
            Response(
                id=text(getattr(answer, "id", None)), model=text(getattr(answer, "model", None))
            ),
        )

    def reader(self, request: Request, *, hides_usage: bool) -> UnreadReader:  # noqa: ARG002
        """Return a reader that reads nothing: moderations are not streamed."""
        return UnreadReader()
