"""One event as `tollspan events --json` prints it: a flat object, the same keys in every line."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tollspan.budget import read_scope
from tollspan.usage import (
    TOKEN_BUCKETS,
    BudgetUnit,
    Charge,
    CostStatus,
    DecisionAction,
    DecisionEvent,
    Event,
    Mode,
    OutcomeStatus,
    SettledBy,
    Usage,
    UsageEvent,
    UsageStatus,
    rfc3339,
    to_decimal,
)

_PARTS = 4
Amount = Annotated[str, msgspec.Meta(pattern="^-?[0-9]+$")]
"""A whole number, as text: JSON's readers round large numbers."""
Decimal = Annotated[str, msgspec.Meta(pattern="^-?[0-9]+([.][0-9]+)?$")]
"""An exact amount in its unit, as text: `0.0055` say."""
Unit = Annotated[str, msgspec.Meta(pattern="^(USD|[a-z][a-z0-9_]*)$")]
"""`USD`, `tokens`, `calls`, `web_searches`, …, or a unit of the caller's own tools."""
TraceId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
SpanId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]


class ChargeLine(msgspec.Struct, frozen=True, kw_only=True):
    """What one event put into one account of a budget; amounts are decimal strings.

    Attributes:
        budget: The budget's id.
        scope: Dimension → value; empty for a budget that is not divided.
        period: The window's key, `2026-11` say; empty for a lifetime, `block` for the budget of a
            block in code.
        unit: What the amounts count.
        posted: Spent.
        unresolved: Kept counted, since nobody knows whether it was spent.
        overrun: The part of what was spent that the hold did not cover.
    """

    budget: str
    scope: dict[str, str | None]
    period: str
    unit: Unit
    posted: Decimal
    unresolved: Decimal
    overrun: Decimal


class EventLine(msgspec.Struct, frozen=True, kw_only=True):
    """One event. Every key is always there; null where nothing was said or nobody knows.

    Attributes:
        id: Unique; a call's own id, or `<call id>.d<n>` for a decision.
        type: `usage`: a call that was made. `decision`: one that was refused, or was let through
            and reported.
        time: When the call started, RFC 3339 in UTC.
        call_id: The call, 32 hex digits.
        trace_id, span_id: Of the call's span, W3C hex; null without a span.
        provider, operation: As in `gen_ai.provider.name` and `gen_ai.operation.name`.
        request_model, response_model: As the request that was sent named the model, and as the
            answer did. Of a tool, its name; the provider is `tool` then.
        tenant … environment: Who the call was for; null where nobody said it.
        tags: Tag → value.
        is_finishing: The program marked the call as one that finishes its work.
        input_tokens, output_tokens: Inclusive sums: cached and reasoning tokens are in them.
        input_uncached … video_out: The disjoint buckets that add up to these sums.
        quantities: Unit → how much was used of what is no token.
        usage_status: `reported` by the provider, `estimated` from what arrived, or `unknown`; null
            where the provider did no billable work.
        cost_nanousd: Billionths of a USD, a decimal string; null when nobody knows. Never 0 for
            that. It is 0 where nothing was spent.
        cost_status: How much of the cost is known.
        price_book: Id of the price book that made the cost.
        price_key, price_rule, price_rows: The book's entry, the rule by which the model's name led
            to it, and its rows.
        unpriced_units: What was used and has no price.
        reported_cost_nanousd: What the provider itself says; a decimal string.
        cost_difference_nanousd: Our figure less the provider's own; a decimal string.
        settled_by: Whose figure the cost is.
        outcome: How the call ended.
        error_type: As in `error.type`.
        duration_ns, first_chunk_ns: Nanoseconds from the request to the last byte, and to a
            stream's first chunk.
        attempts: Requests that the SDK made, its own retries included.
        finish_reasons, response_id: As the answer says them.
        service_tier, region: As the answer says, else as asked for.
        host: Host of the client's base URL; empty when unknown.
        door: Which way the call came to tollspan.
        server: Name of the MCP server that a tool is of; null for all else.
        is_stream: The caller asked for a stream.
        decision: What the gate said.
        rule_ids: The budgets and policies that it went by.
        bound_nanousd: What was held before the call, a decimal string; null when nothing bounds it.
        bound_reasons: Why the bound is not simply bytes and the caller's own limit.
        is_unavailable: The ledger could not be asked, and the rules' `on_unavailable` decided.
        mode: `observe` or `off` while an operator had switched the gate to it.
        asked_model: The model that the caller named, where the call went out with another; else
            null.
        clamped_from: The caller's own maximum of output tokens; null without one, or when it stood.
        clamped_to: The maximum that tollspan had sent instead; null when it set none.
        scope, unit, limit, spent, held, asked: Of a refusal, the account that refused it: whose
            it is, what its amounts count, how it stood, and what the call would have held.
        charges: What the call put into each budget.
        marks: What to look at: `overrun`, `suspected_duplicate`, `late`, ….
    """

    id: str
    type: Literal["usage", "decision"]
    time: Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
    call_id: str
    trace_id: TraceId | None
    span_id: SpanId | None
    provider: str
    operation: str
    request_model: str
    response_model: str | None
    tenant: str
    customer: str | None
    session: str | None
    user: str | None
    agent: str | None
    feature: str | None
    step: str | None
    team: str | None
    project: str | None
    service: str | None
    environment: str | None
    tags: dict[str, str]
    is_finishing: bool
    input_tokens: int | None
    output_tokens: int | None
    input_uncached: int | None
    cache_read: int | None
    cache_write: int | None
    cache_write_5m: int | None
    cache_write_1h: int | None
    audio_in: int | None
    audio_cache_read: int | None
    image_in: int | None
    image_cache_read: int | None
    video_in: int | None
    output: int | None
    reasoning: int | None
    audio_out: int | None
    image_out: int | None
    video_out: int | None
    quantities: dict[str, int]
    usage_status: UsageStatus | None
    cost_nanousd: Amount | None
    cost_status: CostStatus
    price_book: str | None
    price_key: str | None
    price_rule: str | None
    price_rows: tuple[str, ...]
    unpriced_units: tuple[str, ...]
    reported_cost_nanousd: Amount | None
    cost_difference_nanousd: Amount | None
    settled_by: SettledBy | None
    outcome: OutcomeStatus | None
    error_type: str | None
    duration_ns: int | None
    first_chunk_ns: int | None
    attempts: int | None
    finish_reasons: tuple[str, ...]
    response_id: str | None
    service_tier: str | None
    region: str | None
    host: str
    door: str
    server: str | None
    is_stream: bool
    decision: DecisionAction
    rule_ids: tuple[str, ...]
    bound_nanousd: Amount | None
    bound_reasons: tuple[str, ...]
    is_unavailable: bool
    mode: Mode
    asked_model: str | None
    clamped_from: int | None
    clamped_to: int | None
    scope: dict[str, str | None] | None
    unit: Unit | None
    limit: Decimal | None
    spent: Decimal | None
    held: Decimal | None
    asked: Decimal | None
    charges: tuple[ChargeLine, ...]
    marks: tuple[str, ...]


def unit_name(unit: BudgetUnit) -> Unit:
    """Name a unit as machines read it: as in the ledger, but `USD`."""
    return "USD" if unit == "usd" else unit


def event_line(event: Event) -> EventLine:
    """Flatten an event."""
    call = event.call
    request = call.request
    note = event.decision
    attribution = msgspec.structs.asdict(call.attribution)
    values: dict[str, object] = {
        **{name: value for name, value in attribution.items() if name not in ("tags", "budgets")},
        **_trace(event.traceparent),
        **(_of_usage(event) if isinstance(event, UsageEvent) else _of_decision(event)),
        "time": rfc3339(call.started_at_unix_ns),
        "call_id": call.id,
        "provider": request.provider,
        "operation": request.operation,
        "request_model": request.model,
        "tags": dict(call.attribution.tags),
        "is_finishing": call.attribution.finishing,
        "host": request.host,
        "door": call.door,
        "server": request.server,
        "is_stream": request.is_stream,
        "decision": note.action,
        "rule_ids": note.rule_ids,
        "bound_nanousd": _text(note.bound_nanousd),
        "bound_reasons": note.bound_reasons,
        "is_unavailable": note.is_unavailable,
        "mode": note.mode,
        "asked_model": note.asked_model,
        "clamped_from": note.clamped_from,
        "clamped_to": note.clamped_to,
    }
    return msgspec.convert(values, EventLine)


def _of_usage(event: UsageEvent) -> dict[str, object]:
    cost, outcome, response = event.cost, event.outcome, event.outcome.response
    return {
        "id": event.call.id,
        "type": "usage",
        **_tokens(event.usage),
        "response_model": response.model,
        "cost_nanousd": _text(cost.amount_nanousd),
        "cost_status": cost.status,
        "price_book": cost.book_id,
        "price_key": cost.matched_key,
        "price_rule": cost.matched_by,
        "price_rows": cost.row_ids,
        "unpriced_units": cost.unpriced_units,
        "reported_cost_nanousd": _text(cost.reported_nanousd),
        "cost_difference_nanousd": _text(cost.difference_nanousd),
        "settled_by": None if cost.amount_nanousd is None else cost.settled_by,
        "outcome": outcome.status,
        "error_type": outcome.error_type,
        "duration_ns": outcome.duration_ns,
        "first_chunk_ns": outcome.first_chunk_ns,
        "attempts": outcome.attempts,
        "finish_reasons": response.finish_reasons,
        "response_id": response.id,
        "service_tier": response.service_tier or event.call.request.service_tier,
        "region": response.region or event.call.request.region,
        "scope": None,
        "unit": None,
        "limit": None,
        "spent": None,
        "held": None,
        "asked": None,
        "charges": [_charge(charge) for charge in event.charges],
        "marks": event.marks,
    }


def _of_decision(event: DecisionEvent) -> dict[str, object]:
    empty: dict[str, object] = {
        "response_model": None,
        "price_book": None,
        "price_key": None,
        "price_rule": None,
        "price_rows": (),
        "unpriced_units": (),
        "reported_cost_nanousd": None,
        "cost_difference_nanousd": None,
        "settled_by": None,
        "duration_ns": None,
        "first_chunk_ns": None,
        "attempts": None,
        "finish_reasons": (),
        "response_id": None,
        "charges": (),
        "marks": (),
    }
    return {
        **empty,
        "id": event.id,
        "type": "decision",
        **_tokens(None),
        "cost_nanousd": "0",
        "cost_status": "not_billed",
        "outcome": "denied" if event.decision.action == "deny" else None,
        "error_type": event.error_type,
        "service_tier": event.call.request.service_tier,
        "region": event.call.request.region,
        "scope": None if event.limit is None else dict(event.scope),
        "unit": None if event.limit is None else unit_name(event.unit),
        **{
            name: None if amount is None else to_decimal(amount, event.unit)
            for name, amount in (
                ("limit", event.limit),
                ("spent", event.spent),
                ("held", event.held),
                ("asked", event.asked),
            )
        },
    }


def _tokens(usage: Usage | None) -> dict[str, object]:
    """Return the tokens of a usage; null where they mean nothing."""
    if usage is None or usage.status == "unknown":
        return {
            **dict.fromkeys(("input_tokens", "output_tokens", *TOKEN_BUCKETS)),
            "quantities": {},
            "usage_status": None if usage is None else usage.status,
        }
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        **{bucket: getattr(usage, bucket) for bucket in TOKEN_BUCKETS},
        "quantities": dict(usage.quantities),
        "usage_status": usage.status,
    }


def _charge(charge: Charge) -> dict[str, object]:
    return {
        "budget": charge.budget_id,
        "scope": dict(read_scope(charge.scope)),
        "period": charge.period,
        "unit": unit_name(charge.unit),
        "posted": to_decimal(charge.posted, charge.unit),
        "unresolved": to_decimal(charge.unresolved, charge.unit),
        "overrun": to_decimal(charge.overrun, charge.unit),
    }


def _trace(traceparent: str | None) -> dict[str, object]:
    parts = (traceparent or "").split("-")
    has_ids = len(parts) == _PARTS
    return {
        "trace_id": parts[1] if has_ids else None,
        "span_id": parts[2] if has_ids else None,
    }


def _text(amount: int | None) -> str | None:
    return None if amount is None else str(amount)
