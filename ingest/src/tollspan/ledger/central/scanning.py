"""Sums events by reading them: for what no roll-up has, and for parts of an hour or a day."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from tollspan.usage import Adjustment, Entry, decode_entry, event_time, value_of

from .asking import OUTCOME, Bucket, TooMuchError, UsageQuery
from .day_groups import DAY_NS, KeptDay, kept_places, read_day
from .horizon import horizon_of
from .measures import MEASURES, OF_REQUESTS, PLACES, measured, quantities_of
from .rollups import HOUR_NS, HOURS_PER_DAY
from .rows import CALL_KINDS, DECISION, REVERSAL, of_call, outcome_of
from .tables import EVENTS

MOST_EVENTS: Final = 1_000_000
"""Events that are read for one question."""
MOST_GROUPS: Final = 100_000
"""Rows that are kept in memory for one question."""
_AT_ONCE: Final = 2_000
_WIDTH: Final = len(MEASURES)
Group = tuple[int, tuple[str | None, ...]]
"""The bucket's start in hours since the epoch (0 without buckets), and the dimensions' values."""


class Totals:
    """Sums by group, in memory."""

    def __init__(self) -> None:
        self.amounts: dict[Group, list[int]] = {}
        self.quantities: dict[Group, dict[str, int]] = {}

    def of(self, group: Group) -> list[int]:
        """Return a group's amounts, to be added to.

        Raises:
            TooMuchError: There are too many groups.
        """
        found = self.amounts.get(group)
        if found is None:
            if len(self.amounts) >= MOST_GROUPS:
                raise TooMuchError(
                    f"this has more than {MOST_GROUPS:,} rows: ask for a shorter time, or less"
                )
            found = self.amounts[group] = [0] * _WIDTH
        return found

    def add_quantity(self, group: Group, unit: str, amount: int) -> None:
        """Add to what a group counts besides tokens."""
        units = self.quantities.setdefault(group, {})
        units[unit] = units.get(unit, 0) + amount


def bucket_start(time_ns: int, bucket: Bucket | None) -> int:
    """Return the start of the bucket that a time is in, in hours since the epoch."""
    if bucket is None:
        return 0
    hour = time_ns // HOUR_NS
    if bucket == "hour":
        return hour
    day = hour // HOURS_PER_DAY
    return day * HOURS_PER_DAY if bucket == "day" else month_start(day) * HOURS_PER_DAY


def month_start(day: int) -> int:
    """Return the first day of a day's month; both in days since the epoch."""
    moment = datetime.fromtimestamp(day * 86_400, UTC)
    return day - moment.day + 1


def dimension_of(entry: Entry, name: str) -> str | None:
    """Return an event's value of a dimension; None for none, or an empty one."""
    fact = of_call(entry)
    if isinstance(fact, Adjustment):
        return None
    if name == OUTCOME:
        return outcome_of(fact)
    if name in OF_REQUESTS:
        said: str = getattr(fact.call.request, name)
        return said or None
    return value_of(fact.call.attribution, name) or None


def scan(
    connection: Connection,
    tenant: str,
    query: UsageQuery,
    spans: list[tuple[int, int | None]],
    into: Totals,
) -> None:
    """Add the events of spans of time to sums.

    Args:
        connection: To the database.
        tenant: Whose they are.
        query: What is asked for.
        spans: (from, before) in nanoseconds since the epoch; None for no end.
        into: The sums.

    Raises:
        TooMuchError: There are too many events or groups.
        NotKeptError: The events are gone, and what is kept of them does not say this.
    """
    left = MOST_EVENTS
    kept_from = horizon_of(connection).kept_from_ns
    for whole in spans:
        if whole[0] < kept_from:
            before = whole[0], min(kept_from, whole[1] or kept_from)
            is_hourly = query.bucket == "hour"
            for place in kept_places(connection, tenant, before, is_hourly=is_hourly):
                kept = read_day(connection, tenant, place)
                left -= len(kept.groups)
                if left < 0:
                    raise _too_much()
                _add_day(kept, query, into)
        span = max(whole[0], kept_from), whole[1]
        if span[1] is not None and span[1] <= span[0]:
            continue
        found = connection.execution_options(yield_per=_AT_ONCE).execute(
            _events(tenant, query, span)
        )
        for body, marks in found:
            left -= 1
            if left < 0:
                found.close()
                raise _too_much()
            _add(decode_entry(bytes(body)), tuple(marks.split()), query, into)


def _too_much() -> TooMuchError:
    return TooMuchError(
        f"this needs more than {MOST_EVENTS:,} events to be read: ask for a shorter time"
    )


def _add_day(kept: KeptDay, query: UsageQuery, into: Totals) -> None:
    """Add what is kept of a day's events."""
    at = bucket_start(kept.day * DAY_NS, query.bucket)
    for group in kept.groups:
        is_wanted = all(group.value_of(name) == value for name, value in query.where.items())
        if not group.amounts or not is_wanted:
            continue
        place = at, tuple([group.value_of(name) for name in query.group_by])
        sums = into.of(place)
        for name, amount in group.amounts.items():
            sums[PLACES[name]] += amount
        for unit, count in group.quantities.items():
            into.add_quantity(place, unit, count)


def _events(
    tenant: str, query: UsageQuery, span: tuple[int, int | None]
) -> Select[*tuple[Any, ...]]:
    columns = EVENTS.c
    found = select(columns.body, columns.marks).where(
        columns.tenant == tenant,
        columns.time_ns >= span[0],
        columns.kind.in_((*CALL_KINDS, DECISION, REVERSAL)),
    )
    if span[1] is not None:
        found = found.where(columns.time_ns < span[1])
    for name, value in query.where.items():
        if name in columns and value is not None:
            found = found.where(columns[name] == value)
    return found


def _add(fact: Entry, marks: tuple[str, ...], query: UsageQuery, into: Totals) -> None:
    amounts = measured(fact, marks)
    if not amounts or any(dimension_of(fact, name) != value for name, value in query.where.items()):
        return
    group = (
        bucket_start(event_time(fact), query.bucket),
        tuple([dimension_of(fact, name) for name in query.group_by]),
    )
    sums = into.of(group)
    for index, amount in amounts:
        sums[index] += amount
    for unit, count in quantities_of(fact):
        into.add_quantity(group, unit, count)
