"""Metrics of calls: handed to the worker, recorded there with the span's context for exemplars."""

from __future__ import annotations

from typing import Protocol

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.util.types import AttributeValue

from tollspan import safety, semconv
from tollspan.usage import TOOL_PROVIDER, Call, CallDeniedError, Request, UsageEvent

from ._worker import Worker


class Observer(Protocol):
    """Is told of calls in the worker, after their metrics were recorded."""

    def record(self, event: UsageEvent) -> None:
        """Look at a finished call."""
        ...

    def deny(self, denial: CallDeniedError) -> None:
        """Look at a refusal."""
        ...


class MetricsRecorder:
    """Records duration, tokens, cost and decisions; the caller's thread only enqueues."""

    def __init__(self, meter: Meter, worker: Worker, observer: Observer | None = None) -> None:
        self._worker = worker
        self._observer = observer
        self._duration = meter.create_histogram(
            semconv.METRIC_OPERATION_DURATION,
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=semconv.DURATION_BUCKETS_SECONDS,
        )
        self._tool_duration = meter.create_histogram(
            semconv.METRIC_TOOL_DURATION,
            unit="s",
            description="Duration of a tool's execution.",
            explicit_bucket_boundaries_advisory=semconv.DURATION_BUCKETS_SECONDS,
        )
        self._mcp_duration = meter.create_histogram(
            semconv.METRIC_MCP_DURATION,
            unit="s",
            description="Duration of a request to an MCP server.",
            explicit_bucket_boundaries_advisory=semconv.MCP_BUCKETS_SECONDS,
        )
        self._tokens = meter.create_histogram(
            semconv.METRIC_TOKEN_USAGE,
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=semconv.TOKEN_BUCKETS_TOKENS,
        )
        self._cost = meter.create_counter(
            semconv.METRIC_COST, unit="USD", description="Cost of calls, as priced by tollspan."
        )
        self._decisions = meter.create_counter(
            semconv.METRIC_DECISIONS, unit="{call}", description="Decisions of the budget gate."
        )
        self._unpriced = meter.create_counter(
            semconv.METRIC_UNPRICED,
            unit="{call}",
            description="Calls without a full price: they are never counted as free.",
        )
        meter.create_observable_counter(
            semconv.METRIC_INTERNAL_ERRORS,
            callbacks=[_internal_errors],
            unit="{error}",
            description="tollspan's own failures; the program's calls went on without it.",
        )

    def record(
        self, event: UsageEvent, context: Context | None, *, is_counted_elsewhere: bool
    ) -> None:
        """Enqueue a finished call."""
        self._worker.put(
            lambda: self._record(event, context, is_counted_elsewhere=is_counted_elsewhere)
        )
        self._worker.start()

    def deny(self, call: Call, denial: CallDeniedError) -> None:
        """Enqueue a refusal."""
        attributes = _attributes(call)
        attributes[semconv.TOLLSPAN_DECISION] = "deny"
        attributes[semconv.ERROR_TYPE] = denial.error_type
        if denial.rule_id is not None:
            attributes[semconv.TOLLSPAN_RULE_ID] = denial.rule_id
        self._worker.put(lambda: self._deny(denial, attributes))
        self._worker.start()

    def _deny(self, denial: CallDeniedError, attributes: dict[str, AttributeValue]) -> None:
        self._decisions.add(1, attributes)
        if self._observer is not None:
            self._observer.deny(denial)

    def _record(
        self, event: UsageEvent, context: Context | None, *, is_counted_elsewhere: bool
    ) -> None:
        attributes = _attributes(event.call)
        outcome = event.outcome
        if outcome.response.model is not None:
            attributes[semconv.GEN_AI_RESPONSE_MODEL] = outcome.response.model
        if outcome.error_type is not None:
            attributes[semconv.ERROR_TYPE] = outcome.error_type
        if not is_counted_elsewhere:
            self._record_standard(event, attributes, context)
        self._decisions.add(
            1, {**attributes, semconv.TOLLSPAN_DECISION: event.decision.action}, context
        )
        amount = event.cost.amount_nanousd
        if amount is not None:
            self._cost.add(amount / 1e9, attributes, context)
        if event.cost.status in ("unpriced", "partial"):
            self._unpriced.add(1, attributes, context)
        if self._observer is not None:
            self._observer.record(event)

    def _record_standard(
        self, event: UsageEvent, attributes: dict[str, AttributeValue], context: Context | None
    ) -> None:
        """Record the conventions' own metrics; what is only reported has no duration."""
        call, seconds = event.call, event.outcome.duration_ns / 1e9
        if call.request.provider == TOOL_PROVIDER:
            if call.door != "report":
                is_mcp = call.request.server is not None
                duration = self._mcp_duration if is_mcp else self._tool_duration
                duration.record(seconds, attributes, context)
            return
        self._duration.record(seconds, attributes, context)
        usage = event.usage
        if usage is not None and usage.status != "unknown":
            for kind, count in (("input", usage.input_tokens), ("output", usage.output_tokens)):
                self._tokens.record(count, {**attributes, semconv.GEN_AI_TOKEN_TYPE: kind}, context)


def _attributes(call: Call) -> dict[str, AttributeValue]:
    request = call.request
    if request.provider == TOOL_PROVIDER:
        return _tool_attributes(request)
    attributes: dict[str, AttributeValue] = {
        semconv.GEN_AI_OPERATION_NAME: request.operation,
        semconv.GEN_AI_PROVIDER_NAME: request.provider,
        semconv.GEN_AI_REQUEST_MODEL: request.model,
        semconv.SERVER_ADDRESS: request.host,
    }
    if request.port is not None:
        attributes[semconv.SERVER_PORT] = request.port
    return attributes


def _tool_attributes(request: Request) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        semconv.GEN_AI_OPERATION_NAME: request.operation,
        semconv.GEN_AI_TOOL_NAME: request.model,
    }
    if request.server is None:
        attributes[semconv.GEN_AI_TOOL_TYPE] = semconv.TOOL_TYPE_FUNCTION
    else:
        attributes[semconv.MCP_METHOD_NAME] = semconv.METHOD_TOOLS_CALL
    return attributes


def _internal_errors(_: CallbackOptions) -> list[Observation]:
    return [
        Observation(count, {semconv.TOLLSPAN_PLACE: place, semconv.ERROR_TYPE: kind})
        for (place, kind), count in list(safety.internal_errors.items())
    ]
