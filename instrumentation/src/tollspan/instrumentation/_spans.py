"""Spans of calls, by OpenTelemetry's API alone; and metrics, recorded in the worker.

Where another instrumentor makes the span, ours marks that one and makes none of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from operator import attrgetter
from typing import Any, Protocol

from opentelemetry import trace
from opentelemetry.context import Context, create_key, get_current, get_value, set_value
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Status,
    StatusCode,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from tollspan import semconv
from tollspan.budget import Decision
from tollspan.safety import Guard
from tollspan.usage import TOOL_PROVIDER, Call, CallDeniedError, DecisionNote, Usage, UsageEvent

from ._suppression import is_suppressed
from ._timing import Arrivals

DIMENSIONS = (
    (semconv.TOLLSPAN_CUSTOMER_ID, "customer"),
    (semconv.SESSION_ID, "session"),
    (semconv.USER_ID, "user"),
    (semconv.GEN_AI_AGENT_NAME, "agent"),
    (semconv.TOLLSPAN_FEATURE, "feature"),
    (semconv.TOLLSPAN_STEP, "step"),
    (semconv.TOLLSPAN_TEAM, "team"),
    (semconv.TOLLSPAN_PROJECT, "project"),
)
"""Attributes of who pays, and the fields of an attribution that they are read from."""
# What the conventions call inference: their cost attributes belong to no other span.
_INFERENCE = frozenset({semconv.OPERATION_CHAT, semconv.OPERATION_TEXT_COMPLETION})
WITHOUT_OUTPUT = frozenset({semconv.OPERATION_EMBEDDINGS, semconv.OPERATION_MODERATION})
"""Operations that have no output tokens: none are told, not 0."""
# The conventions have a name of the tier for each protocol.
_TIER = semconv.OPENAI_RESPONSE_SERVICE_TIER
_TIERS = {semconv.PROVIDER_ANTHROPIC: semconv.ANTHROPIC_RESPONSE_SERVICE_TIER}
_not_text = attrgetter(
    "audio_in", "audio_cache_read", "image_in", "image_cache_read", "video_in", "audio_out",
    "image_out", "video_out",
)  # fmt: skip
_OPENINFERENCE_KINDS = ("LLM", "EMBEDDING")
_CALL_SPAN = create_key("tollspan-call-span")


class TracerSource(Protocol):
    """Says which tracer to use now; None while nobody collects spans."""

    def __call__(self) -> trace.Tracer | None:
        """Return the tracer in force."""
        ...


class Ended(Protocol):
    """What metrics need to know of a call besides its event; see `Run`."""

    @property
    def call(self) -> Call: ...
    @property
    def span(self) -> CallSpan | None: ...
    @property
    def started_at_ns(self) -> int: ...
    @property
    def decided_at_ns(self) -> int: ...
    @property
    def arrivals(self) -> Arrivals | None: ...


class Recorder(Protocol):
    """Takes finished calls for metrics and logs; must not block."""

    def record(self, event: UsageEvent, run: Ended) -> None:
        """Record a call; the conventions' own metrics only where nobody else does."""
        ...

    def deny(self, run: Ended, denial: CallDeniedError, context: Context | None) -> None:
        """Record a refusal, in the context of its span."""
        ...


class Others(Protocol):
    """Finds out what other instrumentors do for the calls of one method."""

    def make_spans(self, asked: Any) -> bool:
        """Say whether another instrumentor makes the span of this call."""
        ...

    def record_metrics(self) -> bool:
        """Say whether it records the conventions' metrics too; asked after `make_spans`."""
        ...


class OwnSpan:
    """A call that says itself how its span looks: one of a tool, and not of a model.

    Attributes:
        span: The span of ours, once it has started.
    """

    span: Span | None = None

    def shape(self) -> tuple[str, SpanKind, dict[str, AttributeValue]]:
        """Return the span's name, its kind and what its attributes are at the start."""
        raise NotImplementedError


class Asking(Protocol):
    """What spans need to know of the way in which a call is asked; see `Extractor`."""

    @property
    def others(self) -> Others: ...

    def details(self, asked: Any) -> Mapping[str, AttributeValue] | None:
        """Return what a span says of the request beyond its `Request`; None for nothing."""
        ...


class CallSpan:
    """The span of one call: ours, or another instrumentor's that we only mark.

    Attributes:
        span: The span; an invalid one while the other instrumentor has not started its own.
        is_ours: We started it and end it.
        context: What the provider's method runs in.
        traceparent: The span's W3C name; None while there is no span.
        error: What the call raised.
        marks: What to stamp on every other instrumentor's span of this call.
        is_counted: Another instrumentor records the conventions' metrics of this call.
    """

    __slots__ = ("context", "error", "is_counted", "is_ours", "marks", "span", "traceparent")

    def __init__(self, span: Span, *, is_ours: bool) -> None:
        self.is_ours = is_ours
        self.context = set_span_in_context(span)
        self.error: BaseException | None = None
        self.marks: dict[str, AttributeValue] = {}
        self.is_counted = False
        self.take(span)

    @classmethod
    def of_others(
        cls, span: Span | None, marks: dict[str, AttributeValue], *, is_counted: bool
    ) -> CallSpan:
        """Stamp another instrumentor's span, or the one that it is going to start under us."""
        made = cls.__new__(cls)
        made.is_ours = False
        made.error = None
        made.marks = marks
        made.is_counted = is_counted
        made.take(span if span is not None else INVALID_SPAN)
        made.context = set_value(_CALL_SPAN, made, get_current())
        return made

    def take(self, span: Span) -> None:
        """Let this be the span of the call."""
        self.span = span
        of = span.get_span_context()
        self.traceparent = (
            f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}" if of.is_valid else None
        )
        if self.marks:
            span.set_attributes(self.marks)


def mark_inner_span() -> None:
    """Stamp the span that an instrumentor under ours has started: called as the SDK sends.

    Where there was no span when the call came to us, it becomes the span of the call.
    """
    of_call = get_value(_CALL_SPAN)
    if not isinstance(of_call, CallSpan):
        return
    span = trace.get_current_span()
    if span is of_call.span or not _is_generative(span):
        return
    if of_call.traceparent is None:
        of_call.take(span)
    else:
        span.set_attributes(of_call.marks)


def _is_generative(span: Span, operation: str | None = None) -> bool:
    """Say whether a span is another instrumentor's of one call to a model."""
    attributes = getattr(span, "attributes", None)
    if not attributes or not span.is_recording():
        return False
    found = attributes.get(semconv.GEN_AI_OPERATION_NAME)
    if found is None:
        return attributes.get(semconv.OPENINFERENCE_SPAN_KIND) in _OPENINFERENCE_KINDS
    return operation is None or found == operation


def _has_no_provider() -> bool:
    """Say whether spans of instrumentors that were handed no provider go nowhere."""
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


class SpanEmitter:
    """Starts and ends the spans of calls, and never raises: whoever calls it needs no guard.

    Args:
        tracer: Which tracer to use.
        recorder: Where metrics go.
        is_enabled: False makes no spans at all; the gate does not care.
        tells_semconv_cost: Put the cost on spans under the conventions' names too, which are not
            settled.

    Attributes:
        tracer: Which tracer to use; may be another one from now on.
        is_enabled: May be switched at any time.
    """

    def __init__(
        self,
        *,
        tracer: TracerSource,
        recorder: Recorder | None,
        is_enabled: bool = True,
        tells_semconv_cost: bool = False,
    ) -> None:
        self.tracer = tracer
        self._recorder = recorder
        self.is_enabled = is_enabled
        self._end_attributes = _end_attributes_and_cost if tells_semconv_cost else _end_attributes
        self._dimensions: tuple[object, dict[str, AttributeValue]] = (None, {})
        self._guard = Guard("instrumentation.spans")

    def apart(self) -> SpanEmitter:
        """Return one more, with a switch and a tracer of its own, to start spans with."""
        return copy(self)

    def start(
        self, call: Call, decision: Decision, asking: Asking, asked: object
    ) -> CallSpan | None:
        """Start the span of a call, or take the one that another instrumentor has started."""
        if not self.is_enabled:
            return None
        with self._guard:
            others = asking.others
            is_foreign = others.make_spans(asked)
            tracer = self.tracer()
            if not (is_foreign or tracer) or is_suppressed():
                return None
            if is_foreign and (
                marked := self._mark_foreign(call, decision, others, has_tracer=tracer is not None)
            ):
                return marked
            if tracer is not None:
                if isinstance(asked, OwnSpan):
                    return self._start_own(tracer, call, decision, asked)
                return self._start_ours(tracer, call, decision, asking.details(asked))
        return None

    def _start_ours(
        self,
        tracer: trace.Tracer,
        call: Call,
        decision: Decision,
        details: Mapping[str, AttributeValue] | None,
    ) -> CallSpan:
        request = call.request
        action = decision.note.action
        attributes: dict[str, AttributeValue] = {
            semconv.GEN_AI_OPERATION_NAME: request.operation,
            semconv.GEN_AI_PROVIDER_NAME: request.provider,
            semconv.GEN_AI_REQUEST_MODEL: request.model,
            semconv.SERVER_ADDRESS: request.host,
            semconv.TOLLSPAN_CALL_ID: call.id,
            semconv.TOLLSPAN_DECISION: action,
        }
        if action != "allow":
            _add_decision(attributes, decision)
        if request.port is not None:
            attributes[semconv.SERVER_PORT] = request.port
        if request.max_output_tokens:
            attributes[semconv.GEN_AI_REQUEST_MAX_TOKENS] = request.max_output_tokens
        if request.is_stream:
            attributes[semconv.GEN_AI_REQUEST_STREAM] = True
        if request.choices != 1:
            attributes[semconv.GEN_AI_REQUEST_CHOICE_COUNT] = request.choices
        if details is not None:
            attributes.update(details)
        attributes.update(self._attribution_attributes(call))
        span = tracer.start_span(
            f"{request.operation} {request.model}", kind=SpanKind.CLIENT, attributes=attributes
        )
        return CallSpan(span, is_ours=True)

    def _start_own(
        self, tracer: trace.Tracer, call: Call, decision: Decision, asked: OwnSpan
    ) -> CallSpan:
        name, kind, attributes = asked.shape()
        attributes[semconv.TOLLSPAN_CALL_ID] = call.id
        _add_decision(attributes, decision)
        attributes.update(self._attribution_attributes(call))
        asked.span = tracer.start_span(name, kind=kind, attributes=attributes)
        return CallSpan(asked.span, is_ours=True)

    def end(self, run: Ended, event: UsageEvent) -> None:
        """Record metrics, put usage and cost on the span, and end it if it is ours."""
        with self._guard:
            if self._recorder is not None:
                self._recorder.record(event, run)
            of_call = run.span
            if of_call is not None:
                span = of_call.span
                if not of_call.is_ours:
                    if span.is_recording():
                        span.set_attributes(_cost_attributes(event))
                else:
                    if span.is_recording():
                        span.set_attributes(self._end_attributes(event))
                        if event.outcome.status not in ("ok", "partial"):
                            span.set_status(Status(StatusCode.ERROR, _description(of_call.error)))
                    span.end()

    def deny(self, of_call: CallSpan | None, run: Ended, denial: CallDeniedError) -> None:
        """Record the refusal, mark the span as refused and end it if it is ours."""
        with self._guard:
            if self._recorder is not None:
                context = of_call.context if of_call is not None else None
                self._recorder.deny(run, denial, context)
            if of_call is not None:
                _deny(of_call, denial)

    def _mark_foreign(
        self, call: Call, decision: Decision, others: Others, *, has_tracer: bool
    ) -> CallSpan | None:
        """Stamp the GenAI span that is current, else the one that will be when the SDK sends.

        None for a refused call that has no span: an instrumentor under ours will never see it. And
        None for a call whose span would go nowhere, as the program has no provider, if a private
        one takes ours.
        """
        span = trace.get_current_span()
        is_current = _is_generative(span, call.request.operation)
        if not is_current and (decision.denial is not None or (has_tracer and _has_no_provider())):
            return None
        marks: dict[str, AttributeValue] = {
            semconv.TOLLSPAN_CALL_ID: call.id,
            **self._attribution_attributes(call),
        }
        _add_decision(marks, decision)
        return CallSpan.of_others(
            span if is_current else None, marks, is_counted=others.record_metrics()
        )

    def _attribution_attributes(self, call: Call) -> dict[str, AttributeValue]:
        """Return the dimensions as span attributes, kept for the attribution met last."""
        attribution = call.attribution
        seen, attributes = self._dimensions
        if seen is attribution:
            return attributes
        attributes = {
            name: value
            for name, field in DIMENSIONS
            if (value := getattr(attribution, field)) is not None
        }
        for name, value in attribution.tags:
            attributes[f"{semconv.TOLLSPAN_TAG_PREFIX}{name}"] = value
        self._dimensions = (attribution, attributes)
        return attributes


def _add_decision(attributes: dict[str, AttributeValue], decision: Decision) -> None:
    """Say what the gate said; and where it was no plain yes, by which rule first."""
    note = decision.note
    attributes[semconv.TOLLSPAN_DECISION] = note.action
    if note.action != "allow" and note.rule_ids:
        attributes[semconv.TOLLSPAN_RULE_ID] = note.rule_ids[0]
    add_change(attributes, note)


def add_change(attributes: dict[str, AttributeValue], note: DecisionNote) -> None:
    """Say what went out instead of what was asked for."""
    if note.asked_model is not None:
        attributes[semconv.TOLLSPAN_ASKED_MODEL] = note.asked_model
    if note.clamped_to is not None:
        attributes[semconv.TOLLSPAN_CLAMPED_TO] = note.clamped_to
    if note.clamped_from is not None:
        attributes[semconv.TOLLSPAN_CLAMPED_FROM] = note.clamped_from


def _deny(of_call: CallSpan, denial: CallDeniedError) -> None:
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
        provider = event.call.request.provider
        attributes[_TIERS.get(provider, _TIER)] = response.service_tier
    if outcome.first_chunk_ns is not None:
        attributes[semconv.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] = outcome.first_chunk_ns / 1e9
    if outcome.error_type is not None:
        attributes[semconv.ERROR_TYPE] = outcome.error_type
    usage = event.usage
    if usage is None or usage.status == "unknown" or event.call.request.provider == TOOL_PROVIDER:
        return attributes
    _add_usage(attributes, usage, event.call.request.operation)
    return attributes


def _end_attributes_and_cost(event: UsageEvent) -> dict[str, AttributeValue]:
    attributes = _end_attributes(event)
    cost = event.cost
    if cost.amount_nanousd is not None and event.call.request.operation in _INFERENCE:
        attributes[semconv.GEN_AI_USAGE_COST_AMOUNT] = cost.amount_nanousd / 1e9
        attributes[semconv.GEN_AI_USAGE_COST_CURRENCY] = "USD"
        attributes[semconv.GEN_AI_USAGE_COST_SOURCE] = (
            "provider" if cost.settled_by == "reported" else "local"
        )
    return attributes


def _add_usage(attributes: dict[str, AttributeValue], usage: Usage, operation: str) -> None:
    """Put usage in as the conventions' inclusive sums."""
    attributes[semconv.GEN_AI_USAGE_INPUT_TOKENS] = usage.input_tokens
    if operation not in WITHOUT_OUTPUT:
        attributes[semconv.GEN_AI_USAGE_OUTPUT_TOKENS] = usage.output_tokens
    if usage.cache_read:
        attributes[semconv.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS] = usage.cache_read
    written = usage.cache_write + usage.cache_write_5m + usage.cache_write_1h
    if written:
        attributes[semconv.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS] = written
    if usage.reasoning:
        attributes[semconv.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS] = usage.reasoning
    if any(_not_text(usage)):
        attributes.update(_by_modality(usage))


def _by_modality(usage: Usage) -> dict[str, AttributeValue]:
    """Return what there is to tell of a call that had other tokens than text."""
    audio = usage.audio_in + usage.audio_cache_read
    image = usage.image_in + usage.image_cache_read
    cached = usage.cache_read + usage.audio_cache_read + usage.image_cache_read
    counts = {
        semconv.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: cached,
        semconv.GEN_AI_USAGE_TEXT_INPUT_TOKENS: usage.input_tokens - audio - image - usage.video_in,
        semconv.GEN_AI_USAGE_AUDIO_INPUT_TOKENS: audio,
        semconv.GEN_AI_USAGE_IMAGE_INPUT_TOKENS: image,
        semconv.GEN_AI_USAGE_VIDEO_INPUT_TOKENS: usage.video_in,
        semconv.GEN_AI_USAGE_TEXT_OUTPUT_TOKENS: usage.output + usage.reasoning,
        semconv.GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS: usage.audio_out,
        semconv.GEN_AI_USAGE_IMAGE_OUTPUT_TOKENS: usage.image_out,
    }
    return {name: count for name, count in counts.items() if count}


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
