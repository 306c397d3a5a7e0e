"""Totals: one event that stands for many, once there is no room for each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from .call import Attribution, Call, Request
from .cost import Cost
from .outcome import Outcome
from .usage import TOKEN_BUCKETS, Usage, UsageStatus

if TYPE_CHECKING:
    from .events import Charge, Event, UsageEvent

_MOST_CHARGED: Final = 1 << 50
_NAME_DIGITS: Final = 24
_COUNT_DIGITS: Final = 8
_NS: Final = 1_000_000_000


class Folded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an event stands for that is a total of others.

    Attributes:
        calls: How many calls that were made.
        denied: How many that were refused.
        seconds: They began within so long of each other.
        is_sent: Each of them was sent to the server before.
    """

    calls: int = 0
    denied: int = 0
    seconds: int
    is_sent: bool = False


class TotalKey(msgspec.Struct, frozen=True):
    """What events have in common that one total stands for.

    Attributes:
        window: Number of the minute, hour or day.
        seconds: How long that is.
        is_sent: As in `Folded`.
        request: Provider, operation and model.
        attribution: Who pays, but for sessions, users, traces and blocks.
        outcome, usage, cost: How they ended, and how much is known of it.
    """

    window: int
    seconds: int
    is_sent: bool
    request: Request
    attribution: Attribution
    outcome: Outcome
    usage: UsageStatus | None
    cost: Cost

    @property
    def name(self) -> str:
        """The first digits of the ids of its totals."""
        written = msgspec.json.encode(self)
        return hashlib.sha256(written).hexdigest()[:_NAME_DIGITS]

    def id(self, number: int) -> str:
        """Return the id of one of its totals: they are written anew as they grow."""
        return f"{self.name}{number:0{_COUNT_DIGITS}x}"


def number_of_total(event_id: str) -> int:
    """Return which total of its key an id is of."""
    return int(event_id[_NAME_DIGITS:], 16)


def may_fold(event: Event) -> bool:
    """Say whether an event can be added to others: not if an account could overflow by that."""
    charges: Sequence[Charge] = getattr(event, "charges", ())
    return all(max(abs(one.posted), abs(one.unresolved)) <= _MOST_CHARGED for one in charges)


def key_of(event: Event, *, seconds: int, is_sent: bool) -> TotalKey:
    """Return what an event has in common with those that it is folded with."""
    call = event.call
    usage: Usage | None = getattr(event, "usage", None)
    cost: Cost | None = getattr(event, "cost", None)
    outcome: Outcome | None = getattr(event, "outcome", None)
    whose = call.attribution
    return TotalKey(
        window=call.started_at_unix_ns // (seconds * _NS),
        seconds=seconds,
        is_sent=is_sent,
        request=Request(
            provider=call.request.provider,
            operation=call.request.operation,
            model=call.request.model,
        ),
        attribution=msgspec.structs.replace(
            whose, session=None, user=None, budgets=(), trace=None, finishing=False
        ),
        outcome=Outcome(status="denied" if outcome is None else outcome.status),
        usage=None if usage is None else usage.status,
        cost=Cost(status="not_billed")
        if cost is None
        else Cost(
            status=cost.status,
            is_assumed=cost.is_assumed,
            book_id=cost.book_id,
            matched_key=cost.matched_key,
            settled_by=cost.settled_by,
        ),
    )


def total_of(key: TotalKey, events: Sequence[Event], number: int) -> UsageEvent:
    """Return the total of events of one key: it keeps every sum.

    Args:
        key: What they have in common.
        events: One at least; totals may be among them.
        number: Of the total, among those of its key.
    """
    from .events import DecisionNote, UsageEvent  # noqa: PLC0415 - they know totals too

    made = [one for one in events if isinstance(one, UsageEvent)]
    first = min(events, key=lambda one: one.call.started_at_unix_ns).call
    folded = [one.folded for one in made if one.folded is not None]
    calls = sum(one.folded is None for one in made) + sum(one.calls for one in folded)
    refused = [one for one in events if not isinstance(one, UsageEvent) and one.warning is None]
    denied = len(refused) + sum(one.denied for one in folded)
    return UsageEvent(
        call=Call(
            id=key.id(number),
            started_at_unix_ns=first.started_at_unix_ns,
            request=key.request,
            attribution=key.attribution,
            door=first.door,
        ),
        decision=DecisionNote(action="deny" if key.outcome.status == "denied" else "allow"),
        outcome=key.outcome,
        usage=_usage(key, [one.usage for one in made if one.usage is not None]),
        cost=_cost(key, [one.cost for one in made]),
        charges=_charges([charge for one in made for charge in one.charges]),
        marks=(f"folded:{calls + denied}",),
        folded=Folded(calls=calls, denied=denied, seconds=key.seconds, is_sent=key.is_sent),
    )


def _usage(key: TotalKey, usages: Sequence[Usage]) -> Usage | None:
    if not usages:
        return None
    quantities: dict[str, int] = {}
    for unit, count in (pair for one in usages for pair in one.quantities):
        quantities[unit] = quantities.get(unit, 0) + count
    tokens = {name: sum(getattr(one, name) for one in usages) for name in TOKEN_BUCKETS}
    known = Usage(
        status=key.usage or "unknown",
        quantities=tuple(sorted(quantities.items())),
        reported_cost_picousd=_sum([one.reported_cost_picousd for one in usages]),
    )
    return msgspec.structs.replace(known, **tokens)


def _cost(key: TotalKey, costs: Sequence[Cost]) -> Cost:
    return msgspec.structs.replace(
        key.cost,
        amount_nanousd=_sum([one.amount_nanousd for one in costs]),
        row_ids=tuple(sorted({row for one in costs for row in one.row_ids})),
        unpriced_units=tuple(sorted({unit for one in costs for unit in one.unpriced_units})),
        reported_nanousd=_sum([one.reported_nanousd for one in costs]),
        computed_nanousd=_sum([one.computed_nanousd for one in costs]),
    )


def _sum(amounts: Sequence[int | None]) -> int | None:
    """Add what is known; None where nothing is."""
    known = [one for one in amounts if one is not None]
    return sum(known) if known else None


def _charges(charges: Sequence[Charge]) -> tuple[Charge, ...]:
    """Add charges account by account."""
    found: dict[tuple[str, ...], Charge] = {}
    for one in charges:
        name = (one.budget_id, one.scope, one.period, one.unit)
        before = found.get(name)
        found[name] = msgspec.structs.replace(
            one,
            drawn=None,
            posted=one.posted + (before.posted if before else 0),
            unresolved=one.unresolved + (before.unresolved if before else 0),
            overrun=one.overrun + (before.overrun if before else 0),
        )
    return tuple(found.values())
