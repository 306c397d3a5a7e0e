"""Calls, holds and events in the fewest words, for tests of ledgers."""

from __future__ import annotations

import itertools

from tollspan.budget import Account, Hold
from tollspan.usage import (
    Attribution,
    BudgetUnit,
    Call,
    Charge,
    Cost,
    DecisionEvent,
    DecisionNote,
    Outcome,
    Request,
    Usage,
    UsageEvent,
)

NOON_UNIX_NS = 1_795_348_800_000_000_000  # 2026-11-22T12:00:00Z
_numbers = itertools.count(1)


def new_id() -> str:
    """Return a call id that no other call of this process has."""
    return f"{next(_numbers):032x}"


def account(
    budget_id: str = "all",
    *,
    limit: int = 100,
    period: str = "",
    unit: BudgetUnit = "usd",
    is_soft: bool = False,
) -> Account:
    """Name an account with a limit in its unit."""
    return Account(
        budget_id=budget_id, scope="", period=period, limit=limit, unit=unit, is_soft=is_soft
    )


def hold(*legs: tuple[Account, int], call_id: str | None = None) -> Hold:
    """Ask for amounts in accounts, for a new call."""
    return Hold(call_id=call_id or new_id(), started_at_unix_ns=NOON_UNIX_NS, legs=legs)


def call(call_id: str) -> Call:
    """Make a call with an id."""
    return Call(
        id=call_id,
        started_at_unix_ns=NOON_UNIX_NS,
        request=Request(provider="openai", operation="chat", model="gpt-4o-mini"),
        attribution=Attribution(),
    )


def charge(where: Account, *, posted: int, unresolved: int = 0) -> Charge:
    """Charge an account."""
    return Charge(
        budget_id=where.budget_id,
        scope=where.scope,
        period=where.period,
        unit=where.unit,
        posted=posted,
        unresolved=unresolved,
    )


def event(call_id: str, *charges: Charge, cost: int | None = None) -> UsageEvent:
    """Make the event of a call from its charges; its cost is what the first one posts."""
    posted = charges[0].posted if charges else 0
    return UsageEvent(
        call=call(call_id),
        decision=DecisionNote(),
        outcome=Outcome(status="ok"),
        usage=Usage(status="reported", output=1),
        cost=Cost(status="priced", amount_nanousd=posted if cost is None else cost),
        charges=charges,
    )


def settled(held: Hold, cost: int, *, unresolved: int = 0) -> UsageEvent:
    """Make the event of a call that costs so much in every account that it holds in."""
    return event(
        held.call_id,
        *(charge(where, posted=cost, unresolved=unresolved) for where, _ in held.legs),
    )


def refused(call_id: str) -> DecisionEvent:
    """Make the record of a refusal."""
    return DecisionEvent(
        call=call(call_id),
        decision=DecisionNote(action="deny"),
        error_type="tollspan.budget_exceeded",
    )
