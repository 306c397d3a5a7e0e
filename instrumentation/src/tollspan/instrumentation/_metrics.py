"""Metrics of calls: handed to the worker, recorded there with the span's context for exemplars."""

from __future__ import annotations

from typing import ClassVar, Protocol

from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram, Meter
from opentelemetry.util.types import AttributeValue

from tollspan import safety, semconv
from tollspan.usage import TOKEN_BUCKETS, Attribution, Call, CallDeniedError, Request, UsageEvent

from ._decision_log import DecisionLog
from ._observables import States, observe_states
from ._spans import DIMENSIONS, WITHOUT_OUTPUT, Ended
from ._warning_log import AnyWarning, warning_reason
from ._worker import Worker

Attributes = dict[str, AttributeValue]


class MeterSource(Protocol):
    """Says which meter to use now; None while nobody collects metrics."""

    def __call__(self) -> Meter | None:
        """Return the meter in force."""
        ...


class Observer(Protocol):
    """Is told of calls in the worker, after their metrics were recorded."""

    def record(self, event: UsageEvent) -> None:
        """Look at a finished call."""
        ...

    def deny(self, denial: CallDeniedError) -> None:
        """Look at a refusal."""
        ...


class MetricsRecorder:
    """Records what calls took, used and cost; the caller's thread only enqueues.

    Args:
        meter: Which meter to use.
        worker: Does the recording.
        states: How budgets and the outbox stand.
        log: Tells decisions to the logs; None not to.
        dimensions: Attribution that is a label of our own metrics.
        observer: Is told of every call and refusal after that, also where nobody measures.
    """

    _in_force: ClassVar[MetricsRecorder | None] = None

    def __init__(
        self,
        meter: MeterSource,
        worker: Worker,
        *,
        states: States,
        log: DecisionLog | None = None,
        dimensions: frozenset[str] = frozenset(),
        observer: Observer | None = None,
    ) -> None:
        self._meter = meter
        self._worker = worker
        self.states = states
        self._log = log
        self._observer = observer
        self._guard = safety.Guard("instrumentation.metrics")
        self._labels = [(name, field) for name, field in DIMENSIONS if field in dimensions]
        self._instruments: _Instruments | None = None
        MetricsRecorder._in_force = self

    def record(self, event: UsageEvent, run: Ended) -> None:
        """Enqueue a finished call."""
        worker = self._worker
        worker.put(lambda: self._record(event, run))
        if worker.thread is None:  # a call less than asking it to look for itself
            worker.start()

    def count(self, event: UsageEvent) -> None:
        """Count a call that only somebody else's span tells of; in the worker."""
        to = self._ready()
        if to is None:
            return
        attributes = {**_attributes(event.call), **self._labels_of(event.call.attribution)}
        decision: Attributes = {semconv.TOLLSPAN_DECISION: event.decision.action}
        to.decisions.add(1, {**attributes, **decision})
        if event.cost.amount_nanousd is not None:
            to.cost.add(event.cost.amount_nanousd / 1e9, attributes)
        to.count_tokens(event, attributes)
        if event.cost.status in ("unpriced", "partial"):
            to.unpriced.add(1, attributes)
        if "overrun" in event.marks:
            to.overruns.add(1, attributes)

    def deny(self, run: Ended, denial: CallDeniedError, context: Context | None) -> None:
        """Enqueue a refusal."""
        self._worker.put(lambda: self._deny(run, denial, context))
        self._worker.start()

    def warn(self, warning: AnyWarning) -> None:
        """Count a warning, and tell it to the logs; in the worker."""
        with self._guard:
            if self._log is not None:
                self._log.warned(warning)
            to = self._ready()
            if to is not None:
                reason = warning_reason(warning)
                to.warnings.add(
                    1,
                    {
                        semconv.TOLLSPAN_RULE_ID: warning.rule_id,
                        semconv.TOLLSPAN_WARNING_REASON: reason,
                    },
                )

    def look(self) -> None:
        """See whether there is a meter by now: its reader wants to see budgets before any call."""
        self._ready()

    def close(self) -> None:
        """Observe nothing any more."""
        if MetricsRecorder._in_force is self:
            MetricsRecorder._in_force = None

    @classmethod
    def observed(cls) -> States | None:
        """Return what an instrument observes: the same one outlives what was installed."""
        return cls._in_force.states if cls._in_force is not None else None

    def _ready(self) -> _Instruments | None:
        """Return the instruments in force: made anew when there is another meter."""
        meter = self._meter()
        made = self._instruments
        if meter is None or (made is not None and made.meter is meter):
            return made if meter is not None else None
        made = self._instruments = _Instruments(meter)
        return made

    def _record(self, event: UsageEvent, run: Ended) -> None:
        with self._guard:
            self._measure(event, run)
        if self._observer is not None:
            self._observer.record(event)

    def _measure(self, event: UsageEvent, run: Ended) -> None:
        span = run.span
        context = span.context if span is not None else None
        if self._log is not None and event.decision.action != "allow":
            self._log.passed(event, context)
        to = self._ready()
        if to is None:
            return
        attributes = _attributes(event.call)
        outcome = event.outcome
        if outcome.response.model is not None:
            attributes[semconv.GEN_AI_RESPONSE_MODEL] = outcome.response.model
        if outcome.error_type is not None:
            attributes[semconv.ERROR_TYPE] = outcome.error_type
        if span is None or not span.is_counted:
            to.record_standard(event, run, attributes, context)
        decision: Attributes = {semconv.TOLLSPAN_DECISION: event.decision.action}
        ours = {**attributes, **self._labels_of(event.call.attribution)}
        to.decisions.add(1, {**ours, **decision}, context)
        to.record_gate(run, decision, context)
        amount = event.cost.amount_nanousd
        if amount is not None:
            to.cost.add(amount / 1e9, ours, context)
        to.count_tokens(event, ours, context)
        if event.cost.status in ("unpriced", "partial"):
            to.unpriced.add(1, ours, context)
        if "overrun" in event.marks:
            to.overruns.add(1, ours, context)

    def _deny(self, run: Ended, denial: CallDeniedError, context: Context | None) -> None:
        with self._guard:
            self._measure_refusal(run, denial, context)
        if self._observer is not None:
            self._observer.deny(denial)

    def _measure_refusal(
        self, run: Ended, denial: CallDeniedError, context: Context | None
    ) -> None:
        if self._log is not None:
            self._log.denied(run.call, denial, context)
        to = self._ready()
        if to is None:
            return
        decision: Attributes = {semconv.TOLLSPAN_DECISION: "deny"}
        to.record_gate(run, decision, context)
        attributes = {
            **_attributes(run.call),
            **self._labels_of(run.call.attribution),
            **decision,
            semconv.ERROR_TYPE: denial.error_type,
        }
        if denial.rule_id is not None:
            attributes[semconv.TOLLSPAN_RULE_ID] = denial.rule_id
        to.decisions.add(1, attributes, context)

    def _labels_of(self, attribution: Attribution) -> Attributes:
        return {
            name: value
            for name, field in self._labels
            if (value := getattr(attribution, field)) is not None
        }


class _Instruments:
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.duration = _histogram(meter, semconv.METRIC_OPERATION_DURATION)
        self.tokens = _histogram(meter, semconv.METRIC_TOKEN_USAGE)
        self.first_chunk = _histogram(meter, semconv.METRIC_TIME_TO_FIRST_CHUNK)
        self.next_chunk = _histogram(meter, semconv.METRIC_TIME_PER_OUTPUT_CHUNK)
        self.tool_duration = _histogram(meter, semconv.METRIC_EXECUTE_TOOL_DURATION)
        self.mcp_duration = _histogram(meter, semconv.METRIC_MCP_DURATION)
        self.gate = _histogram(meter, semconv.METRIC_GATE_DURATION)
        self.cost = _counter(meter, semconv.METRIC_COST)
        self.bucket_tokens = _counter(meter, semconv.METRIC_TOKENS)
        self.decisions = _counter(meter, semconv.METRIC_DECISIONS)
        self.unpriced = _counter(meter, semconv.METRIC_UNPRICED)
        self.overruns = _counter(meter, semconv.METRIC_OVERRUNS)
        self.warnings = _counter(meter, semconv.METRIC_WARNINGS)
        observe_states(meter, MetricsRecorder.observed)

    def record_standard(
        self, event: UsageEvent, run: Ended, attributes: Attributes, context: Context | None
    ) -> None:
        """Record the conventions' own metrics; what is only reported has no duration."""
        outcome, request = event.outcome, event.call.request
        operation = request.operation
        if operation == semconv.OPERATION_EXECUTE_TOOL:
            if event.call.door != "report":
                duration = self.tool_duration if request.server is None else self.mcp_duration
                duration.record(outcome.duration_ns / 1e9, attributes, context)
            return
        self.duration.record(outcome.duration_ns / 1e9, attributes, context)
        if outcome.first_chunk_ns is not None:
            self.first_chunk.record(outcome.first_chunk_ns / 1e9, attributes, context)
        if run.arrivals is not None:
            for gap in run.arrivals.gaps_seconds(run.started_at_ns + outcome.duration_ns):
                self.next_chunk.record(gap, attributes, context)
        usage = event.usage
        if usage is None or usage.status == "unknown":
            return
        counts = {"input": usage.input_tokens, "output": usage.output_tokens}
        if operation in WITHOUT_OUTPUT:
            del counts["output"]
        for kind, count in counts.items():
            self.tokens.record(count, {**attributes, semconv.GEN_AI_TOKEN_TYPE: kind}, context)

    def count_tokens(
        self, event: UsageEvent, attributes: Attributes, context: Context | None = None
    ) -> None:
        """Count tokens by bucket, where any are known."""
        for bucket in TOKEN_BUCKETS if event.usage is not None else ():
            count = getattr(event.usage, bucket)
            if count:
                of_bucket = {**attributes, semconv.TOLLSPAN_TOKEN_BUCKET: bucket}
                self.bucket_tokens.add(count, of_bucket, context)

    def record_gate(self, run: Ended, decision: Attributes, context: Context | None) -> None:
        """Record how long the gate took, where it was asked."""
        if run.decided_at_ns:
            self.gate.record((run.decided_at_ns - run.started_at_ns) / 1e9, decision, context)


def _histogram(meter: Meter, metric: semconv.Metric) -> Histogram:
    return meter.create_histogram(
        metric.name,
        unit=metric.unit,
        description=metric.description,
        explicit_bucket_boundaries_advisory=metric.buckets,
    )


def _counter(meter: Meter, metric: semconv.Metric) -> Counter:
    return meter.create_counter(metric.name, unit=metric.unit, description=metric.description)


def _attributes(call: Call) -> Attributes:
    request = call.request
    if request.operation == semconv.OPERATION_EXECUTE_TOOL:
        return _tool_attributes(request)
    attributes: Attributes = {
        semconv.GEN_AI_OPERATION_NAME: request.operation,
        semconv.GEN_AI_PROVIDER_NAME: request.provider,
        semconv.GEN_AI_REQUEST_MODEL: request.model,
        semconv.SERVER_ADDRESS: request.host,
    }
    if request.port is not None:
        attributes[semconv.SERVER_PORT] = request.port
    return attributes


def _tool_attributes(request: Request) -> Attributes:
    attributes: Attributes = {
        semconv.GEN_AI_OPERATION_NAME: request.operation,
        semconv.GEN_AI_TOOL_NAME: request.model,
    }
    if request.server is None:
        attributes[semconv.GEN_AI_TOOL_TYPE] = semconv.TOOL_TYPE_FUNCTION
    else:
        attributes[semconv.MCP_METHOD_NAME] = semconv.METHOD_TOOLS_CALL
    return attributes
