"""Reads the chunks of a chat completion stream as they pass."""

from __future__ import annotations

import time

from tollspan.instrumentation._call import Reading
from tollspan.safety import Guard
from tollspan.usage import Request, Response, Usage, estimate_input_tokens, estimate_tokens

from ._usage import read_usage

_FOLD_AFTER = 256
# Families that never reason out of sight: for others, what was not seen may have been billed.
_REASONS_ALOUD = ("gpt-3.5", "gpt-4", "chatgpt-4o", "ft:gpt-3.5", "ft:gpt-4")
_guard = Guard("openai.stream")


class ChatStreamReader:
    """Keeps what is needed to say what a stream used, at little cost a chunk.

    Chunks are kept whole and folded into text now and then, so that memory stays flat.

    Args:
        request: What was asked.
        hides_usage: The usage chunk was not asked for by the caller: keep it from him.
    """

    __slots__ = (
        "_finish_reasons", "_hides_usage", "_id", "_kept", "_model", "_request", "_texts", "_tier",
        "_usage", "first_chunk_at_ns",
    )  # fmt: skip

    def __init__(self, request: Request, *, hides_usage: bool) -> None:
        self._request = request
        self._hides_usage = hides_usage
        self._kept: list[object] = []
        self._texts: list[str] = []
        self._finish_reasons: dict[int, str] = {}
        self._usage: object = None
        self._id: str | None = None
        self._model: str | None = None
        self._tier: str | None = None
        self.first_chunk_at_ns: int | None = None

    def see(self, chunk: object) -> bool:
        """Take note of a chunk; True when it must be hidden from the caller."""
        kept = self._kept
        kept.append(chunk)
        if self.first_chunk_at_ns is None:
            self.first_chunk_at_ns = time.perf_counter_ns()
        usage = getattr(chunk, "usage", None)
        if usage is not None:
            self._usage = usage
            return self._hides_usage and not getattr(chunk, "choices", None)
        if len(kept) >= _FOLD_AFTER:
            self._fold()
        return False

    def read(self) -> Reading:
        """Say what the stream used: as reported, else estimated from what has arrived."""
        self._fold()
        response = Response(
            id=self._id,
            model=self._model,
            finish_reasons=tuple([reason for _, reason in sorted(self._finish_reasons.items())]),
            service_tier=self._tier,
        )
        if self._usage is not None:
            return Reading(read_usage(self._usage), response)
        if self.first_chunk_at_ns is None:
            return Reading(Usage(status="unknown"), response)
        model = self._model or self._request.model
        usage = Usage(
            status="estimated",
            input_uncached=estimate_input_tokens(self._request.input_bytes, model=model),
            output=estimate_tokens(self._texts, model=model),
        )
        return Reading(usage, response, is_incomplete=not model.startswith(_REASONS_ALOUD))

    def _fold(self) -> None:
        """Keep the chunks' texts and facts, and let the chunks go."""
        kept, self._kept = self._kept, []
        with _guard:
            for chunk in kept:
                self._fold_one(chunk)

    def _fold_one(self, chunk: object) -> None:
        self._id = self._id or getattr(chunk, "id", None)
        self._model = self._model or getattr(chunk, "model", None)
        self._tier = getattr(chunk, "service_tier", None) or self._tier
        for choice in getattr(chunk, "choices", None) or ():
            if choice.finish_reason:
                self._finish_reasons[choice.index] = choice.finish_reason
            delta = choice.delta
            if delta is None:
                continue
            for name in ("content", "refusal", "reasoning_content"):
                text = getattr(delta, name, None)
                if isinstance(text, str):
                    self._texts.append(text)
            for call in getattr(delta, "tool_calls", None) or ():
                function = getattr(call, "function", None)
                for text in (getattr(function, "name", None), getattr(function, "arguments", None)):
                    if isinstance(text, str):
                        self._texts.append(text)
