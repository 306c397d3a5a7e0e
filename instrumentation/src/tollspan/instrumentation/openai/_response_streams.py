"""Reads the events of a streamed response as they pass.

Source: openai-python 3.54, `types/responses/response_stream_event.py`.
"""

from __future__ import annotations

import time

import msgspec

from tollspan.instrumentation._shapes import UNREAD, Reading, error_word, text
from tollspan.safety import Guard
from tollspan.usage import Request, Usage, estimate_input_tokens, estimate_tokens

from ._models import reasons_aloud
from ._response_usage import ITEMS_OF_TOOLS, field, quantities_of, read_response, said_of

_FOLD_AFTER = 256
_TERMINAL = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)
# Deltas that are no text of the model's own: what a shell printed.
_NOT_SAID = frozenset({"response.shell_call_output_content.delta"})
_AUDIO = "response.audio.delta"
_guard = Guard("openai.responses.stream")


class ResponseStreamReader:
    """Keeps what is needed to say what a stream used, at little cost an event.

    The event that ends a response carries all of it, with its usage; until then the events are kept
    whole and folded into text now and then.

    Args:
        request: What was asked.
    """

    __slots__ = (
        "_error", "_final", "_has_unseen_output", "_items", "_last", "_request", "_texts",
        "first_chunk_at_ns", "kept", "look_at", "sign",
    )  # fmt: skip

    def __init__(self, request: Request) -> None:
        self._request = request
        self.kept: list[object] = []
        self.sign = "response"
        self.look_at = 1
        self.first_chunk_at_ns: int | None = None
        # What was said, by item, place in it and kind: each is one text, which comes in pieces.
        self._texts: dict[object, list[str]] = {}
        self._items: list[object] = []
        self._has_unseen_output = False
        self._last: object = None
        self._final: object = None
        self._error: str | None = None

    def look(self, chunk: object) -> bool:
        """Take note of an event; none is ever hidden."""
        if self.first_chunk_at_ns is None:
            self.first_chunk_at_ns = time.perf_counter_ns()
            self.look_at = _FOLD_AFTER
        if len(self.kept) >= self.look_at:
            self._fold()
        response = field(chunk, "response")
        if response is not None:
            self._last = response
            if getattr(chunk, "type", None) in _TERMINAL:
                self._final = response
        return False

    def is_whole(self) -> bool:
        """Say whether the event that ends the response has come."""
        return self._final is not None

    def read(self) -> Reading:
        """Say what the stream used: as reported, else estimated from what has arrived."""
        if self.first_chunk_at_ns is None:
            return UNREAD
        final = self._final
        if field(final, "usage") is None or not field(final, "output"):
            self._fold()
        self.kept.clear()
        response = self._last if final is None else final
        reading = read_response(response, self._items)
        if self._error is not None:
            reading = msgspec.structs.replace(reading, error_type=self._error)
        usage = reading.usage
        if usage is None or usage.status != "unknown" or usage.flags:
            return reading
        if field(final, "status") in ("failed", "cancelled"):
            return reading
        estimate = self._estimate(response)
        return msgspec.structs.replace(estimate, error_type=reading.error_type)

    def _estimate(self, response: object) -> Reading:
        request = self._request
        said = said_of(response)
        model = said.model or request.model
        usage = Usage(
            status="estimated",
            input_uncached=estimate_input_tokens(request.input_bytes, model=model),
            output=estimate_tokens(list(map("".join, self._texts.values())), model=model),
            quantities=quantities_of(self._items, response),
        )
        is_incomplete = (
            self._has_unseen_output
            or bool(request.unbounded)
            or not reasons_aloud(model)
            # It goes on where nobody listens.
            or field(response, "background") is True
        )
        return Reading(usage, said, is_incomplete=is_incomplete)

    def _fold(self) -> None:
        """Keep the events' texts and the tools' items, and let the events go."""
        kept = self.kept.copy()
        self.kept.clear()
        for event in kept:
            with _guard:
                self._fold_event(event)

    def _fold_event(self, event: object) -> None:
        kind = getattr(event, "type", None)
        if not isinstance(kind, str):
            if getattr(event, "event", None) == "error":  # so SDKs of early 2025 pass it on
                self._error = error_word(field(field(event, "data"), "code"))
            return
        if kind.endswith(".delta"):
            if kind == _AUDIO:
                self._has_unseen_output = True
            elif kind not in _NOT_SAID:
                self._keep(event, kind, getattr(event, "delta", None))
        elif kind == "error":  # the SDK passes it on as one event more, and raises nothing
            self._error = error_word(getattr(event, "code", None))
        elif kind == "response.output_item.added":
            item = field(event, "item")
            self._keep(event, f"{kind} name", text(field(item, "name")))
        elif kind == "response.output_item.done":
            item = field(event, "item")
            if field(item, "type") in ITEMS_OF_TOOLS:
                self._items.append(item)

    def _keep(self, event: object, kind: str, said: object) -> None:
        if isinstance(said, str) and said:
            where = (
                kind,
                getattr(event, "output_index", None),
                getattr(event, "content_index", None),
                getattr(event, "summary_index", None),
            )
            self._texts.setdefault(where, []).append(said)
