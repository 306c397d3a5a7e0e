"""Ledgers with events in them, without any provider."""

from __future__ import annotations

from pathlib import Path

from tollspan.ledger import SQLiteLedger
from tollspan.usage import (
    Attribution,
    Call,
    Cost,
    DecisionEvent,
    DecisionNote,
    Event,
    Outcome,
    OutcomeStatus,
    Request,
    Response,
    Usage,
    UsageEvent,
)

NOON_UNIX_NS = 1_795_348_800_000_000_000  # 2026-11-22T12:00:00Z
HOUR_NS = 3_600 * 10**9
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
USAGE = Usage(input_uncached=90, cache_read=10, output=40, reasoning=5)


def call(number: int, *, model: str = "gpt-4o-mini", **whose: str) -> Call:
    """Make a call, an hour after the one before; `tier` is a tag."""
    tier = whose.pop("tier", None)
    tags = (("tier", tier),) if tier is not None else ()
    return Call(
        id=f"{number:032x}",
        started_at_unix_ns=NOON_UNIX_NS + number * HOUR_NS,
        request=Request(provider="openai", operation="chat", model=model, host="api.openai.com"),
        attribution=Attribution(tags=tags, budgets=(), finishing=False, **whose),
    )


def used(
    made: Call,
    *,
    nanousd: int | None = 1_000,
    usage: Usage | None = USAGE,
    status: OutcomeStatus = "ok",
) -> UsageEvent:
    """Make the event of a call that was made."""
    return UsageEvent(
        call=made,
        decision=DecisionNote(rule_ids=("all",), bound_nanousd=5_000),
        outcome=Outcome(
            status=status, response=Response(id="r1", model=f"{made.request.model}-2024-07-18")
        ),
        usage=usage,
        cost=Cost(status="priced", amount_nanousd=nanousd, book_id="b1", matched_key="gpt-4o-mini")
        if nanousd is not None
        else Cost(status="unpriced"),
        traceparent=TRACEPARENT,
    )


def denied(made: Call) -> DecisionEvent:
    """Make the event of a call that was refused."""
    return DecisionEvent(
        call=made,
        decision=DecisionNote(action="deny", rule_ids=("all",)),
        error_type="tollspan.budget_exceeded",
        limit=10_000_000,
        spent=9_000_000,
        held=0,
        asked=2_500_000,
        scope=(("customer", "acme"),),
    )


def write(home: Path, *events: Event) -> None:
    """Store events in the ledger of a folder."""
    ledger = SQLiteLedger(home)
    try:
        for event in events:
            if isinstance(event, UsageEvent):
                ledger.post(event, None)
            else:
                ledger.note(event)
                ledger.close()  # a refusal is stored by the writer's thread
    finally:
        ledger.close()


EVERY_KIND: tuple[Event, ...] = (
    used(call(1, customer="acme", session="s1", tier="free")),
    used(call(2, customer="acme", tier="pro"), nanousd=2_000),
    used(call(3), nanousd=None),
    used(call(4, customer="bolt"), usage=Usage(status="unknown"), nanousd=None, status="timeout"),
    used(call(5, customer="bolt"), usage=None, nanousd=0, status="error"),
    used(call(6, customer="acme"), usage=Usage(status="estimated", output=7), status="partial"),
    denied(call(7, customer="acme", tier="free")),
)
