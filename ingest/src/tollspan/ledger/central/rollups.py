"""Roll-ups: sums of events by hour and day, written in the transaction of the events themselves.

For each hour and each day: the total, and one row for each value of each dimension. For each day
besides: one row for each combination of values, of all dimensions and of some. A late event is
added to the hour and the day in which its call began. Rows are never taken away, whatever becomes
of the events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from operator import add
from typing import Final, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
)
from sqlalchemy.schema import SchemaItem

from tollspan.usage import Adjustment, Entry, event_time

from .measures import GROUPED, MEASURES, OF_REQUESTS, measured, quantities_of
from .rows import of_call
from .tables import METADATA

HOUR_NS: Final = 3_600 * 10**9
HOURS_PER_DAY: Final = 24
DAY: Final = "day"
HOUR: Final = "hour"
COMBINED: Final = "day*"
"""The kinds of roll-ups: `hour` and `day` for totals, `hour:customer` and the like for values of
one dimension, `day*` for combinations of all dimensions."""
COMBINATIONS: Final[dict[str, tuple[str, ...]]] = {
    "day+customer": ("customer", "model"),
    "day-customer": tuple(name for name in GROUPED if name != "customer"),
    COMBINED: GROUPED,
}
"""The kinds of combinations, those with the fewest rows first: of many dimensions, customers are
the one that has many values."""


def _is_whole(name: str) -> SchemaItem:
    """Refuse a sum beyond 63 bits, of which SQLite would make a float, and PostgreSQL an error."""
    return CheckConstraint(f"typeof({name}) = 'integer'").ddl_if(dialect="sqlite")


SUMS: Final = Table(
    "sums",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("start", Integer, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, primary_key=True),
    *(Column(name, Text) for name in GROUPED),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in MEASURES),
    *(_is_whole(name) for name in MEASURES),
    sqlite_with_rowid=False,
)
"""`start` counts hours or days since the epoch; `key` is made of the values. What a batch of events
has nothing of is not named when it is added: that is most of the measures."""
SUM_QUANTITIES: Final = Table(
    "sum_quantities",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("start", Integer, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, primary_key=True),
    Column("unit", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    _is_whole("amount"),
    sqlite_with_rowid=False,
)
"""What is counted besides tokens, of a row of `SUMS`."""
Index(
    "sums_of_customer", SUMS.c.tenant, SUMS.c.customer, SUMS.c.start,
    sqlite_where=SUMS.c.kind == COMBINED, postgresql_where=SUMS.c.kind == COMBINED,
)  # fmt: skip
_DIGEST_BYTES: Final = 16
_Key = TypeVar("_Key")
Values = tuple[str | None, ...]
"""Of the dimensions, in the order of `GROUPED`."""
_Combined = dict[Values, dict[int, int]]
"""Amounts by place in `MEASURES`, of each combination of values."""
_NOTHING: Final[Values] = (None,) * len(GROUPED)


def kind_of(grain: str, dimension: str | None) -> str:
    """Name the roll-up of one dimension's values, or of the total, by hour or day."""
    return grain if dimension is None else f"{grain}:{dimension}"


def values_of(entry: Entry) -> Values:
    """Return an event's values of these dimensions; None for none, or an empty one."""
    fact = of_call(entry)
    if isinstance(fact, Adjustment):
        return _NOTHING
    attribution, request = fact.call.attribution, fact.call.request
    return tuple(
        [getattr(request if name in OF_REQUESTS else attribution, name) or None for name in GROUPED]
    )


class _Row(NamedTuple):
    """What is added to one row of `SUMS`; of `amounts` only those places that the batch has."""

    kind: str
    start: int
    key: bytes
    values: Values
    amounts: list[int]

    @property
    def place(self) -> tuple[str, int, bytes]:
        return self[:3]


def roll_up(
    connection: Connection,
    tenant: str,
    facts: Iterable[tuple[Entry, tuple[str, ...]]],
    *,
    is_postgresql: bool,
) -> None:
    """Add events to the sums, in their transaction.

    Rows are written in one order for all, so that two transactions never wait in a ring.

    Args:
        connection: Of the transaction that stores them.
        tenant: Whose they are.
        facts: Events that are new, with what they were marked with.
        is_postgresql: It is PostgreSQL, not SQLite.
    """
    hours: dict[int, _Combined] = {}
    units: dict[str, dict[int, _Combined]] = {}
    for fact, marks in facts:
        amounts = measured(fact, marks)
        if not amounts:
            continue
        hour, values = event_time(fact) // HOUR_NS, values_of(fact)
        into = hours.setdefault(hour, {}).setdefault(values, {})
        for index, amount in amounts:
            into[index] = into.get(index, 0) + amount
        for unit, count in quantities_of(fact):
            into = units.setdefault(unit, {}).setdefault(hour, {}).setdefault(values, {})
            into[0] = into.get(0, 0) + count
    if not hours:
        return
    used = sorted({index for one in hours.values() for into in one.values() for index in into})
    mark = "%s" if is_postgresql else "?"
    connection.exec_driver_sql(
        _adding(SUMS.name, (*GROUPED, *(MEASURES[index] for index in used)), len(GROUPED), mark),
        [
            (tenant, *row.place, *row.values, *row.amounts)
            for row in sorted(_rows(hours, used), key=_by_place)
        ],
    )
    if units:
        connection.exec_driver_sql(
            _adding(SUM_QUANTITIES.name, ("unit", "amount"), 1, mark),
            [
                (tenant, *row.place, unit, *row.amounts)
                for unit, of_unit in sorted(units.items())
                for row in sorted(_rows(of_unit, [0]), key=_by_place)
            ],
        )


def _by_place(row: _Row) -> tuple[str, int, bytes]:
    return row.place


@lru_cache(maxsize=256)
def _adding(table: str, columns: tuple[str, ...], named: int, mark: str) -> str:
    """Return the SQL that inserts a row, or adds to the one that is there.

    It is written here, and run without SQLAlchemy's own work for each row: that took as long as all
    else that storing an event needs.

    Args:
        table: Of this module.
        columns: Besides tenant, kind, start and key.
        named: How many of these are no amounts.
        mark: How the driver writes a parameter.
    """
    key = ["tenant", "kind", "start", "key", *(name for name in columns[:named] if name == "unit")]
    names = ["tenant", "kind", "start", "key", *columns]
    listed = ", ".join(f'"{name}"' for name in names)
    adds = ", ".join(f'"{name}" = {table}."{name}" + excluded."{name}"' for name in columns[named:])
    unique = ", ".join(f'"{name}"' for name in key)
    return (
        f"INSERT INTO {table} ({listed}) VALUES ({', '.join([mark] * len(names))})"  # noqa: S608 - names of ours
        f" ON CONFLICT ({unique}) DO UPDATE SET {adds}"
    )


def _rows(hours: dict[int, _Combined], used: Sequence[int]) -> Iterator[_Row]:
    """Yield every row that a batch adds to: of its hours, their days, and the combinations."""
    days: dict[int, list[int]] = {}
    hourly: dict[int, list[tuple[int | None, str | None, list[int]]]] = {}
    for hour, combined in hours.items():
        days.setdefault(hour // HOURS_PER_DAY, []).append(hour)
        hourly[hour] = list(_singles(combined, used))
        for dimension, value, amounts in hourly[hour]:
            yield _single(HOUR, hour, dimension, value, amounts)
    for day, of_day in days.items():
        merged: dict[tuple[int | None, str | None], list[int]] = {}
        combos: dict[Values, list[int]] = {}
        for hour in of_day:
            for dimension, value, amounts in hourly[hour]:
                _merge(merged, (dimension, value), amounts)
            for values, into in hours[hour].items():
                _merge(combos, values, [into.get(index, 0) for index in used])
        for (dimension, value), amounts in merged.items():
            yield _single(DAY, day, dimension, value, amounts)
        for kind, names in COMBINATIONS.items():
            for values, amounts in _projected(combos, names).items():
                yield _Row(kind, day, _digest(values), values, amounts)


def _singles(
    combined: _Combined, used: Sequence[int]
) -> Iterator[tuple[int | None, str | None, list[int]]]:
    """Yield the sums of one hour: the total, and those of each value of each dimension."""
    rows = [(values, [into.get(index, 0) for index in used]) for values, into in combined.items()]
    total = [sum(column) for column in zip(*(amounts for _, amounts in rows), strict=True)]
    yield None, None, total
    for dimension in range(len(GROUPED)):
        values = {value[dimension] for value in combined}
        if len(values) == 1:  # as most have: nobody says a team, and all is of one service
            yield dimension, values.pop(), total
            continue
        found: dict[str | None, list[int]] = {}
        for of_row, amounts in rows:
            _merge(found, of_row[dimension], amounts)
        for value, amounts in found.items():
            yield dimension, value, amounts


def _projected(combos: dict[Values, list[int]], names: Sequence[str]) -> dict[Values, list[int]]:
    """Add up combinations that differ only in other dimensions than these."""
    if len(names) == len(GROUPED):
        return combos
    places = [index if name in names else None for index, name in enumerate(GROUPED)]
    found: dict[Values, list[int]] = {}
    for values, amounts in combos.items():
        kept = tuple([None if index is None else values[index] for index in places])
        _merge(found, kept, amounts)
    return found


def _merge(into: dict[_Key, list[int]], key: _Key, amounts: list[int]) -> None:
    """Add amounts to a key's own; what was given is never changed."""
    before = into.get(key)
    into[key] = amounts if before is None else [*map(add, before, amounts)]


def _single(
    grain: str, start: int, dimension: int | None, value: str | None, amounts: list[int]
) -> _Row:
    if dimension is None:
        return _Row(grain, start, b"", _NOTHING, amounts)
    values = (*_NOTHING[:dimension], value, *_NOTHING[dimension + 1 :])
    key = b"" if value is None else value.encode("utf-8", "replace")
    return _Row(kind_of(grain, GROUPED[dimension]), start, key, values, amounts)


def _digest(values: Sequence[str | None]) -> bytes:
    """Digest values; none of them has a control character, so none is taken for another."""
    text = "\0".join("\1" if value is None else value for value in values)
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=_DIGEST_BYTES).digest()
