"""What is kept of removed events: sums of a day by all that is known of its calls.

They answer, by whole days, what the events did: usage by any dimension, and costs taken apart.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from operator import add
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from tollspan.usage import (
    Adjustment,
    Attribution,
    Entry,
    Repricing,
    Reversal,
    UsageEvent,
    event_time,
    value_of,
)

from .asking import OUTCOME
from .horizon import KEPT_DAYS, NotKeptError
from .measures import MEASURES, OF_REQUESTS, measured, quantities_of
from .rollups import HOUR_NS, HOURS_PER_DAY
from .rows import StoredEvent, of_call, outcome_of

DAY_NS: Final = HOURS_PER_DAY * HOUR_NS
Part = tuple[bytes, int, int, int]
"""What a part of costs is for, in how many calls, how many tokens or units, and nano-USD."""
TakeApart = Callable[[UsageEvent], Sequence[Part]]
"""Takes a call's cost apart, for exports of costs."""


class DayGroup(msgspec.Struct, frozen=True, array_like=True):
    """Calls of one day of which the same is known.

    Attributes:
        owner: Who paid.
        provider, model, operation, outcome: Of the calls; the outcome as reports name it.
        amounts: Sums by measure, as of roll-ups.
        quantities: Sums by unit.
        parts: Costs taken apart; what was taken back counts less.
    """

    owner: Attribution
    provider: str
    model: str
    operation: str
    outcome: str
    amounts: dict[str, int]
    quantities: dict[str, int]
    parts: list[Part]

    def value_of(self, dimension: str) -> str | None:
        """Return the calls' value of a dimension; None for none, or an empty one."""
        if dimension == OUTCOME:
            return self.outcome
        if dimension in OF_REQUESTS:
            said: str = getattr(self, dimension)
            return said or None
        return value_of(self.owner, dimension) or None


DayPlace = tuple[int, int]
"""Where a part of what is kept of a day stands: the day since the epoch, and a number."""


class KeptDay(NamedTuple):
    """A part of what is kept of one day."""

    day: int
    groups: list[DayGroup]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[DayGroup]).decode


def day_groups(
    entries: Iterable[StoredEvent], take_apart: TakeApart
) -> dict[int, tuple[int, bytes]]:
    """Sum events up; return by day how many they are, and what is kept of them."""
    days: dict[int, dict[object, DayGroup]] = {}
    counts: dict[int, int] = {}
    for stored in entries:
        fact = stored.fact
        day = event_time(fact) // DAY_NS
        counts[day] = counts.get(day, 0) + 1
        groups = days.setdefault(day, {})
        if isinstance(of_call(fact), Adjustment):
            continue  # it is in no sum
        group = _group(groups, fact)
        for place, amount in measured(fact, stored.marks):
            name = MEASURES[place]
            group.amounts[name] = group.amounts.get(name, 0) + amount
        for unit, count in quantities_of(fact):
            group.quantities[unit] = group.quantities.get(unit, 0) + count
        group.parts.extend(_parts(fact, take_apart))
    return {
        day: (counts[day], zlib.compress(_encode([_summed(group) for group in groups.values()])))
        for day, groups in days.items()
    }


def _group(groups: dict[object, DayGroup], fact: Entry) -> DayGroup:
    call_of = of_call(fact)
    assert not isinstance(call_of, Adjustment)
    owner, request = call_of.call.attribution, call_of.call.request
    outcome = outcome_of(call_of)
    key = owner, request.provider, request.model, request.operation, outcome
    found = groups.get(key)
    if found is None:
        found = groups[key] = DayGroup(*key, {}, {}, [])
    return found


def _parts(fact: Entry, take_apart: TakeApart) -> Iterable[Part]:
    if isinstance(fact, Reversal):
        parts = take_apart(fact.event)
        return [(what, -calls, -count, -cost) for what, calls, count, cost in parts]
    if isinstance(fact, Repricing):
        return take_apart(fact.event)
    return take_apart(fact) if isinstance(fact, UsageEvent) else ()


def _summed(group: DayGroup) -> DayGroup:
    """Add up parts that say the same."""
    sums: dict[bytes, list[int]] = {}
    for what, *amounts in group.parts:
        before = sums.get(what)
        sums[what] = amounts if before is None else [*map(add, before, amounts)]
    parts = [(what, calls, count, cost) for what, (calls, count, cost) in sums.items()]
    return msgspec.structs.replace(group, parts=parts)


def kept_places(
    connection: Connection, tenant: str, span: tuple[int, int], *, is_hourly: bool = False
) -> list[DayPlace]:
    """Return where the days of a span of time are kept, the oldest first.

    Args:
        connection: To the database.
        tenant: Whose.
        span: (from, before) in nanoseconds since the epoch.
        is_hourly: Hours are asked for, or single calls.

    Raises:
        NotKeptError: A part of a day is asked for, or what is not kept of days.
    """
    first, last = span[0] // DAY_NS, -(-span[1] // DAY_NS)
    columns = KEPT_DAYS.c
    found = connection.execute(
        select(columns.day, columns.chunk)
        .where(columns.tenant == tenant, columns.day >= first, columns.day < last)
        .order_by(columns.day, columns.chunk)
    )
    places = [(int(day), int(chunk)) for day, chunk in found]
    cut = {span[at] // DAY_NS for at in (0, 1) if span[at] % DAY_NS}
    if places and (is_hourly or not cut.isdisjoint(day for day, _ in places)):
        raise NotKeptError(
            "of calls so long ago only whole days are kept: "
            "ask by days, from midnight to midnight, UTC"
        )
    return places


def read_day(connection: Connection, tenant: str, place: DayPlace) -> KeptDay:
    """Read what is kept in one place."""
    columns = KEPT_DAYS.c
    body = connection.execute(
        select(columns.body).where(
            columns.tenant == tenant, columns.day == place[0], columns.chunk == place[1]
        )
    ).scalar_one()
    return KeptDay(place[0], _decode(zlib.decompress(bytes(body))))
