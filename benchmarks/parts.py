"""Which function begins which part of a call, for the breakdown of its bytecodes.

What is not named here counts for whoever called it; what the SDK executes is `client`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CodeType

import openai
from openai._base_client import AsyncAPIClient, SyncAPIClient
from openai.resources.chat.completions import AsyncCompletions, Completions
from opentelemetry import context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from tollspan.budget import BudgetGate, Closer
from tollspan.instrumentation import Lifecycle, MetricsRecorder, SpanEmitter, Worker
from tollspan.instrumentation import _spans as spans
from tollspan.instrumentation._stream import AsyncStreamProxy, SyncStreamProxy, _items
from tollspan.instrumentation.openai import OpenAIPatches, _streams, extract
from tollspan.ledger import SQLiteLedger
from tollspan.pricing import PriceBook

CLIENT = "client"
# In the order of a call's life.
ORDER = (
    "wrapper",
    "call",
    "extract",
    "count bytes",
    "gate",
    "bound",
    "hold",
    "span start",
    "span start: SDK",
    "foreign check",
    "context",
    "funnel",
    "chunks",
    "stream",
    "usage",
    "closing",
    "event",
    "rate",
    "post",
    "span end",
    "span end: SDK",
    "metrics",
)


def parts() -> dict[CodeType, str]:
    """Return the table, tollspan installed or not; what was wrapped is unwrapped first."""
    table: dict[CodeType, str] = {}

    def name(part: str, *functions: object) -> None:
        for function in functions:
            table[_code(function)] = part

    name("wrapper", Lifecycle.call, Lifecycle.call_async, Lifecycle._perform)
    name("call", Lifecycle._new_call)
    name("extract", extract.ChatExtractor.request, extract.ChatExtractor.arguments)
    name("count bytes", extract._count, extract._count_further)
    name("gate", BudgetGate.authorize, BudgetGate.authorize_async)
    name("bound", PriceBook.bound)
    name("hold", SQLiteLedger.hold, SQLiteLedger.hold_now, SQLiteLedger.hold_soon)
    name("span start", SpanEmitter.start, spans.CallSpan.__init__)
    name("foreign check", OpenAIPatches.has_foreign_span, is_instrumentation_enabled)
    name("context", context.attach, context.detach)
    name("funnel", OpenAIPatches._see_request, OpenAIPatches._see_retry)
    name("chunks", _streams.ChatStreamReader.see, AsyncStreamProxy.__anext__)
    name("chunks", SyncStreamProxy.__next__, _items)
    name("stream", extract.ChatExtractor.stream, SyncStreamProxy.__init__)
    name("stream", AsyncStreamProxy.__init__, Lifecycle.finish_stream)
    name("stream", Lifecycle.finish_stream_async)
    name("usage", extract.ChatExtractor.result, _streams.ChatStreamReader.read)
    name("closing", Lifecycle.succeed, Lifecycle._closing, Lifecycle._stream_closing)
    name("event", Closer.close, Closer.close_async)
    name("rate", PriceBook.rate)
    name("post", SQLiteLedger.post, SQLiteLedger.post_now, SQLiteLedger.post_soon)
    name("span end", SpanEmitter.end)
    name("metrics", MetricsRecorder.record, Worker.put)
    name(CLIENT, Completions.create, AsyncCompletions.create)
    name(CLIENT, SyncAPIClient.request, AsyncAPIClient.request)
    name(CLIENT, openai.Stream.__iter__, openai.Stream.__next__, openai.Stream.__stream__)
    name(CLIENT, openai.AsyncStream.__aiter__, openai.AsyncStream.__anext__)
    name(CLIENT, openai.AsyncStream.__stream__)
    _name_sdk(name)
    return table


def _name_sdk(name: Callable[..., None]) -> None:
    """Tell apart what OpenTelemetry's SDK does for a span."""
    from opentelemetry.sdk.trace import Span, Tracer  # noqa: PLC0415 - only where it is used

    name("span start: SDK", Tracer.start_span)
    name("span end: SDK", Span.end, Span.set_attributes)


def _code(function: object) -> CodeType:
    found = inspect.unwrap(function, stop=_has_code)  # type: ignore[arg-type]  # wrapt's are no functions
    code: CodeType = found.__code__
    return code


def _has_code(function: object) -> bool:
    return inspect.isfunction(function)
