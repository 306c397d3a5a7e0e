"""What a fake provider answers: one frozen value per reply, its JSON form, and their order."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, cast

import msgspec

Drop = Literal["before_headers", "after_headers", "mid_body", "mid_stream"]
CloseWith = Literal["rst", "fin"]
Billing = Literal["as_generated", "everything", "nothing"]
IterationType = Literal["message", "compaction", "advisor_message", "fallback_message"]

DEFAULT_TEXT = "Hello! How can I help you today?"
FAKE_HEADER = "x-fake"
_OUTPUT_FIELDS = ("text", "output_tokens", "chunks")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One function call that the model asks for; `arguments` is JSON text."""

    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration:
    """A further run of a model within an Anthropic call; tokens are disjoint, as on the wire.

    Those of the type `message` are part of the call's own usage, the others come on top of it.
    All are billed by the price of their `model`; None is the call's.
    """

    type: IterationType = "message"
    model: str | None = None
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How the fake answers one request. The default is an ordinary, immediate success.

    A *piece* is one fragment of output: in a stream it travels in one event per choice, after the
    opening events. `after_chunks`, `error_in_stream` and `stall_after_chunks` count pieces, those
    of `reasoning_text` first. What an operation doesn't know, it ignores.

    Attributes:
        text: The output. At most one of `text`, `output_tokens`, `chunks` may be given.
        output_tokens: Output of exactly so many tokens (under both tokenizers), made of words.
        chunks: The output as the pieces of a stream.
        tool_calls: Function calls, after the text; give `text=""` for none beside them.
        reasoning_tokens: Hidden tokens per choice (Anthropic: of thinking), generated before the
            first piece.
        reasoning_text: What is shown of the reasoning (Responses: its summary; Anthropic: the
            thinking). It counts no tokens beside `reasoning_tokens`, or is counted in their stead.
        cached_tokens: Prompt tokens read from the cache; never more than the prompt has.
        cache_write_tokens: Of the rest of the prompt, those written to the cache (Anthropic: for 5
            minutes).
        cache_write_1h_tokens: Of what then remains, those written for an hour (Anthropic).
        prompt_tokens: Overrides the count of the prompt (caches included, also Anthropic's), to
            act a provider that breaks its bound.
        opening_input_tokens: `input_tokens` of Anthropic's `message_start`, where server tools add
            more until the final count in `message_delta`.
        web_searches: Searches of the web that tools at the provider made, each with a fee.
        page_visits: Pages that they read (Responses: `open_page`; Anthropic: `web_fetch`).
        file_searches: Searches of stored files (Responses), each with a fee.
        code_containers: Runs of code (Responses), by the container's id; each id has one fee.
        iterations: Runs of models beside the call's own (Anthropic).
        model: The model named in the answer; default: the dated snapshot of the one asked for.
        finish_reason: Overrides `stop`, `length` or `tool_calls`, or Anthropic's words for them. In
            Responses `length` and `content_filter` make it incomplete, and `failed` failed.
        service_tier: Overrides the tier in the answer; default: what was asked, or the usual one.
        speed: Overrides `usage.speed` (Anthropic); default: what was asked.
        inference_geo: Overrides `usage.inference_geo` (Anthropic); default: what was asked.
        omit_usage: The answer has no usage (it is billed all the same).
        status: 200, or a status from 400 up for an error in the provider's shape.
        error_type: `error.type`; default by status.
        error_code: `error.code` (Anthropic: `error.details.error_code`); default by status.
        error_message: `error.message`; default by status.
        retry_after_seconds: Sent with an error as `retry-after-ms` and `retry-after`.
        should_retry: Sent with an error as `x-should-retry`.
        latency_seconds: Wait before the headers.
        first_chunk_delay_seconds: Wait between a stream's headers and its first event.
        chunk_delay_seconds: Wait before each piece of a stream after the first.
        drop: Where the connection breaks. `mid_body` in a stream means `mid_stream`, and the other
            way round.
        after_chunks: With `drop="mid_stream"`, how many pieces are sent before it.
        close_with: How a drop looks: a TCP reset, or an orderly end that comes too early.
        error_in_stream: Pieces sent before an `error` event ends the stream.
        end_after_chunks: Pieces sent before the answer ends: in good order, but too early.
        stall_after_chunks: Pieces sent before silence, until the client goes away.
        malformed_json: The body is cut to half its JSON (in a stream: its first event is).
        gzip: The body is compressed.
        chunked: A body that isn't streamed has no length, but comes as HTTP chunks.
        sse_comments: Comment lines between the events of a stream.
        split_bytes: HTTP chunks have so many bytes, across characters.
        billing: Overrides the bill: `everything` bills a failed request in full, `nothing` a
            successful one not at all.
    """

    text: str | None = None
    output_tokens: int | None = None
    chunks: tuple[str, ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning_tokens: int = 0
    reasoning_text: str = ""
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    prompt_tokens: int | None = None
    opening_input_tokens: int | None = None
    web_searches: int = 0
    page_visits: int = 0
    file_searches: int = 0
    code_containers: tuple[str, ...] = ()
    iterations: tuple[Iteration, ...] = ()
    model: str | None = None
    finish_reason: str | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    omit_usage: bool = False
    status: int = 200
    error_type: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    retry_after_seconds: float | None = None
    should_retry: bool | None = None
    latency_seconds: float = 0.0
    first_chunk_delay_seconds: float = 0.0
    chunk_delay_seconds: float = 0.0
    drop: Drop | None = None
    after_chunks: int = 0
    close_with: CloseWith = "rst"
    error_in_stream: int | None = None
    end_after_chunks: int | None = None
    stall_after_chunks: int | None = None
    malformed_json: bool = False
    gzip: bool = False
    chunked: bool = False
    sse_comments: bool = False
    split_bytes: int | None = None
    billing: Billing = "as_generated"

    def __post_init__(self) -> None:
        if sum(getattr(self, name) is not None for name in _OUTPUT_FIELDS) > 1:
            raise ValueError("give one of text, output_tokens, chunks")
        if self.status != 200 and not 400 <= self.status <= 599:
            raise ValueError(f"status must be 200 or 400..599, not {self.status}")
        if self.split_bytes is not None and self.split_bytes < 1:
            raise ValueError("split_bytes must be 1 or more")

    @property
    def is_error(self) -> bool:
        """The request is refused, with an error body."""
        return self.status != 200

    def with_json(self, document: object) -> Reply:
        """Return this reply with the fields of a JSON object laid over it.

        Raises:
            ValueError: It isn't an object, or names an unknown field, or a value has a wrong type.
        """
        if not isinstance(document, dict):
            raise ValueError(f"a reply is a JSON object, not {type(document).__name__}")
        given = cast("dict[str, object]", document)
        if unknown := given.keys() - _FIELDS:
            raise ValueError(f"unknown reply fields: {', '.join(sorted(unknown))}")
        merged: dict[str, object] = asdict(self)
        if any(name in given for name in _OUTPUT_FIELDS):
            merged.update(dict.fromkeys(_OUTPUT_FIELDS))
        merged.update(given)
        return msgspec.convert(merged, Reply)  # its ValidationError is a ValueError


_FIELDS = {field.name for field in fields(Reply)}

Respond = Callable[[object, Mapping[str, str], int], Reply]
"""From the request's JSON, its headers (names in lower case) and the hit's number (1, 2, …)."""


class Script:
    """The order of replies; thread-safe.

    The header `x-fake` of a request comes first, then `respond`, then the queue, then `default`.
    The header holds the JSON of a reply, laid over `default`; or a list of them, of which an
    SDK's n-th retry of the call takes the n-th (and later ones the last).
    """

    def __init__(self, default: Reply | None = None) -> None:
        self.default = default if default is not None else Reply()
        self.respond: Respond | None = None
        self._queue: deque[Reply] = deque()
        self._lock = threading.Lock()

    def push(self, *replies: Reply) -> None:
        """Queue replies, each for one request."""
        with self._lock:
            self._queue.extend(replies)

    def clear(self) -> None:
        """Empty the queue; `default` and `respond` stay."""
        with self._lock:
            self._queue.clear()

    def load(self, document: object) -> None:
        """Take `{"default": reply, "queue": [reply, …]}`, both optional, over what is there.

        Raises:
            ValueError: It has another shape.
        """
        if not isinstance(document, dict):
            raise ValueError("a script is a JSON object")
        given = cast("dict[str, object]", document)
        default = Reply().with_json(given.get("default", {})) if "default" in given else None
        queued = given.get("queue", [])
        if given.keys() - {"default", "queue"} or not isinstance(queued, list):
            raise ValueError('a script has "default" (a reply) and "queue" (a list of replies)')
        base = default or self.default
        replies = [base.with_json(item) for item in cast("list[object]", queued)]
        self.default = base
        self.push(*replies)

    def next_reply(self, request: object, headers: Mapping[str, str], hit_number: int) -> Reply:
        """Return the reply of this request.

        Raises:
            ValueError: Its `x-fake` header isn't a reply.
        """
        if FAKE_HEADER in headers:
            return self._from_header(headers)
        if self.respond is not None:
            return self.respond(request, headers, hit_number)
        with self._lock:
            return self._queue.popleft() if self._queue else self.default

    def _from_header(self, headers: Mapping[str, str]) -> Reply:
        document: object = json.loads(headers[FAKE_HEADER])
        if isinstance(document, list):
            attempts = cast("list[object]", document)
            if not attempts:
                return self.default
            attempt = int(headers.get("x-stainless-retry-count", "0"))
            document = attempts[min(attempt, len(attempts) - 1)]
        return self.default.with_json(document)
