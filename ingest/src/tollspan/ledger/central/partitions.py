"""The events of each month in a table of their own, on PostgreSQL; SQLite has one for all.

A partition is made before the first event of its month is stored, by housekeeping or by whoever
brings one, and attached so that nobody who stores waits for it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec
from sqlalchemy import Connection, text

from .opening import Database

_NS: Final = 10**9
_LOCK: Final = 0x746F6C6D  # PostgreSQL's advisory lock of who makes or removes partitions
_NAME: Final = re.compile(r"events_([0-9]{4})_([0-9]{2})")
_ATTACHED: Final = text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = 'events'::regclass AND NOT i.inhdetachpending"
)
_HALF_DETACHED: Final = text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = 'events'::regclass AND i.inhdetachpending"
)
_TABLES: Final = text(
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^events_[0-9]{4}_[0-9]{2}$'"
    " AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'events'::regclass)"
)


class Month(msgspec.Struct, frozen=True, order=True):
    """A calendar month, in UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, unix_ns: int) -> Month:
        """Return the month that a time is in, given in nanoseconds since the epoch."""
        moment = datetime.fromtimestamp(unix_ns // _NS, UTC)
        return cls(moment.year, moment.month)

    @property
    def following(self) -> Month:
        """The month after it."""
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    def earlier(self, months: int) -> Month:
        """Return the month so many months before."""
        year, number = divmod(self.year * 12 + self.number - 1 - months, 12)
        return Month(year, number + 1)

    @property
    def name(self) -> str:
        """Its name for people, `2026-11` say."""
        return f"{self.year:04d}-{self.number:02d}"

    @property
    def start_ns(self) -> int:
        """When it begins, in nanoseconds since the epoch."""
        return int(datetime(self.year, self.number, 1, tzinfo=UTC).timestamp()) * _NS

    @property
    def table(self) -> str:
        """The name of its partition."""
        return f"events_{self.year:04d}_{self.number:02d}"


class Partitions:
    """The partitions of one database; safe for threads and between processes.

    Args:
        database: Where they are; on SQLite there are none, and nothing is done.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: frozenset[Month] = frozenset()
        self._making = threading.Lock()

    def make_for(self, times_ns: Iterable[int]) -> None:
        """Make what is missing for events of these times, in nanoseconds since the epoch.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        if not self._database.is_postgresql:
            return
        wanted = {Month.of(at) for at in times_ns}
        if wanted <= self._known:
            return
        with self._making, self._database.writing() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            there = _months(connection)
            for month in sorted(wanted - there):
                _make(connection, month)
        self._known = frozenset(there | wanted)

    def forget(self) -> None:
        """Look again what there is: another process may have removed some."""
        self._known = frozenset()

    def months(self) -> list[Month]:
        """Return the months that have a partition, oldest first.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        with self._database.reading() as connection:
            return sorted(_months(connection))

    def remove_before(self, before: Month) -> int:
        """Remove partitions of months before this one, with their events; return how many.

        They are detached while others store, then dropped. One that a killed process left half
        removed is finished.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        with self._database.alone() as connection:
            for (name,) in connection.execute(_HALF_DETACHED).all():
                connection.exec_driver_sql(f"ALTER TABLE events DETACH PARTITION {name} FINALIZE")
            for month in sorted(_months(connection)):
                if month < before:
                    connection.exec_driver_sql(
                        f"ALTER TABLE events DETACH PARTITION {month.table} CONCURRENTLY"
                    )
            attached = _months(connection)
            left = {_month(name) for (name,) in connection.execute(_TABLES)} - attached
            removed = sorted(month for month in left if month < before)
            for month in removed:
                connection.exec_driver_sql(f"DROP TABLE {month.table}")
        self.forget()
        return len(removed)


def _months(connection: Connection) -> set[Month]:
    return {_month(name) for (name,) in connection.execute(_ATTACHED)}


def _month(table: str) -> Month:
    found = _NAME.fullmatch(table)
    assert found is not None, f"{table} is no partition of ours"
    return Month(int(found[1]), int(found[2]))


def _make(connection: Connection, month: Month) -> None:
    """Make a partition beside the table, and attach it.

    `CREATE TABLE … PARTITION OF` would lock out all who read and store; attaching does not.
    """
    name, first, before = month.table, month.start_ns, month.following.start_ns
    for statement in (
        f"CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
        f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({before})",
    ):
        connection.exec_driver_sql(statement)
