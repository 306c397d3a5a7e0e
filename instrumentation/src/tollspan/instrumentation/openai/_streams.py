"""Reads the chunks of a chat completion stream as they pass."""

from __future__ import annotations

import time
from operator import attrgetter
from typing import Any

import msgspec

from tollspan.instrumentation._shapes import Reading
from tollspan.safety import Guard
from tollspan.usage import Request, Response, Usage, estimate_input_tokens, estimate_tokens

from ._models import reasons_aloud
from ._usage import read_usage

_FOLD_AFTER = 256
_SAID = ("content", "refusal", "reasoning_content", "reasoning")
# The members of a delta, and what providers put in beyond the SDK's own.
_parts_of = attrgetter("content", "refusal", "tool_calls", "function_call", "model_extra")
_NO_OTHERS: tuple[list[object], ...] = ([None, None, None, None], [None, None, None, {}])
_guard = Guard("openai.stream")


class ChatStreamReader:
    """Keeps what is needed to say what a stream used, at little cost a chunk.

    Chunks are kept whole and folded into text now and then, so that memory stays flat.

    Args:
        request: What was asked.
        hides_usage: The usage chunk was not asked for by the caller: keep it from him.
    """

    __slots__ = (
        "_finish_reasons", "_has_unseen_output", "_hides_usage", "_id", "_is_usage_final", "_model",
        "_request", "_texts", "_tier", "_usage", "first_chunk_at_ns", "kept", "look_at", "sign",
    )  # fmt: skip

    def __init__(self, request: Request, *, hides_usage: bool) -> None:
        self._request = request
        self._hides_usage = hides_usage
        self.kept: list[object] = []
        self.sign = "usage"
        self.look_at = 1
        # What was said, by choice and kind: each is one text, which comes in pieces.
        self._texts: dict[tuple[int, str], list[str]] = {}
        self._finish_reasons: dict[int, str] = {}
        self._usage: object = None
        self._is_usage_final = False
        self._has_unseen_output = False
        self._id: str | None = None
        self._model: str | None = None
        self._tier: str | None = None
        self.first_chunk_at_ns: int | None = None

    def look(self, chunk: object) -> bool:
        """Take note of a chunk; True when it must be hidden from the caller."""
        if self.first_chunk_at_ns is None:
            self.first_chunk_at_ns = time.perf_counter_ns()
            self.look_at = _FOLD_AFTER
        usage = getattr(chunk, "usage", None)
        if len(self.kept) >= self.look_at:
            self._fold()
        if usage is None:
            return False
        self._usage = usage
        if getattr(chunk, "choices", None):
            return False
        self._is_usage_final = True
        return self._hides_usage

    def is_whole(self) -> bool:
        """Say whether the usage has come, which is last."""
        return self._is_usage_final

    def read(self) -> Reading:
        """Say what the stream used: as reported, else estimated from what has arrived."""
        if self._is_usage_final:
            self._look_back()
        else:
            self._fold()
        response = Response(
            id=self._id,
            model=self._model,
            finish_reasons=tuple([reason for _, reason in sorted(self._finish_reasons.items())]),
            service_tier=self._tier,
        )
        if self._usage is not None:
            usage = read_usage(self._usage)
            if self._is_usage_final or len(self._finish_reasons) >= self._request.choices:
                return Reading(usage, response)
            if usage.status == "reported":  # a count on the way, as some servers send it
                usage = msgspec.structs.replace(usage, status="estimated")
            return Reading(usage, response, is_incomplete=True)
        if self.first_chunk_at_ns is None:
            return Reading(Usage(status="unknown"), response)
        return self._estimate(response)

    def _estimate(self, response: Response) -> Reading:
        request = self._request
        model = self._model or request.model
        usage = Usage(
            status="estimated",
            input_uncached=estimate_input_tokens(request.input_bytes, model=model),
            output=estimate_tokens(list(map("".join, self._texts.values())), model=model),
        )
        return Reading(usage, response, is_incomplete=self._may_have_more(model))

    def _may_have_more(self, model: str) -> bool:
        """Say whether more may have been billed than was seen."""
        is_hidden = self._has_unseen_output or not reasons_aloud(model)
        return is_hidden or bool(self._request.unbounded)

    def _fold(self) -> None:
        """Keep the chunks' texts and facts, and let the chunks go."""
        kept = self.kept.copy()
        self.kept.clear()
        self._note(kept)
        for chunk in kept:
            with _guard:
                for choice in getattr(chunk, "choices", None) or ():
                    self._fold_choice(choice)

    def _look_back(self) -> None:
        """Keep the facts alone, from the end back: with the final usage, nobody needs the texts."""
        kept = self.kept.copy()
        self.kept.clear()
        self._note(kept)
        with _guard:
            for chunk in reversed(kept):
                if len(self._finish_reasons) >= self._request.choices:
                    return
                for choice in getattr(chunk, "choices", None) or ():
                    if choice.finish_reason:
                        self._finish_reasons[choice.index] = choice.finish_reason

    def _note(self, chunks: list[object]) -> None:
        """Read the facts that all chunks share; the very first may be without them."""
        for chunk in (chunks[0], chunks[-1]) if chunks else ():
            if not self._id:
                self._id = getattr(chunk, "id", None)
            if not self._model:
                self._model = getattr(chunk, "model", None)
            self._tier = getattr(chunk, "service_tier", None) or self._tier

    def _fold_choice(self, choice: Any) -> None:
        index = choice.index
        if choice.finish_reason:
            self._finish_reasons[index] = choice.finish_reason
        delta = choice.delta
        if delta is None:
            return
        if _is_plain_text(delta):
            self._texts.setdefault((index, "content"), []).append(delta.content)
            return
        for name in _SAID:
            self._keep(index, name, getattr(delta, name, None))
        if getattr(delta, "audio", None) is not None:
            self._has_unseen_output = True
        self._keep_function(index, "call", getattr(delta, "function_call", None))
        for call in getattr(delta, "tool_calls", None) or ():
            self._keep_function(index, f"tool {call.index}", getattr(call, "function", None))

    def _keep_function(self, index: int, kind: str, function: object) -> None:
        if function is not None:
            self._keep(index, f"{kind} name", getattr(function, "name", None))
            self._keep(index, kind, getattr(function, "arguments", None))

    def _keep(self, index: int, kind: str, text: object) -> None:
        if isinstance(text, str) and text:
            self._texts.setdefault((index, kind), []).append(text)


def _is_plain_text(delta: object) -> bool:
    """Say whether a delta has text in `content` and nothing else, as nearly all of them have."""
    try:
        text, *others = _parts_of(delta)
    except AttributeError:
        return False
    return type(text) is str and others in _NO_OTHERS
