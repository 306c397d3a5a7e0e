"""What is summed of events, and by what: the same for roll-ups and for events that are read."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

import msgspec

from tollspan.usage import TOKEN_BUCKETS, DecisionEvent, Entry, Repricing, Reversal, UsageEvent

from .rows import LATE, SUSPECTED

GROUPED: Final = (
    "customer", "model", "provider", "operation", "feature", "agent", "team", "project", "service",
    "environment",
)  # fmt: skip
"""The dimensions that have roll-ups: all but those that rarely have a value twice."""
OF_REQUESTS: Final = frozenset(("model", "provider", "operation"))
COUNTS: Final = (
    "calls", "denied", "denied_nanousd", "cost_nanousd", "estimated", "estimated_nanousd",
    "unknown", "unpriced", "late", "suspected_duplicates",
)  # fmt: skip
RARE: Final = ("late_nanousd", "suspected_nanousd", "taken_back", "taken_back_nanousd")
MEASURES: Final = (*COUNTS, *TOKEN_BUCKETS, *RARE)
"""What is summed, in the order of a roll-up's columns; see `UsageSums`."""
PLACES: Final = {name: place for place, name in enumerate(MEASURES)}
_CALLS: Final = PLACES["calls"]
_COST: Final = PLACES["cost_nanousd"]
_TOKEN_PLACES: Final = tuple(PLACES[name] for name in TOKEN_BUCKETS)
_tokens_of: Final = attrgetter(*TOKEN_BUCKETS)
_MARKED: Final = (
    (LATE, "late", "late_nanousd"), (SUSPECTED, "suspected_duplicates", "suspected_nanousd"),
)  # fmt: skip
Measured = list[tuple[int, int]]
"""(place in `MEASURES`, amount) of one event: what is not named is 0."""


class UsageSums(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of events.

    Attributes:
        calls, denied: Calls that were made, and refusals; those too that a total stands for.
        denied_nanousd: What refused calls could have cost at most, where that is known.
        cost_nanousd: The sum of the known costs.
        estimated, estimated_nanousd: Calls whose usage is estimated, and their part of the cost.
        unknown: Calls whose usage is unknown.
        unpriced: Calls of which no price, or not every price, is known.
        late, suspected_duplicates: Calls that were so marked when they came.
        late_nanousd, suspected_nanousd: Their part of the cost.
        taken_back, taken_back_nanousd: Calls that were taken back since another event tells them
            better, or prices them anew, and their cost: both are in no other sum.
        tokens: By bucket; only what is not 0.
        quantities: By unit, likewise.
    """

    calls: int = 0
    denied: int = 0
    denied_nanousd: int = 0
    cost_nanousd: int = 0
    estimated: int = 0
    estimated_nanousd: int = 0
    unknown: int = 0
    unpriced: int = 0
    late: int = 0
    suspected_duplicates: int = 0
    late_nanousd: int = 0
    suspected_nanousd: int = 0
    taken_back: int = 0
    taken_back_nanousd: int = 0
    tokens: dict[str, int] = {}
    quantities: dict[str, int] = {}


def measured(fact: Entry, marks: tuple[str, ...]) -> Measured:
    """Return what an event adds to sums; nothing where it is neither a call nor a refusal."""
    if isinstance(fact, UsageEvent):
        return _measured_call(fact, marks)
    if isinstance(fact, Repricing):
        return _measured_call(fact.event, marks)
    if isinstance(fact, Reversal):
        return _measured_reversal(fact, marks)
    if isinstance(fact, DecisionEvent) and fact.decision.action == "deny":
        bound = fact.decision.bound_nanousd
        found = [(PLACES["denied"], 1)]
        return [*found, (PLACES["denied_nanousd"], bound)] if bound else found
    return []


def _measured_reversal(reversal: Reversal, marks: tuple[str, ...]) -> Measured:
    event = reversal.event
    less = [(place, -amount) for place, amount in _measured_call(event, marks)]
    calls = 1 if event.folded is None else event.folded.calls
    return [
        *less,
        (PLACES["taken_back"], calls),
        (PLACES["taken_back_nanousd"], event.cost.amount_nanousd or 0),
    ]


def _measured_call(event: UsageEvent, marks: tuple[str, ...]) -> Measured:
    folded, cost, usage = event.folded, event.cost, event.usage
    calls = 1 if folded is None else folded.calls
    amount = cost.amount_nanousd or 0
    found: Measured = [(_CALLS, calls), (_COST, amount)]
    if folded is not None:
        found.append((PLACES["denied"], folded.denied))
    if cost.status in {"unpriced", "partial"}:
        found.append((PLACES["unpriced"], calls))
    if usage is not None:
        if usage.status == "estimated":
            found += [(PLACES["estimated"], calls), (PLACES["estimated_nanousd"], amount)]
        elif usage.status == "unknown":
            found.append((PLACES["unknown"], calls))
        found += [pair for pair in zip(_TOKEN_PLACES, _tokens_of(usage), strict=True) if pair[1]]
    if marks:
        for mark, name, money in _MARKED:
            if mark in marks:
                found += [(PLACES[name], calls), (PLACES[money], amount)]
    return found


def quantities_of(fact: Entry) -> tuple[tuple[str, int], ...]:
    """Return what an event counts besides tokens."""
    if isinstance(fact, Reversal):
        return tuple((unit, -count) for unit, count in quantities_of(fact.event))
    if isinstance(fact, Repricing):
        return quantities_of(fact.event)
    if not isinstance(fact, UsageEvent) or fact.usage is None:
        return ()
    return tuple((unit, count) for unit, count in fact.usage.quantities if count)


def sums_of(amounts: list[int], quantities: dict[str, int]) -> UsageSums:
    """Return sums.

    Args:
        amounts: In the order of `MEASURES`.
        quantities: By unit.
    """
    counts = dict(zip(COUNTS, amounts, strict=False))
    beyond = len(COUNTS) + len(TOKEN_BUCKETS)
    tokens = zip(TOKEN_BUCKETS, amounts[len(COUNTS) : beyond], strict=True)
    return UsageSums(
        **counts,
        **dict(zip(RARE, amounts[beyond:], strict=True)),
        tokens={name: count for name, count in tokens if count},
        quantities={unit: count for unit, count in sorted(quantities.items()) if count},
    )
