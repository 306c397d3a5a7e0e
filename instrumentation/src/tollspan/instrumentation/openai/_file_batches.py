"""Batches that are files: the lines that ask, the answers that tell, and the lines of results.

Source: openai-python 3.57, `resources/batches.py`, `resources/files.py`, `types/batch.py`, and the
API's guide to batches, read in November 2026: what was not answered costs nothing, whatever became
of the batch; what was answered before it expired or was cancelled is billed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from tollspan.budget import DeferredHold
from tollspan.instrumentation._batch_files import (
    UNKNOWN_FILE,
    UNKNOWN_LINE,
    OutputNote,
    unknown,
)
from tollspan.instrumentation._batch_shapes import BATCH, Line, Result, read_results
from tollspan.instrumentation._hosts import Route
from tollspan.instrumentation._jobs import JobEnd
from tollspan.instrumentation._shapes import (
    UNREAD,
    Reading,
    Shape,
    View,
    error_word,
    text,
)
from tollspan.instrumentation._stainless import BatchFiles, BatchShown
from tollspan.usage import Response

from ._chat import ChatShape
from ._completions import CompletionsShape
from ._embeddings import EmbeddingsShape
from ._moderations import ModerationsShape
from ._responses import ResponsesShape

_PURPOSE = "batch"
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_OK = 200
_chat = ChatShape()
_SHAPES: Mapping[str, Shape] = {
    "/chat/completions": _chat,
    "/responses": ResponsesShape(),
    "/completions": CompletionsShape(),
    "/embeddings": EmbeddingsShape(),
    "/moderations": ModerationsShape(),
}
# An answer says by its `object` what it answers.
_ANSWERS: Mapping[str, Shape] = {
    "chat.completion": _chat,
    "response": _SHAPES["/responses"],
    "text_completion": _SHAPES["/completions"],
    "list": _SHAPES["/embeddings"],
}


class _Asked(msgspec.Struct):
    """A line of a file of requests."""

    url: str
    body: dict[str, object]
    custom_id: str = ""


class _Answer(msgspec.Struct):
    status_code: int = 0
    body: object = None


class _Answered(msgspec.Struct):
    """A line of a file of results, or of errors."""

    custom_id: str
    response: _Answer | None = None


_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_answered = msgspec.json.Decoder(_Answered).decode


def read_line(data: bytes, route: Route) -> Line | None:
    """Read a line of a file of requests; one that can't be read may ask for anything."""
    try:
        asked = _decode_asked(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Line("", unknown(route, UNKNOWN_LINE))
    shape = _SHAPES.get(asked.url.removeprefix("/openai").removeprefix("/v1").rstrip("/"))
    if shape is None:
        return Line(asked.custom_id, unknown(route, UNKNOWN_LINE))
    if shape.is_free:
        return None
    return Line(asked.custom_id, shape.request(asked.body, route, is_stream=False))


def is_request(data: bytes) -> bool:
    """Say whether a line is one of a file of requests."""
    try:
        _decode_asked(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def shown(answer: Any) -> Iterator[BatchShown]:
    """Say which batches an answer shows to have ended: one, or the list of some."""
    listed: object = getattr(answer, "data", None)
    for batch in cast("list[object]", listed) if isinstance(listed, list) else [answer]:
        id_, status = text(getattr(batch, "id", None)), text(getattr(batch, "status", None))
        if id_ is None or status is None or status not in _ENDED:
            continue
        counts = getattr(batch, "request_counts", None)
        completed, total = _count(counts, "completed"), _count(counts, "total")
        output = text(getattr(batch, "output_file_id", None))
        if output is not None:
            yield BatchShown((output, OutputNote(id_, completed, total)))
        elif not completed:
            yield BatchShown(end=_nothing_used(id_, status, getattr(batch, "errors", None)))


def _count(counts: object, name: str) -> int | None:
    found = getattr(counts, name, None)
    return found if type(found) is int else None


def _nothing_used(batch_id: str, status: str, errors: object) -> JobEnd:
    """Return the end of a batch of which no request was answered."""
    why = None
    if status == "failed":
        first = next(iter(getattr(errors, "data", None) or ()), None)
        why = error_word(getattr(first, "code", None))
    response = Response(id=batch_id, finish_reasons=(status,), service_tier=BATCH)
    return JobEnd(batch_id, lambda _: Reading(None, response, error_type=why))


class Results:
    """Gathers a file of results: one line for each request that was answered."""

    def __init__(self, note: OutputNote) -> None:
        self._note = note
        self._results: list[Result] = []
        self._is_readable = True

    def feed(self, line: bytes) -> None:
        """Take note of a line."""
        if not line.strip():
            return
        try:
            answered = _decode_answered(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._is_readable = False
            return
        self._results.append(Result(answered.custom_id, _reading(answered.response)))

    def end(self) -> JobEnd | None:
        """Say what each call of the batch used: all that was answered must be there."""
        if not self._is_readable or len(self._results) < (self._note.completed or 1):
            return None
        return JobEnd(self._note.batch_id, self._of)

    def _of(self, deferred: DeferredHold) -> Reading:
        names = frozenset(deferred.lines)
        results = [one for one in self._results if not names or one.name in names]
        reading = read_results(self._note.batch_id, results)
        if UNKNOWN_FILE not in deferred.call.request.unbounded:
            return reading
        total = self._note.total or len(results)
        return msgspec.structs.replace(reading, calls=total)


def _reading(answer: _Answer | None) -> Reading | None:
    """Read an answer; None for one that says that its request failed, which costs nothing."""
    if answer is None or answer.status_code != _OK:
        return None
    said = answer.body
    if not isinstance(said, dict):
        return UNREAD
    body = View(cast("dict[str, object]", said))
    shape = _ANSWERS.get(str(body.object))
    return UNREAD if shape is None else shape.answer(body)


BATCH_FILES = BatchFiles(
    uploads=re.compile(r"/files$"),
    is_batch=lambda body: body.get("purpose") == _PURPOSE,
    contents=re.compile(r"/files/([^/]+)/content$"),
    shows=re.compile(r"/batches(/[^/]+(/cancel)?)?$"),
    read_line=read_line,
    is_request=is_request,
    shown=shown,
    results=Results,
)
"""How OpenAI's batches are files."""
