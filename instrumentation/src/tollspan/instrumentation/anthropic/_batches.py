"""Batches of messages: what they ask, and what says what they used.

Source: anthropic-python 2.14, `resources/messages/batches.py` and `types/messages/`, and the API's
reference of batches, read in November 2026: errored, cancelled and expired requests cost nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from tollspan.instrumentation._batch_shapes import BATCH, Line, Result, read_results
from tollspan.instrumentation._hosts import Route
from tollspan.instrumentation._jobs import JobEnd
from tollspan.instrumentation._shapes import Reading, text
from tollspan.instrumentation._stainless import JobPath
from tollspan.usage import Response

from .extract import MessagesShape

_shape = MessagesShape()


def read_batch(body: Mapping[str, object], route: Route) -> list[Line]:
    """Read the requests of a batch."""
    listed = body.get("requests")
    entries = cast("list[object]", listed) if isinstance(listed, list | tuple) else []
    found: list[Line] = []
    for entry in entries:
        params = _field(entry, "params")
        asked: Mapping[str, object] = {}
        if isinstance(params, Mapping):
            asked = cast("Mapping[str, object]", params)
        request = _shape.request(asked, route, is_stream=False)
        found.append(Line(text(_field(entry, "custom_id")) or "", request))
    return found


def _field(entry: object, name: str) -> object:
    if isinstance(entry, Mapping):
        return cast("Mapping[str, object]", entry).get(name)
    return getattr(entry, name, None)


def read_end(answer: Any) -> JobEnd | None:
    """Say of a batch whether it has ended without a result: else its results say what it used."""
    id_ = text(getattr(answer, "id", None))
    if id_ is None or getattr(answer, "processing_status", None) != "ended":
        return None
    if getattr(getattr(answer, "request_counts", None), "succeeded", None) != 0:
        return None
    ended = Response(id=id_, finish_reasons=("ended",), service_tier=BATCH)
    return JobEnd(id_, lambda _: Reading(None, ended))


class Results:
    """Gathers the results of a batch, line by line."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._results: list[Result] = []

    def feed(self, item: Any) -> None:
        """Take note of a line."""
        result = getattr(item, "result", None)
        is_answered = getattr(result, "type", None) == "succeeded"
        self._results.append(
            Result(
                text(getattr(item, "custom_id", None)) or "",
                _shape.answer(getattr(result, "message", None)) if is_answered else None,
            )
        )

    def end(self) -> JobEnd | None:
        """Say what each call of the batch used: all of its lines must be there."""
        return JobEnd(
            self._job_id, lambda deferred: self._of(deferred.lines, deferred.call.request.calls)
        )

    def _of(self, names: tuple[str, ...], calls: int) -> Reading | None:
        wanted = frozenset(names)
        results = [one for one in self._results if not wanted or one.name in wanted]
        return read_results(self._job_id, results) if len(results) >= calls else None


_BATCH = r"/v1/messages/batches/([^/]+)"
BATCH_JOBS = (
    JobPath(method="get", path=re.compile(f"{_BATCH}/results$"), gather=Results),
    JobPath(method="get", path=re.compile(f"{_BATCH}$"), read=read_end),
    JobPath(method="post", path=re.compile(f"{_BATCH}/cancel$"), read=read_end),
)
"""Where the SDK asks what has become of a batch."""
