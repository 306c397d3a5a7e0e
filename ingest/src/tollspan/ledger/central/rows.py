"""Turns facts into rows of the central ledger, and back."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import RowMapping

from tollspan.usage import (
    OWNERS,
    Adjustment,
    DecisionEvent,
    Entry,
    Fact,
    Repricing,
    Reversal,
    UsageEvent,
    decode_entry,
    encode_event,
    event_id,
    event_time,
)

USAGE: Final = "usage"
DECISION: Final = "decision"
ADJUSTMENT: Final = "adjustment"
FROM_SPAN: Final = "from_span"
LATE: Final = "late"
SUSPECTED: Final = "suspected_duplicate"
"""How the server marks events: that only a span tells of; that came long after they began; that may
be counted already."""
SUPERSEDED: Final = "superseded"
REPRICED: Final = "repriced"
"""Why an event was taken back: another tells its call better; it was priced anew."""
REVERSAL: Final = "reversal"
REPRICING: Final = "repricing"
CALL_KINDS: Final = (USAGE, REPRICING)
"""What a call is counted by, unless that was taken back."""
Place = tuple[int, str]
"""Where an event stands: its time in nanoseconds since the epoch, its id."""
_SAID_OF_CALLS: Final = (
    *OWNERS, "provider", "model", "operation", "cost_status", "usage_status", "cost_nanousd",
)  # fmt: skip


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the central ledger has it.

    Attributes:
        fact: The event as it was sent.
        received_unix_ns: When it came.
        marks: What the server saw in it: `late`, `suspected_duplicate`.
    """

    fact: Entry
    received_unix_ns: int
    marks: tuple[str, ...] = ()

    @property
    def place(self) -> Place:
        """Where it stands among others."""
        return event_time(self.fact), event_id(self.fact)


def row_of(tenant: str, fact: Entry, received_ns: int, marks: tuple[str, ...]) -> dict[str, object]:
    """Return the row of `EVENTS`."""
    row: dict[str, object] = {
        **dict[str, object].fromkeys(_SAID_OF_CALLS),
        "tenant": tenant,
        "time_ns": event_time(fact),
        "id": event_id(fact),
        "marks": " ".join(marks),
        "received_ns": received_ns,
        "body": encode_event(fact),
    }
    if isinstance(fact, Adjustment):
        return {**row, "kind": ADJUSTMENT, "outcome": fact.action}
    if isinstance(fact, Reversal):
        return {**row, **_reversed(fact)}
    if isinstance(fact, Repricing):
        return {**row, **_of_event(fact.event), "kind": REPRICING}
    attribution, request = fact.call.attribution, fact.call.request
    for name in OWNERS:
        row[name] = getattr(attribution, name)
    row["provider"] = request.provider
    row["model"] = request.model
    row["operation"] = request.operation
    if isinstance(fact, DecisionEvent):
        return {**row, "kind": DECISION, "outcome": outcome_of(fact)}
    return {**row, **_costs(fact), "kind": USAGE, "outcome": outcome_of(fact)}


def _reversed(reversal: Reversal) -> dict[str, object]:
    """Return what a reversal's row has of the event's that it takes back, and less than nothing."""
    cost = reversal.event.cost.amount_nanousd
    taken = _of_event(reversal.event)
    return {**taken, "kind": REVERSAL, "cost_nanousd": None if cost is None else -cost}


def _of_event(event: UsageEvent) -> dict[str, object]:
    said = row_of("", event, 0, ())
    return {name: said[name] for name in (*_SAID_OF_CALLS, "outcome")}


def _costs(event: UsageEvent) -> dict[str, object]:
    return {
        "cost_status": event.cost.status,
        "cost_nanousd": event.cost.amount_nanousd,
        "usage_status": None if event.usage is None else event.usage.status,
    }


def of_call(entry: Entry) -> Fact:
    """Return the event of whose call an entry is: of a reversal, what it takes back."""
    return entry.event if isinstance(entry, Reversal | Repricing) else entry


def outcome_of(fact: UsageEvent | DecisionEvent) -> str:
    """Return how a call ended, as reports name it."""
    if isinstance(fact, UsageEvent):
        return fact.outcome.status
    return "denied" if fact.warning is None else "warned"


def counted_call(entry: Entry) -> UsageEvent | None:
    """Return the call that an entry counts, as it was told or priced anew; None for no call."""
    counted = entry.event if isinstance(entry, Repricing) else entry
    return counted if isinstance(counted, UsageEvent) else None


def stored_event(row: RowMapping) -> StoredEvent:
    """Read a row of `EVENTS`."""
    return StoredEvent(
        fact=decode_entry(bytes(row["body"])),
        received_unix_ns=row["received_ns"],
        marks=tuple(row["marks"].split()),
    )
