"""Responses in the background: what asks for one, and what says that it has ended.

Source: openai-python 3.57, `resources/responses/responses.py`: `retrieve`, also as a stream, and
`cancel`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tollspan import semconv
from tollspan.instrumentation._jobs import JobEnd
from tollspan.instrumentation._shapes import Reading
from tollspan.instrumentation._stainless import JobPath
from tollspan.usage import Request

from ._response_streams import ResponseStreamReader
from ._response_usage import read_response

_NOBODY = Request(provider=semconv.PROVIDER_OPENAI, operation=semconv.OPERATION_CHAT, model="")


def asks_for_job(body: Mapping[str, object]) -> bool:
    """Say whether a response is to be made in the background."""
    return isinstance(body, dict) and body.get("background") is True


def read_end(answer: object) -> JobEnd | None:
    """Say whether a response that was asked for has ended, and what it used."""
    return _end_of(read_response(answer))


class EventsOfJob:
    """Gathers the events of a response that is listened to anew."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._reader = ResponseStreamReader(_NOBODY)

    def feed(self, item: object) -> None:
        """Take note of an event."""
        self._reader.kept.append(item)
        self._reader.look(item)

    def end(self) -> JobEnd | None:
        """Say what the events said; they may end while the response goes on."""
        return _end_of(self._reader.read()) if self._reader.is_whole() else None


def _end_of(reading: Reading) -> JobEnd | None:
    response = reading.response
    if response.id is None or not response.finish_reasons:
        return None
    return JobEnd(response.id, lambda _: reading)


RESPONSE_JOBS = (
    JobPath(
        method="get",
        path=re.compile(r"/responses/([^/]+)$"),
        read=read_end,
        gather=EventsOfJob,
    ),
    JobPath(method="post", path=re.compile(r"/responses/([^/]+)/cancel$"), read=read_end),
)
"""Where the SDK asks what has become of a response."""
