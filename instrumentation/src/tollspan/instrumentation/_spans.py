"""Spans of calls, by OpenTelemetry's API alone; and metrics, recorded in the worker.

Where another instrumentor makes the span, ours marks that one and makes none of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.util.types import AttributeValue

from tollspan import semconv
from tollspan.budget import Decision
from tollspan.usage import Call, CallDeniedError, Usage, UsageEvent

_DIMENSIONS = (
    (semconv.TOLLSPAN_CUSTOMER_ID, "customer"),
    (semconv.SESSION_ID, "session"),
    (semconv.USER_ID, "user"),
    (semconv.GEN_AI_AGENT_NAME, "agent"),
    (semconv.TOLLSPAN_FEATURE, "feature"),
    (semconv.TOLLSPAN_STEP, "step"),
    (semconv.TOLLSPAN_TEAM, "team"),
    (semconv.TOLLSPAN_PROJECT, "project"),
)


class TracerSource(Protocol):
    """Says which tracer to use now; None while nobody collects spans."""

    def __call__(self) -> trace.Tracer | None:
        """Return the tracer in force."""
        ...


class Recorder(Protocol):
    """Takes finished calls for metrics; must not block."""

    def record(self, event: UsageEvent, context: Context | None) -> None:
        """Record a call."""
        ...

    def deny(self, call: Call, denial: CallDeniedError) -> None:
        """Record a refusal."""
        ...


class CallSpan:
    """The span of one call: ours, or another instrumentor's that we only mark."""

    __slots__ = ("context", "error", "is_ours", "span", "traceparent")

    def __init__(self, span: Span, *, is_ours: bool) -> None:
        self.span = span
        self.is_ours = is_ours
        self.context = set_span_in_context(span)
        self.error: BaseException | None = None
        of = span.get_span_context()
        self.traceparent = (
            f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}" if of.is_valid else None
        )


class SpanEmitter:
    """Starts and ends the spans of calls.

    Args:
        tracer: Which tracer to use.
        recorder: Where metrics go.
        has_foreign_span: Says whether another instrumentor makes the spans of these calls.
        is_enabled: False makes no spans at all; the gate does not care.
    """

    def __init__(
        self,
        *,
        tracer: TracerSource,
        recorder: Recorder | None,
        has_foreign_span: Callable[[], bool],
        is_enabled: bool = True,
    ) -> None:
        self._tracer = tracer
        self._recorder = recorder
        self._has_foreign_span = has_foreign_span
        self._is_enabled = is_enabled
        self._dimensions: tuple[object, dict[str, AttributeValue]] = (None, {})

    def start(self, call: Call, decision: Decision) -> CallSpan | None:
        """Start the span of a call, or take the one that another instrumentor has started."""
        if not self._is_enabled:
            return None
        tracer = self._tracer()
        if tracer is None or not is_instrumentation_enabled():
            return None
        if self._has_foreign_span():
            return self._mark_foreign(call, decision)
        request = call.request
        attributes: dict[str, AttributeValue] = {
            semconv.GEN_AI_OPERATION_NAME: request.operation,
            semconv.GEN_AI_PROVIDER_NAME: request.provider,
            semconv.GEN_AI_REQUEST_MODEL: request.model,
            semconv.SERVER_ADDRESS: request.host,
            semconv.TOLLSPAN_CALL_ID: call.id,
            semconv.TOLLSPAN_DECISION: decision.note.action,
        }
        if request.port is not None:
            attributes[semconv.SERVER_PORT] = request.port
        if request.max_output_tokens is not None:
            attributes[semconv.GEN_AI_REQUEST_MAX_TOKENS] = request.max_output_tokens
        if request.is_stream:
            attributes[semconv.GEN_AI_REQUEST_STREAM] = True
        if request.choices != 1:
            attributes[semconv.GEN_AI_REQUEST_CHOICE_COUNT] = request.choices
        attributes.update(self._attribution_attributes(call))
        span = tracer.start_span(
            f"{request.operation} {request.model}", kind=SpanKind.CLIENT, attributes=attributes
        )
        return CallSpan(span, is_ours=True)

    def end(self, of_call: CallSpan | None, event: UsageEvent) -> None:
        """Put usage and cost on the span, end it if it is ours, and record metrics."""
        if of_call is not None:
            span = of_call.span
            if span.is_recording():
                span.set_attributes(
                    _end_attributes(event) if of_call.is_ours else _cost_attributes(event)
                )
                if of_call.is_ours and event.outcome.status not in ("ok", "partial"):
                    span.set_status(Status(StatusCode.ERROR, _description(of_call.error)))
            if of_call.is_ours:
                span.end()
        if self._recorder is not None:
            self._recorder.record(event, of_call.context if of_call is not None else None)

    def deny(self, of_call: CallSpan | None, call: Call, denial: CallDeniedError) -> None:
        """Mark the span as refused and end it if it is ours."""
        if of_call is not None:
            span = of_call.span
            attributes: dict[str, AttributeValue] = {semconv.TOLLSPAN_DECISION: "deny"}
            if denial.rule_id is not None:
                attributes[semconv.TOLLSPAN_RULE_ID] = denial.rule_id
            if of_call.is_ours:
                attributes[semconv.ERROR_TYPE] = denial.error_type
                span.set_status(Status(StatusCode.ERROR, str(denial)))
            span.set_attributes(attributes)
            if of_call.is_ours:
                span.end()
        if self._recorder is not None:
            self._recorder.deny(call, denial)

    def _mark_foreign(self, call: Call, decision: Decision) -> CallSpan | None:
        """Stamp the call's id on the GenAI span that is current, when there is one."""
        span = trace.get_current_span()
        attributes = getattr(span, "attributes", None)
        if not attributes or not span.is_recording():
            return None
        if semconv.GEN_AI_OPERATION_NAME not in attributes:
            return None
        if attributes[semconv.GEN_AI_OPERATION_NAME] != call.request.operation:
            return None
        span.set_attributes(
            {
                semconv.TOLLSPAN_CALL_ID: call.id,
                semconv.TOLLSPAN_DECISION: decision.note.action,
                **self._attribution_attributes(call),
            }
        )
        return CallSpan(span, is_ours=False)

    def _attribution_attributes(self, call: Call) -> dict[str, AttributeValue]:
        """Return the dimensions as span attributes, kept for the attribution met last."""
        attribution = call.attribution
        seen, attributes = self._dimensions
        if seen is attribution:
            return attributes
        attributes = {
            name: value
            for name, field in _DIMENSIONS
            if (value := getattr(attribution, field)) is not None
        }
        self._dimensions = (attribution, attributes)
        return attributes


def _end_attributes(event: UsageEvent) -> dict[str, AttributeValue]:
    attributes = _cost_attributes(event)
    outcome = event.outcome
    response = outcome.response
    if response.id is not None:
        attributes[semconv.GEN_AI_RESPONSE_ID] = response.id
    if response.model is not None:
        attributes[semconv.GEN_AI_RESPONSE_MODEL] = response.model
    if response.finish_reasons:
        attributes[semconv.GEN_AI_RESPONSE_FINISH_REASONS] = response.finish_reasons
    if response.service_tier is not None:
        attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] = response.service_tier
    if outcome.first_chunk_ns is not None:
        attributes[semconv.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] = outcome.first_chunk_ns / 1e9
    if outcome.error_type is not None:
        attributes[semconv.ERROR_TYPE] = outcome.error_type
    if event.usage is not None and event.usage.status != "unknown":
        _add_usage(attributes, event.usage)
    return attributes


def _add_usage(attributes: dict[str, AttributeValue], usage: Usage) -> None:
    """Put usage in as the conventions' inclusive sums."""
    attributes[semconv.GEN_AI_USAGE_INPUT_TOKENS] = usage.input_tokens
    attributes[semconv.GEN_AI_USAGE_OUTPUT_TOKENS] = usage.output_tokens
    if usage.cache_read:
        attributes[semconv.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS] = usage.cache_read
    written = usage.cache_write + usage.cache_write_5m + usage.cache_write_1h
    if written:
        attributes[semconv.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS] = written
    if usage.reasoning:
        attributes[semconv.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS] = usage.reasoning


def _cost_attributes(event: UsageEvent) -> dict[str, AttributeValue]:
    cost = event.cost
    attributes: dict[str, AttributeValue] = {semconv.TOLLSPAN_COST_STATUS: cost.status}
    amount = cost.amount_nanousd
    if amount is not None:
        attributes[semconv.TOLLSPAN_COST_NANOUSD] = amount
        attributes[semconv.TOLLSPAN_COST_USD] = amount / 1e9
    if event.usage is not None:
        attributes[semconv.TOLLSPAN_USAGE_STATUS] = event.usage.status
    return attributes


def _description(error: BaseException | None) -> str | None:
    """Describe an error by its class alone: its text may hold what the user sent."""
    return type(error).__name__ if error is not None else None
