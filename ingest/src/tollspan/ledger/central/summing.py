"""Answers what was used: from roll-ups wherever they have it, from events for the rest.

A question about at most one dimension is answered by the hours and days of that dimension; one
about several by the days of combinations. What begins or ends within an hour, or a day, is
read from the events of that part. What no roll-up knows (sessions, users, steps, tags, outcomes;
several dimensions by the hour) is read from events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import (
    Connection,
    Select,
    and_,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.sql import ColumnElement

from tollspan.usage import TOKEN_BUCKETS

from .asking import Order, TooMuchError, UsagePage, UsageQuery, UsageRow
from .measures import COUNTS, GROUPED, MEASURES, RARE, sums_of
from .opening import Database
from .rollups import COMBINATIONS, DAY, HOUR, HOUR_NS, HOURS_PER_DAY, SUM_QUANTITIES, SUMS, kind_of
from .scanning import MOST_GROUPS, Group, Totals, month_start, scan

_DAY_NS: Final = HOURS_PER_DAY * HOUR_NS
_MOST_MONTHS: Final = 240
_OFTEN_NOTHING: Final = (*TOKEN_BUCKETS, *RARE)
_MOST_BY: Final[dict[Order, str]] = {"cost": "cost_nanousd", "denied": "denied"}


class _Segment(NamedTuple):
    """Rows of one kind of roll-up; `start` and `end` in its hours or days, None for no end."""

    kind: str
    start: int
    end: int | None
    month: int | None = None

    @property
    def is_daily(self) -> bool:
        return self.kind.startswith(DAY)


class _Plan(NamedTuple):
    """What is read: roll-ups, and spans of events in nanoseconds."""

    segments: tuple[_Segment, ...]
    spans: tuple[tuple[int, int | None], ...]


class UsageReader:
    """Sums of a central ledger's events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def usage(self, tenant: str, query: UsageQuery) -> UsagePage:
        """Return sums of a tenant's calls.

        Raises:
            TooMuchError: Too many events would have to be read, or too many rows kept.
            LedgerUnavailableError: The database does not answer.
        """
        with self._database.reading() as connection:
            plan = _plan(_with_ends(connection, tenant, query))
            if plan.spans:
                return _from_both(connection, tenant, query, plan)
            return _from_rollups(connection, tenant, query, plan)


def _with_ends(connection: Connection, tenant: str, query: UsageQuery) -> UsageQuery:
    """Give a question that goes by months an end on both sides: where the sums have theirs."""
    if query.bucket != "month":
        return query
    start = SUMS.c.start
    ends = select(func.min(start), func.max(start)).where(
        SUMS.c.tenant == tenant, SUMS.c.kind == DAY
    )
    first, last = connection.execute(ends).one()
    if first is None:
        return msgspec.structs.replace(query, until_unix_ns=query.since_unix_ns)
    end = (int(last) + 1) * _DAY_NS
    return msgspec.structs.replace(
        query,
        since_unix_ns=max(query.since_unix_ns, int(first) * _DAY_NS),
        until_unix_ns=end if query.until_unix_ns is None else min(query.until_unix_ns, end),
    )


def _plan(query: UsageQuery) -> _Plan:
    since, until = query.since_unix_ns, query.until_unix_ns
    if until is not None and until <= since:
        return _Plan((), ())
    names = query.dimensions
    if not names <= frozenset(GROUPED) or (len(names) > 1 and query.bucket == "hour"):
        return _Plan((), ((since, until),))
    unit = _DAY_NS if len(names) > 1 else HOUR_NS
    start, end = -(-since // unit), None if until is None else until // unit
    if end is not None and start >= end:
        return _Plan((), ((since, until),))
    spans: list[tuple[int, int | None]] = []
    if since < start * unit:
        spans.append((since, start * unit))
    if until is not None and end is not None and end * unit < until:
        spans.append((end * unit, until))
    found = (
        _segments(next(iter(names), None), start, end, query)
        if len(names) < 2
        else [_Segment(_combination(names), start, end)]
    )
    if query.bucket == "month":
        found = [part for one in found for part in _by_month(one)]
    return _Plan(tuple(found), tuple(spans))


def _combination(names: frozenset[str]) -> str:
    """Return the kind of combinations with the fewest rows that has these dimensions."""
    return next(kind for kind, of in COMBINATIONS.items() if names <= frozenset(of))


def _segments(
    dimension: str | None, start: int, end: int | None, query: UsageQuery
) -> list[_Segment]:
    """Cover hours by whole days and the hours beside them."""
    hourly, daily = kind_of(HOUR, dimension), kind_of(DAY, dimension)
    first_day = -(-start // HOURS_PER_DAY)
    last_day = None if end is None else end // HOURS_PER_DAY
    if query.bucket == HOUR or (last_day is not None and first_day >= last_day):
        return [_Segment(hourly, start, end)]
    found = [_Segment(daily, first_day, last_day)]
    if start < first_day * HOURS_PER_DAY:
        found.append(_Segment(hourly, start, first_day * HOURS_PER_DAY))
    if end is not None and last_day is not None and last_day * HOURS_PER_DAY < end:
        found.append(_Segment(hourly, last_day * HOURS_PER_DAY, end))
    return found


def _by_month(segment: _Segment) -> Iterator[_Segment]:
    """Cut a segment where months begin; each part knows its month."""
    unit = 1 if segment.is_daily else HOURS_PER_DAY
    assert segment.end is not None
    at, last = segment.start, segment.end
    for _ in range(_MOST_MONTHS):
        if at >= last:
            return
        month = month_start(at // unit)
        following = min(month_start(month + 32) * unit, last)
        yield segment._replace(start=at, end=following, month=month)
        at = following
    raise TooMuchError(f"this has more than {_MOST_MONTHS} months: ask for a shorter time")


def _from_rollups(connection: Connection, tenant: str, query: UsageQuery, plan: _Plan) -> UsagePage:
    if not plan.segments:
        return UsagePage(rows=(), is_last=True)
    present = _present(connection, tenant, plan)
    grouped = _grouped(tenant, query, plan, present)
    keys = [grouped.selected_columns[name] for name in ("at", *_names(query))]
    order = [key.asc().nulls_first() for key in keys]
    if query.order in _MOST_BY:
        order.insert(0, grouped.selected_columns[_MOST_BY[query.order]].desc())
    page = grouped.order_by(*order).offset(query.skip).limit(query.most + 1)
    found: list[tuple[Group, list[int]]] = []
    size = len(query.group_by)
    for row in connection.execute(page):
        group = int(row[0]), tuple(row[1 : 1 + size])
        found.append((group, _amounts(present, row[1 + size :])))
    quantities = _quantities(connection, tenant, query, plan)
    rows = [
        _row(query, group, amounts, quantities.get(group, {}))
        for group, amounts in found[: query.most]
    ]
    return UsagePage(rows=tuple(rows), is_last=len(found) <= query.most)


def _from_both(connection: Connection, tenant: str, query: UsageQuery, plan: _Plan) -> UsagePage:
    totals = Totals()
    size = len(query.group_by)
    if plan.segments:
        present = _present(connection, tenant, plan)
        everything = _grouped(tenant, query, plan, present).limit(MOST_GROUPS + 1)
        for row in connection.execute(everything):
            group = int(row[0]), tuple(row[1 : 1 + size])
            totals.of(group)[:] = _amounts(present, row[1 + size :])
        for group, units in _quantities(connection, tenant, query, plan).items():
            for unit, amount in units.items():
                totals.add_quantity(group, unit, amount)
    scan(connection, tenant, query, list(plan.spans), totals)
    groups = sorted(totals.amounts, key=_place)
    if query.order in _MOST_BY:
        place = MEASURES.index(_MOST_BY[query.order])
        groups.sort(key=lambda group: -totals.amounts[group][place])
    page = groups[query.skip : query.skip + query.most]
    rows = [
        _row(query, group, totals.amounts[group], totals.quantities.get(group, {}))
        for group in page
    ]
    return UsagePage(rows=tuple(rows), is_last=query.skip + query.most >= len(groups))


def _place(group: Group) -> tuple[int, list[tuple[bool, bytes]]]:
    """Return by what groups stand in order: as the database orders bytes, with no value first."""
    return group[0], [(value is not None, (value or "").encode()) for value in group[1]]


def _names(query: UsageQuery) -> list[str]:
    """Name the columns of the groups; their place in the question tells them apart."""
    return [f"value_{index}" for index in range(len(query.group_by))]


def _present(connection: Connection, tenant: str, plan: _Plan) -> tuple[str, ...]:
    """Name the measures of which there is anything: adding up zeros of all others takes longest.

    The days' totals tell; they are few.
    """
    units = [(one, 1 if one.is_daily else HOURS_PER_DAY) for one in plan.segments]
    first = min(one.start // unit for one, unit in units)
    ends = [None if one.end is None else -(-one.end // unit) for one, unit in units]
    days = select(*(func.max(SUMS.c[name]) for name in _OFTEN_NOTHING)).where(
        SUMS.c.tenant == tenant, SUMS.c.kind == DAY, SUMS.c.start >= first
    )
    if None not in ends:
        days = days.where(SUMS.c.start < max(end for end in ends if end is not None))
    most = connection.execute(days).one()
    return (*COUNTS, *(name for name, amount in zip(_OFTEN_NOTHING, most, strict=True) if amount))


def _amounts(present: tuple[str, ...], sums: Sequence[Any]) -> list[int]:
    """Return sums in the order of `MEASURES`, 0 for what is not present."""
    known = dict(zip(present, sums, strict=True))
    return [int(known.get(name, 0)) for name in MEASURES]


def _grouped(
    tenant: str, query: UsageQuery, plan: _Plan, present: tuple[str, ...]
) -> Select[*tuple[Any, ...]]:
    """Sum all segments, group by group."""
    parts = [
        select(
            _at(one, query).label("at"),
            *_values(query),
            *(SUMS.c[name].label(name) for name in present),
        ).where(*_conditions(tenant, query, one))
        for one in plan.segments
    ]
    rows = union_all(*parts).subquery()
    keys = [rows.c[name] for name in ("at", *_names(query))]
    sums = [func.sum(rows.c[name]).label(name) for name in present]
    grouped = select(*keys, *sums)
    # Without any column to group by, there would be a row even where there is nothing.
    return grouped.group_by(*keys)


def _values(query: UsageQuery) -> Iterator[ColumnElement[Any]]:
    for name, dimension in zip(_names(query), query.group_by, strict=True):
        yield SUMS.c[dimension].label(name)


def _at(segment: _Segment, query: UsageQuery) -> ColumnElement[int]:
    """Return the start of a row's bucket, in hours since the epoch."""
    if query.bucket is None:
        return literal(0)
    if segment.month is not None:
        return literal(segment.month * HOURS_PER_DAY)
    if segment.is_daily:
        return SUMS.c.start * HOURS_PER_DAY
    if query.bucket == HOUR:
        return SUMS.c.start * 1
    return SUMS.c.start - SUMS.c.start % HOURS_PER_DAY


def _conditions(tenant: str, query: UsageQuery, segment: _Segment) -> Sequence[ColumnElement[bool]]:
    columns = SUMS.c
    found: list[ColumnElement[bool]] = [
        columns.tenant == tenant, columns.kind == segment.kind, columns.start >= segment.start,
    ]  # fmt: skip
    if segment.end is not None:
        found.append(columns.start < segment.end)
    for name, value in query.where.items():
        found.append(columns[name].is_(null()) if value is None else columns[name] == value)
    return found


def _quantities(
    connection: Connection, tenant: str, query: UsageQuery, plan: _Plan
) -> dict[Group, dict[str, int]]:
    """Return what is counted besides tokens, by group and unit."""
    columns = SUM_QUANTITIES.c
    is_same = and_(*(SUMS.c[name] == columns[name] for name in ("tenant", "kind", "start", "key")))
    parts = [
        select(_at(one, query).label("at"), *_values(query), columns.unit, columns.amount)
        .select_from(SUM_QUANTITIES.join(SUMS, is_same))
        .where(*_conditions(tenant, query, one))
        .where(columns.tenant == tenant, columns.kind == one.kind, columns.start >= one.start)
        for one in plan.segments
    ]
    rows = union_all(*parts).subquery()
    keys = [rows.c[name] for name in ("at", *_names(query))]
    amounts = select(rows.c.unit, func.sum(rows.c.amount), *keys).group_by(*keys, rows.c.unit)
    found: dict[Group, dict[str, int]] = {}
    for row in connection.execute(amounts):
        said: tuple[Any, ...] = tuple(row)
        group = int(said[2]), said[3:]
        found.setdefault(group, {})[said[0]] = int(said[1])
    return found


def _row(
    query: UsageQuery, group: Group, amounts: list[int], quantities: dict[str, int]
) -> UsageRow:
    return UsageRow(
        start_unix_ns=None if query.bucket is None else group[0] * HOUR_NS,
        values=group[1],
        sums=sums_of(amounts, quantities),
    )
