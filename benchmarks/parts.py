"""Which function begins which part of a call, for the breakdown of its bytecodes.

What is not named here counts for whoever called it; what the OpenAI SDK executes is `client`.
"""

from __future__ import annotations

import importlib
from types import CodeType

CLIENT = "client"
_OURS = "tollspan.instrumentation."
_SDK = f"{_OURS}_stainless."

# Part -> functions as `module:name`, in the order of a call's life.
TABLE: dict[str, tuple[str, ...]] = {
    "wrapper": (
        f"{_SDK}_funnel:Funnel._request",
        f"{_SDK}_funnel:Funnel._request_async",
        f"{_OURS}_call:Lifecycle.call",
        f"{_OURS}_call:Lifecycle.call_async",
        f"{_OURS}_call:Lifecycle._perform",
        f"{_OURS}_call:Lifecycle._start",
    ),
    "new call": (f"{_OURS}_call:Lifecycle._new_run",),
    "extract": (
        f"{_SDK}_extractor:PathExtractor.request",
        f"{_SDK}_extractor:PathExtractor.prepare",
    ),
    "count bytes": (
        f"{_OURS}openai._sizes:message_size",
        f"{_OURS}openai._sizes:further_size",
    ),
    "gate": (
        "tollspan.budget:BudgetGate.authorize",
        "tollspan.budget:BudgetGate.authorize_async",
    ),
    "bound": ("tollspan.pricing:PriceBook.bound",),
    "hold": (
        "tollspan.ledger:SQLiteLedger.hold",
        "tollspan.ledger:SQLiteLedger.hold_now",
        "tollspan.ledger:SQLiteLedger.hold_soon",
    ),
    "span start": (f"{_OURS}_spans:SpanEmitter.start",),
    "span start: SDK": (
        "opentelemetry.sdk.trace:Tracer.start_span",
        "opentelemetry.trace:set_span_in_context",
    ),
    "foreign check": (
        f"{_SDK}_others:PathOthers.make_spans",
        "opentelemetry.instrumentation.utils:is_instrumentation_enabled",
    ),
    "context": ("opentelemetry.context:attach", "opentelemetry.context:detach"),
    CLIENT: (
        "openai.resources.chat.completions:Completions.create",
        "openai.resources.chat.completions:AsyncCompletions.create",
        "openai._base_client:SyncAPIClient.request",
        "openai._base_client:AsyncAPIClient.request",
        "openai:Stream.__iter__",
        "openai:Stream.__next__",
        "openai:Stream.__stream__",
        "openai:AsyncStream.__aiter__",
        "openai:AsyncStream.__anext__",
        "openai:AsyncStream.__stream__",
    ),
    "stream": (
        f"{_OURS}openai:_stream_source",
        f"{_SDK}_extractor:PathExtractor.stream",
        f"{_SDK}_funnel:Funnel._proxy",
        f"{_SDK}_funnel:Funnel._proxy_async",
        f"{_OURS}_stream:SyncStreamProxy.__init__",
        f"{_OURS}_stream:AsyncStreamProxy.__init__",
        f"{_OURS}_stream:Watch.finish",
        f"{_OURS}_stream:Watch.finish_async",
    ),
    "chunks": (
        f"{_OURS}openai._streams:ChatStreamReader.look",
        f"{_OURS}_stream:SyncStreamProxy.__next__",
        f"{_OURS}_stream:AsyncStreamProxy.__anext__",
        f"{_OURS}_stream:_items",
        f"{_OURS}_stream:_items_async",
    ),
    "usage": (
        f"{_SDK}_extractor:PathExtractor.result",
        f"{_OURS}openai._streams:ChatStreamReader.read",
    ),
    "closing": (
        f"{_OURS}_closings:closing_of",
        f"{_OURS}_closings:stream_closing",
    ),
    "event": (
        "tollspan.budget:Closer.close",
        "tollspan.budget:Closer.close_async",
    ),
    "rate": ("tollspan.pricing:PriceBook.rate",),
    "post": (
        "tollspan.ledger:SQLiteLedger.post",
        "tollspan.ledger:SQLiteLedger.post_now",
        "tollspan.ledger:SQLiteLedger.post_soon",
    ),
    "span end": (f"{_OURS}_spans:SpanEmitter.end",),
    "span end: SDK": (
        "opentelemetry.sdk.trace:Span.end",
        "opentelemetry.sdk.trace:Span.set_attributes",
    ),
    "metrics": (f"{_OURS}_metrics:MetricsRecorder.record",),
}


def parts() -> dict[CodeType, str]:
    """Return which code begins which part; what is wrapped counts as what it wraps.

    Raises:
        LookupError: A function of the table is gone; the text names it.
    """
    return {code: part for part, names in TABLE.items() for name in names for code in _codes(name)}


def _codes(name: str) -> list[CodeType]:
    """Return the code of a function, and of everything that it wraps."""
    module, _, path = name.partition(":")
    found: object = importlib.import_module(module)
    for step in path.split("."):
        found = getattr(found, step, None)
    codes: list[CodeType] = []
    while found is not None:
        code = getattr(found, "__code__", None)
        if isinstance(code, CodeType):
            codes.append(code)
        found = getattr(found, "__wrapped__", None)
    if not codes:
        raise LookupError(f"{name} is no function: mend the table in benchmarks/parts.py")
    return codes
