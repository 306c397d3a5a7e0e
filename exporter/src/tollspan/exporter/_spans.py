"""`UsageEventExporter`: a span exporter whose backend is the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from tollspan import semconv
from tollspan.budget import Closing
from tollspan.safety import Guard, report
from tollspan.usage import (
    DIMENSIONS,
    OURS,
    Attribution,
    foreign_call,
    foreign_outcome,
    merge_attributions,
    read_attribution,
    read_span,
    traceparent,
)

from ._books import Books

_logger = logging.getLogger("tollspan.exporter")
# Where a span says who pays, as our own spans do.
_OWNERS = {
    "customer": semconv.TOLLSPAN_CUSTOMER_ID,
    "session": semconv.SESSION_ID,
    "user": semconv.USER_ID,
    "agent": semconv.GEN_AI_AGENT_NAME,
    "feature": semconv.TOLLSPAN_FEATURE,
    "step": semconv.TOLLSPAN_STEP,
    "team": semconv.TOLLSPAN_TEAM,
    "project": semconv.TOLLSPAN_PROJECT,
}


class UsageEventExporter(SpanExporter):
    """Keeps the calls that finished spans tell of as priced usage events, each once.

    It accounts; it stops nothing. It sees what reaches exporters: behind a `BatchSpanProcessor`
    spans can be dropped, those that are not sampled never come, and what a process has not exported
    when it is killed is lost. A call that tollspan has seen elsewhere is not counted again.

    Args:
        books: What is installed now; None while tollspan is not.
    """

    def __init__(self, books: Callable[[], Books | None]) -> None:
        self._books = books
        self._guard = Guard("exporter")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Keep a batch; `FAILURE` where tollspan is not installed, or some could not be read."""
        books = self._books()
        if books is None:
            _logger.error(
                "tollspan is not installed in this process: no usage is kept of its spans"
            )
            return SpanExportResult.FAILURE
        failed = 0
        for span in spans:
            is_kept = False
            with self._guard:
                self._keep(books, span)
                is_kept = True
            failed += not is_kept
        if failed:
            report("exporter", RuntimeError(f"{failed} of {len(spans)} spans were not kept"))
        return SpanExportResult.FAILURE if failed else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing waits here."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's
        """Nothing waits here."""
        return True

    def _keep(self, books: Books, span: ReadableSpan) -> None:
        scope, attributes = span.instrumentation_scope, span.attributes
        context = span.get_span_context()
        if scope is None or scope.name == OURS or not attributes or context is None:
            return
        if semconv.TOLLSPAN_CALL_ID in attributes:
            return
        found = read_span(scope.name, attributes)
        started, ended = span.start_time or 0, span.end_time or 0
        if found is None or found.usage is None or books.is_known(found, started, ended):
            return
        call = foreign_call(
            found,
            context.trace_id,
            context.span_id,
            started_at_unix_ns=started,
            attribution=_owner(span, books.default()),
            door="exporter",
        )
        outcome, usage = foreign_outcome(
            found,
            duration_ns=ended - started,
            is_error=span.status.status_code is StatusCode.ERROR,
        )
        name = traceparent(context.trace_id, context.span_id, context.trace_flags)
        books.sink.close(Closing(call, books.gate.spent(call), usage, outcome, name))


def _owner(span: ReadableSpan, default: Attribution) -> Attribution:
    """Return who pays as the span says it, else the default; what is no good value says nothing."""
    attributes = span.attributes or {}
    said: dict[str, object] = {
        name: attributes[attribute]
        for name, attribute in _OWNERS.items()
        if name in DIMENSIONS and attribute in attributes
    }
    prefix = semconv.TOLLSPAN_TAG_PREFIX
    tags = {
        name.removeprefix(prefix): value
        for name, value in attributes.items()
        if name.startswith(prefix)
    }
    if not said and not tags:
        return default
    from_span = read_attribution({**said, "tags": tags}, on_wrong=lambda _: None)
    return merge_attributions(default, from_span)
