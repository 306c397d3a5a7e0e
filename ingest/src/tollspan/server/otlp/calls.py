"""Turns spans that were sent into priced usage events, and says by what each call can be known."""

from __future__ import annotations

import hashlib
from typing import Final, Protocol, cast, get_args

import msgspec

from tollspan import semconv
from tollspan.ledger.central import ToldCall
from tollspan.usage import (
    OURS,
    TOOL_CALLS,
    TOOL_PROVIDER,
    Attribution,
    AttributionError,
    Call,
    Cost,
    CostStatus,
    DecisionNote,
    ForeignSpan,
    Outcome,
    Request,
    Response,
    Usage,
    UsageEvent,
    UsageStatus,
    check_value,
    foreign_call,
    foreign_outcome,
    read_attribution,
    read_span,
)

from .sent import ENVIRONMENTS, OWNERS, TAGS, SentSpan, SpanError, Value

DOOR: Final = "otlp"
_NOT_BILLED: Final = Cost(status="not_billed", amount_nanousd=0)
_COST_STATUSES: Final[tuple[str, ...]] = get_args(CostStatus)
_USAGE_STATUSES: Final[tuple[str, ...]] = get_args(UsageStatus)
_MOST_NANOUSD: Final = 10**16
_WITH_AMOUNT: Final = ("priced", "partial", "not_billed")
_DENIED: Final = "deny"
_LONGEST_NAME: Final = 512
_OWNED: Final = {
    name: (dimension, order)
    for dimension, names in {
        **OWNERS,
        "service": (semconv.SERVICE_NAME,),
        "environment": ENVIRONMENTS,
    }.items()
    for order, name in enumerate(names)
}
_LAST: Final = (1_000, "")


class Rates(Protocol):
    """The part of a price book that is needed here."""

    def rate(
        self, request: Request, response: Response, usage: Usage, at_unix_ns: int, *, ceiling: bool
    ) -> Cost:
        """Price what a call used."""
        ...


def told_call(span: SentSpan, rates: Rates) -> ToldCall | None:
    """Return the call that a span tells of; None for one that is no call, or was refused.

    Args:
        span: As it was sent.
        rates: What calls cost.

    Raises:
        SpanError: It says what can't be.
        PriceBookError: The price book can't be read.
    """
    said = span.attributes
    if said.get(semconv.TOLLSPAN_DECISION) == _DENIED:
        return None
    found = read_span(span.scope, said, span.version, with_ours=True)
    event = _tool_event(span, rates) if found is None else _event(span, found, rates)
    if event is None:
        return None
    call_id = said.get(semconv.TOLLSPAN_CALL_ID)
    return ToldCall(
        event=event,
        call_id=call_id if isinstance(call_id, str) and 0 < len(call_id) <= 128 else None,
        scope=span.scope,
        is_framework=found is not None and found.dialect.sdk is None and span.scope != OURS,
        parent_id=span.parent_id,
    )


def _event(span: SentSpan, found: ForeignSpan, rates: Rates) -> UsageEvent:
    for name, text in (("provider", found.provider), ("model", found.model)):
        if len(text) > _LONGEST_NAME:
            raise SpanError(f"{name} has {len(text)} characters; expected up to {_LONGEST_NAME}")
    call = foreign_call(
        found,
        int(span.trace_id, 16),
        int(span.span_id, 16),
        started_at_unix_ns=span.started_at_unix_ns,
        attribution=owner_of(span),
        door=DOOR,
        call_id=event_id_of(span.trace_id, span.span_id),
    )
    outcome, usage = foreign_outcome(
        found,
        duration_ns=span.ended_at_unix_ns - span.started_at_unix_ns,
        is_error=span.is_error,
    )
    usage = _our_status(span, usage)
    cost = _our_cost(span) or (
        _NOT_BILLED
        if usage is None
        else rates.rate(
            call.request, outcome.response, usage, call.started_at_unix_ns, ceiling=False
        )
    )
    return _made(span, call, outcome, usage, cost)


def _tool_event(span: SentSpan, rates: Rates) -> UsageEvent | None:
    """Return the event of a tool's call that has a price; None for everything else."""
    said = span.attributes
    tool = said.get(semconv.GEN_AI_TOOL_NAME)
    if said.get(semconv.GEN_AI_OPERATION_NAME) != semconv.OPERATION_EXECUTE_TOOL:
        return None
    if not isinstance(tool, str) or not 0 < len(tool) <= _LONGEST_NAME:
        return None
    request = Request(provider=TOOL_PROVIDER, operation=semconv.OPERATION_EXECUTE_TOOL, model=tool)
    outcome = Outcome(
        status="error" if span.is_error else "ok",
        duration_ns=max(0, span.ended_at_unix_ns - span.started_at_unix_ns),
        error_type="_OTHER" if span.is_error else None,
    )
    usage = Usage(quantities=((TOOL_CALLS, 1),))
    cost = _our_cost(span) or rates.rate(
        request, outcome.response, usage, span.started_at_unix_ns, ceiling=False
    )
    if cost.amount_nanousd is None:
        return None
    call = Call(
        id=event_id_of(span.trace_id, span.span_id),
        started_at_unix_ns=span.started_at_unix_ns,
        request=request,
        attribution=owner_of(span),
        door=DOOR,
    )
    return _made(span, call, outcome, usage, cost)


def _made(
    span: SentSpan, call: Call, outcome: Outcome, usage: Usage | None, cost: Cost
) -> UsageEvent:
    return UsageEvent(
        call=call,
        decision=DecisionNote(mode="off"),
        outcome=outcome,
        usage=usage,
        cost=cost,
        traceparent=f"00-{span.trace_id}-{span.span_id}-00",
    )


def event_id_of(trace_id: str, span_id: str) -> str:
    """Return the id of the event that a span makes here.

    It follows from the span, so that a span that is sent again is known, and differs from the id of
    every event that a program makes of the same call: that one may have to take its place.
    """
    return hashlib.sha256(f"otlp:{trace_id}:{span_id}".encode()).hexdigest()[:32]


def owner_of(span: SentSpan) -> Attribution:
    """Return who pays as the span says it, or else its resource; a bad value says nothing."""
    said = {**span.resource, **span.attributes}
    firsts: dict[str, tuple[int, str]] = {}
    tags: dict[str, object] = {}
    for name, value in said.items():
        place = _OWNED.get(name)
        if place is not None:
            dimension, order = place
            text = _text(value)
            if text is not None and order < firsts.get(dimension, _LAST)[0]:
                firsts[dimension] = order, text
        elif name.startswith(TAGS):
            tags[name.removeprefix(TAGS)] = value
    values: dict[str, object] = {dimension: text for dimension, (_, text) in firsts.items()}
    service, environment = values.pop("service", None), values.pop("environment", None)
    values["tags"] = tags
    found = read_attribution(values, on_wrong=lambda _: None)
    return msgspec.structs.replace(
        found,
        service=_checked("service", service),
        environment=_checked("environment", environment),
    )


def _text(value: Value) -> str | None:
    """Return a value as text, numbers too; None for nothing."""
    if isinstance(value, str):
        return value or None
    return str(value) if type(value) is int else None


def _checked(name: str, value: object) -> str | None:
    try:
        return None if value is None else check_value(name, value)
    except AttributionError:
        return None


def _our_cost(span: SentSpan) -> Cost | None:
    """Return what tollspan on the host has put on the span of a call that it has seen itself.

    It knows the operator's own prices, and all that no span tells. None where it put nothing there.
    """
    said = span.attributes
    if semconv.TOLLSPAN_CALL_ID not in said:
        return None
    amount, status = said.get(semconv.TOLLSPAN_COST_NANOUSD), said.get(semconv.TOLLSPAN_COST_STATUS)
    if status not in _COST_STATUSES:
        return None
    if type(amount) is int and not 0 <= amount <= _MOST_NANOUSD:
        raise SpanError(f"{semconv.TOLLSPAN_COST_NANOUSD} is out of 0 to {_MOST_NANOUSD}")
    if type(amount) is not int:
        amount = None
    if amount is None and status in _WITH_AMOUNT:
        return None
    return Cost(status=cast("CostStatus", status), amount_nanousd=amount)


def _our_status(span: SentSpan, usage: Usage | None) -> Usage | None:
    """Return the usage with the status that tollspan on the host gave it, if it did."""
    status = span.attributes.get(semconv.TOLLSPAN_USAGE_STATUS)
    if usage is None or status not in _USAGE_STATUSES or status == usage.status:
        return usage
    return msgspec.structs.replace(usage, status=cast("UsageStatus", status))
