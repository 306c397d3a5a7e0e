"""Inserts and finds many rows at once, without SQLAlchemy's own work for each value."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import Column, Connection, Row, Table

_AT_ONCE: Final = 400
_MARKS: Final = {"postgresql": "%s", "sqlite": "?"}


def insert_rows(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, object]], then: str = ""
) -> None:
    """Insert rows, which are mappings of the table's columns, all of them.

    Args:
        connection: Of the transaction.
        table: Of ours.
        rows: What is inserted.
        then: What SQL says behind the values: `ON CONFLICT …`.
    """
    if not rows:
        return
    names = tuple(table.columns.keys())
    statement = _statement(table.name, names, _MARKS[connection.dialect.name], then)
    connection.exec_driver_sql(statement, [tuple([row[name] for name in names]) for row in rows])


def insert_new(
    connection: Connection, table: Table, rows: Sequence[Sequence[object]], key: Column[Any]
) -> Iterator[Any]:
    """Insert rows that are not there yet; yield the keys of those that were inserted.

    Where another transaction is just inserting one, this waits until it is known whether it did.

    Args:
        connection: Of the transaction.
        table: Of ours.
        rows: Values of all of the table's columns, in their order.
        key: The column that tells rows apart.
    """
    names = tuple(table.columns.keys())
    mark = _MARKS[connection.dialect.name]
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        statement = _insertion(table.name, names, key.name, len(some), mark)
        values = tuple(chain.from_iterable(some))
        for row in connection.exec_driver_sql(statement, values).all():
            yield row[0]


@lru_cache(maxsize=1_024)
def _insertion(table: str, names: tuple[str, ...], key: str, count: int, mark: str) -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    values = ", ".join([f"({', '.join([mark] * len(names))})"] * count)
    return (
        f"INSERT INTO {table} ({listed}) VALUES {values}"  # noqa: S608 - names of ours
        f' ON CONFLICT DO NOTHING RETURNING "{key}"'
    )


@lru_cache(maxsize=64)
def _statement(table: str, names: tuple[str, ...], mark: str, then: str) -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join([mark] * len(names))
    return f"INSERT INTO {table} ({listed}) VALUES ({marks}) {then}"  # noqa: S608 - names of ours


def find_rows(
    connection: Connection,
    wanted: Sequence[Column[Any]],
    among: Column[Any],
    values: Collection[object],
    where: Mapping[str, object] = {},
) -> Iterator[Row[*tuple[Any, ...]]]:
    """Yield the rows whose column has one of these values.

    Args:
        connection: To the database.
        wanted: Columns of one table.
        among: Another of that table's.
        values: What it may be; any number.
        where: Conditions besides: a column and how it compares (`tenant =`) → with what.
    """
    said = tuple(values)
    for start in range(0, len(said), _AT_ONCE):
        some = said[start : start + _AT_ONCE]
        statement = _selection(
            among.table.name,
            tuple([column.name for column in wanted]),
            among.name,
            len(some),
            tuple(where),
            _MARKS[connection.dialect.name],
        )
        yield from connection.exec_driver_sql(statement, (*where.values(), *some))


def find_pairs(
    connection: Connection,
    wanted: Column[Any],
    among: tuple[Column[Any], Column[Any]],
    pairs: Collection[tuple[str, str]],
    where: Mapping[str, object],
) -> Iterator[Any]:
    """Yield a column of the rows of which two columns together are one of these pairs.

    The pairs lead: SQLite would look through all else that an index of both begins with.

    Args:
        connection: To the database.
        wanted: A column of a table.
        among: Two more of that table's.
        pairs: What those two may be; any number.
        where: As for `find_rows`.
    """
    said = tuple(pairs)
    mark = _MARKS[connection.dialect.name]
    for start in range(0, len(said), _AT_ONCE):
        some = said[start : start + _AT_ONCE]
        statement = _pairing(
            among[0].table.name, wanted.name, (among[0].name, among[1].name), len(some),
            tuple(where), mark,
        )  # fmt: skip
        values = (*chain.from_iterable(some), *where.values())
        for row in connection.exec_driver_sql(statement, values):
            yield row[0]


@lru_cache(maxsize=1_024)
def _pairing(
    table: str, wanted: str, among: tuple[str, str], count: int, where: tuple[str, ...], mark: str
) -> str:
    pairs = ", ".join([f"({mark}, {mark})"] * count)
    conditions = [f"t.{one} {mark}" for one in where]
    conditions += [f't."{among[0]}" = pairs.a', f't."{among[1]}" = pairs.b']
    return (
        f"WITH pairs(a, b) AS (VALUES {pairs})"  # noqa: S608 - names of ours
        f' SELECT t."{wanted}" FROM pairs CROSS JOIN {table} AS t WHERE {" AND ".join(conditions)}'
    )


@lru_cache(maxsize=1_024)
def _selection(
    table: str, wanted: tuple[str, ...], among: str, count: int, where: tuple[str, ...], mark: str
) -> str:
    listed = ", ".join(f'"{name}"' for name in wanted)
    conditions = [f"{one} {mark}" for one in where]
    marks = ", ".join([mark] * count)
    conditions.append(f'"{among}" IN ({marks})')
    return f"SELECT {listed} FROM {table} WHERE {' AND '.join(conditions)}"  # noqa: S608 - names of ours
