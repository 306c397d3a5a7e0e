"""Reads the events of a message stream as they pass."""

from __future__ import annotations

import time
from collections import Counter

import msgspec

from tollspan.instrumentation._shapes import Reading, View, count
from tollspan.safety import Guard
from tollspan.usage import (
    Iteration,
    Request,
    Response,
    Usage,
    estimate_input_tokens,
    estimate_tokens,
    sum_of,
)

from ._usage import MALFORMED_ITERATIONS, filled_text, read_response, read_usage

_FOLD_AFTER = 256
# No event is worth a look by itself: what the last ones say is read at the end. `usage` would be
# the sign, but a pydantic object takes 2.3 µs to say that it has no such member, this one 0.06.
_NO_SIGN = "__pydantic_private__"
# Members of `usage`: each counts from the start of the call, so the last one given is true.
_FACTS = (
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
    "cache_creation", "output_tokens_details", "server_tool_use", "iterations", "service_tier",
    "speed", "inference_geo", "fallback_credit",
)  # fmt: skip
# Where a delta has what the model said, by its type. Signatures and citations are no output.
_SAID_IN = {
    "text_delta": "text",
    "input_json_delta": "partial_json",
    "thinking_delta": "thinking",
    "compaction_delta": "content",
}
_PIECE = "content_block_delta"
_THINKING = "thinking_delta"
# Blocks that show all that was billed for them. Thinking arrives as a summary or not at all; what
# tools at the provider find is input of a further round, which nobody reports before the end.
_OPEN_BLOCKS = frozenset({"text", "tool_use"})
_CALLS = {"web_search": "web_searches", "web_fetch": "web_fetches"}
_guard = Guard("anthropic.stream")


class MessagesStreamReader:
    """Keeps what is needed to say what a stream used, at little cost an event.

    Events are kept whole and folded into text now and then, so that memory stays flat.

    Args:
        request: What was asked.
    """

    __slots__ = (
        "_calls", "_facts", "_has_hidden", "_has_total", "_is_over", "_message", "_request",
        "_stop_reason", "_texts", "_thought_tokens", "first_chunk_at_ns", "kept", "look_at", "sign",
    )  # fmt: skip

    def __init__(self, request: Request) -> None:
        self._request = request
        self.kept: list[object] = []
        self.sign = _NO_SIGN
        self.look_at = 1
        self.first_chunk_at_ns: int | None = None
        # What was said, by block and kind: each is one text, which comes in pieces.
        self._texts: dict[tuple[object, str], list[str]] = {}
        self._thought_tokens = 0
        self._facts: dict[str, object] = {}
        self._calls: Counter[str] = Counter()
        self._message: object = None
        self._stop_reason: object = None
        self._has_hidden = False
        self._has_total = False
        self._is_over = False

    def look(self, chunk: object) -> bool:  # noqa: ARG002 - events are read when they are folded
        """Take note of the time, and fold what was kept; no event is hidden."""
        if self.first_chunk_at_ns is None:
            self.first_chunk_at_ns = time.perf_counter_ns()
            self.look_at = _FOLD_AFTER
        if len(self.kept) >= self.look_at:
            with _guard:
                self._fold()
        return False

    def is_whole(self) -> bool:
        """Say whether the message has ended: with its stop reason come the final counts."""
        with _guard:
            return self._is_over or any(map(_ends, reversed(self.kept.copy())))
        return False

    def read(self) -> Reading:
        """Say what the stream used: as reported at its end, else estimated from what arrived."""
        kept = self.kept.copy()
        self.kept.clear()
        pieces = [event for event in kept if getattr(event, "type", None) == _PIECE]
        self._note_all([event for event in kept if getattr(event, "type", None) != _PIECE])
        usage = View(self._facts)
        response = read_response(self._message, usage, self._stop_reason)
        if self._is_over and self._has_total:
            reported = read_usage(usage)
            if reported.status == "reported":
                is_incomplete = MALFORMED_ITERATIONS in reported.flags
                return Reading(reported, response, is_incomplete=is_incomplete)
        self._note_all(pieces)
        if self.first_chunk_at_ns is None:
            return Reading(Usage(status="unknown"), response)
        return self._estimate(response)

    def _estimate(self, response: Response) -> Reading:
        """Take the input that the start reported, and the output from what was said."""
        request = self._request
        model = response.model or request.model
        self._facts.setdefault("output_tokens", 0)
        known = read_usage(View(self._facts))
        is_incomplete = self._has_hidden
        if known.status == "unknown":
            size = estimate_input_tokens(request.input_bytes, model=model)
            said_output = count(self._facts["output_tokens"])
            known = Usage(input_uncached=size, output=said_output, flags=known.flags)
            is_incomplete = is_incomplete or bool(request.unbounded)
        said: dict[bool, list[str]] = {True: [], False: []}
        for (_, kind), pieces in self._texts.items():
            said[kind == _THINKING].append("".join(pieces))
        reasoning = max(estimate_tokens(said[True], model=model), self._thought_tokens)
        output = estimate_tokens(said[False], model=model)
        more = max(0, output + reasoning - known.output_tokens)
        more_reasoning = min(more, max(0, reasoning - known.reasoning))
        usage = _with_output(known, output=more - more_reasoning, reasoning=more_reasoning)
        calls = Counter(dict(usage.quantities)) | self._calls
        usage = msgspec.structs.replace(
            usage, status="estimated", quantities=tuple(sorted(calls.items()))
        )
        return Reading(usage, response, is_incomplete=is_incomplete)

    def _fold(self) -> None:
        """Keep the events' texts and facts, and let the events go."""
        kept = self.kept.copy()
        self.kept.clear()
        self._note_all(kept)

    def _note_all(self, events: list[object]) -> None:
        """Note events; one that fails is left out."""
        pending = iter(events)
        is_done = False
        while not is_done:
            with _guard:
                for event in pending:
                    self._note(event)
                is_done = True

    def _note(self, event: object) -> None:
        kind = getattr(event, "type", None)
        if kind == _PIECE:
            self._note_piece(event)
        elif kind == "content_block_start":
            self._note_block(event)
        elif kind == "message_start":
            self._message = getattr(event, "message", None)
            self._note_facts(getattr(self._message, "usage", None))
        elif kind == "message_delta":
            usage = getattr(event, "usage", None)
            self._note_facts(usage)
            self._has_total |= getattr(usage, "output_tokens", None) is not None
            reason = getattr(getattr(event, "delta", None), "stop_reason", None)
            self._stop_reason = reason or self._stop_reason
            self._is_over = self._is_over or _ends(event)
        elif kind == "message_stop":
            self._is_over = True

    def _note_facts(self, usage: object) -> None:
        for name in _FACTS:
            value = getattr(usage, name, None)
            if value is not None:
                self._facts[name] = value

    def _note_block(self, event: object) -> None:
        """Note a block: its kind, and what it has from the start."""
        block = getattr(event, "content_block", None)
        kind = getattr(block, "type", None)
        if kind not in _OPEN_BLOCKS:
            self._has_hidden = True
        index = getattr(event, "index", None)
        name = getattr(block, "name", None)
        if kind == "server_tool_use" and isinstance(name, str) and name in _CALLS:
            self._calls[_CALLS[name]] += 1
        self._keep(index, "name", name)
        if kind == "text":
            self._keep(index, "text_delta", getattr(block, "text", None))
        elif kind == "thinking":
            self._keep(index, _THINKING, getattr(block, "thinking", None))

    def _note_piece(self, event: object) -> None:
        delta = getattr(event, "delta", None)
        kind = getattr(delta, "type", None)
        if kind not in _SAID_IN:
            return
        self._keep(getattr(event, "index", None), kind, getattr(delta, _SAID_IN[kind], None))
        if kind == _THINKING:
            self._thought_tokens += count(getattr(delta, "estimated_tokens", None))

    def _keep(self, index: object, kind: str, value: object) -> None:
        piece = filled_text(value)
        if piece is not None:
            self._texts.setdefault((index, kind), []).append(piece)


def _ends(event: object) -> bool:
    """Say whether an event is the last one, or the one before, which has the final counts."""
    kind = getattr(event, "type", None)
    if kind == "message_delta":
        return getattr(getattr(event, "delta", None), "stop_reason", None) is not None
    return bool(kind == "message_stop")


def _with_output(usage: Usage, *, output: int, reasoning: int) -> Usage:
    """Add output to usage; to its iterations too, whose sum it is."""
    if not output and not reasoning:
        return usage
    iterations = usage.iterations
    if iterations:
        iterations += (Iteration(output=output, reasoning=reasoning),)
        return msgspec.structs.replace(usage, **sum_of(iterations), iterations=iterations)
    return msgspec.structs.replace(
        usage, output=usage.output + output, reasoning=usage.reasoning + reasoning
    )
