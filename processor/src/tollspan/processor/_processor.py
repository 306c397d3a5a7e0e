"""`BudgetSpanProcessor`: hands spans of others to the door."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import Status, StatusCode

from tollspan import semconv
from tollspan.attribution import current_call
from tollspan.safety import Guard
from tollspan.usage import OURS, CallDeniedError, read_span, traceparent

from ._door import Door, Key


class _Spoken:
    """A span as the door reads it."""

    __slots__ = ("attributes", "scope")

    def __init__(self, span: ReadableSpan, scope: str) -> None:
        self.scope = scope
        self.attributes: Mapping[str, object] = span.attributes or {}


class BudgetSpanProcessor(SpanProcessor):
    """Asks the gate for calls that only other people's spans tell of, and accounts for them.

    A span that starts may raise a denial, and nothing else: under instrumentors that let it
    through, the call is not made. See docs/reference/enforcement.md for which do.

    Args:
        door: What is in force now; None while tollspan is not installed.
    """

    def __init__(self, door: Callable[[], Door | None]) -> None:
        self._door = door
        self._guard = Guard("processor")

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's
        """Ask for the call of a span.

        Raises:
            CallDeniedError: It is refused; the span has ended with that error.
        """
        scope = span.instrumentation_scope
        if scope is None or scope.name == OURS:
            return
        denial: CallDeniedError | None = None
        with self._guard:
            denial = self._start(span, scope.name)
        if denial is not None:
            raise denial

    def on_end(self, span: ReadableSpan) -> None:
        """Account for the call of a span."""
        scope = span.instrumentation_scope
        if scope is None or scope.name == OURS:
            return
        with self._guard:
            door = self._door()
            attributes = span.attributes
            if door is None or attributes is None:
                return
            if semconv.TOLLSPAN_DECISION in attributes:
                # A call of ours, or one that was refused here. Where a hook of ours marked the span
                # after it had started, the call was asked for twice, and is accounted for there.
                door.leave(_key(span))
                return
            door.end(
                _Spoken(span, scope.name),
                _key(span),
                span.start_time or 0,
                span.end_time or 0,
                is_error=span.status.status_code is StatusCode.ERROR,
            )

    def shutdown(self) -> None:
        """Nothing waits here: every call is in the ledger when its span has ended."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's
        """Nothing waits here."""
        return True

    def _start(self, span: Span, scope: str) -> CallDeniedError | None:
        door = self._door()
        if door is None:
            return None
        flight = current_call.get()
        if flight is not None:  # somebody traces a call of ours, from within
            if read_span(scope, span.attributes or {}) is not None:
                span.set_attribute(semconv.TOLLSPAN_CALL_ID, flight.call.id)
                span.set_attribute(semconv.TOLLSPAN_DECISION, "allow")
                if flight.traceparent is None:
                    flight.traceparent = _traceparent(span)
            return None
        parent = span.parent
        started = door.start(
            _Spoken(span, scope),
            _key(span),
            (parent.trace_id, parent.span_id) if parent is not None else None,
            span.start_time or 0,
        )
        if started.call_id is not None:
            span.set_attribute(semconv.TOLLSPAN_CALL_ID, started.call_id)
        if started.denial is not None:
            _end_as_refused(span, started.denial)
        return started.denial


def _end_as_refused(span: Span, denial: CallDeniedError) -> None:
    """Mark a span and end it, so that every other processor sees its end."""
    span.set_attribute(semconv.TOLLSPAN_DECISION, "deny")
    span.set_attribute(semconv.ERROR_TYPE, denial.error_type)
    if denial.rule_id is not None:
        span.set_attribute(semconv.TOLLSPAN_RULE_ID, denial.rule_id)
    span.set_status(Status(StatusCode.ERROR, str(denial)))
    span.end()


def _traceparent(span: ReadableSpan) -> str | None:
    of = span.get_span_context()
    return traceparent(of.trace_id, of.span_id, of.trace_flags) if of is not None else None


def _key(span: ReadableSpan) -> Key:
    context = span.get_span_context()
    return (context.trace_id, context.span_id) if context is not None else (0, 0)
