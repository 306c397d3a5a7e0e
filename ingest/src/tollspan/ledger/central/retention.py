"""Removes events that are older than what is kept, after days were made of them.

In this order: nothing of that time is stored any more; days are made of the events, piece by piece;
readers turn to the days, all at once; an hour later the events are removed. Each piece is one
transaction, and the next begins where the last one ended, whoever was killed between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ColumnElement

from .audit import note
from .day_groups import DAY_NS, DayPlace, KeptDay, TakeApart, day_groups, kept_places, read_day
from .horizon import HORIZON, KEPT_DAYS, Horizon, horizon_of
from .keeping import hold_tenant
from .opening import Database
from .partitions import Month, Partitions
from .reading import EventQuery, EventReader
from .tables import EVENTS

GRACE_NS: Final = 3_600 * 10**9
"""How long events stay after readers have turned to the days: whoever reads them ends before."""
_ROW: Final = 1
_AT_ONCE: Final = 5_000
_REMOVED_AT_ONCE: Final = 2_000
_PAGES_AT_ONCE: Final = 500
_AUTHOR: Final = "tollspan serve"
_FROM_THE_FIRST: Final[dict[str, Any]] = {"tenant": "", "after_ns": 0, "after_id": ""}


class Retention:
    """What a central ledger keeps of old events.

    Args:
        database: Where they are.
        partitions: The tables of months, on PostgreSQL.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        partitions: Partitions,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._database = database
        self._partitions = partitions
        self._reader = EventReader(database)
        self._clock = clock

    @property
    def horizon(self) -> Horizon:
        """Where the books begin."""
        with self._database.reading() as connection:
            return horizon_of(connection)

    def days(
        self, tenant: str, since_unix_ns: int, until_unix_ns: int, *, is_hourly: bool = False
    ) -> Iterator[KeptDay]:
        """Yield what is kept of days before `horizon.kept_from_ns`; as `kept_places`.

        What can't be answered is said at once.

        Raises:
            NotKeptError: A part of a day is asked for, or what is not kept of days.
        """
        span = since_unix_ns, until_unix_ns
        with self._database.reading() as connection:
            places = kept_places(connection, tenant, span, is_hourly=is_hourly)
        return (self._read(tenant, place) for place in places)

    def _read(self, tenant: str, place: DayPlace) -> KeptDay:
        with self._database.reading() as connection:
            return read_day(connection, tenant, place)

    def step(self, keep_from: Month, take_apart: TakeApart) -> bool:
        """Do one piece of what is to be done; say whether there may be more.

        Args:
            keep_from: Events of months before it go. What was removed stays so, whatever is said.
            take_apart: Takes a call's cost apart, for exports of costs.

        Raises:
            LedgerUnavailableError: The database does not answer; what was done before is done.
        """
        found = self.horizon
        if found.is_making_days:
            self._make_days(found, take_apart)
            return True
        if found.removed_before_ns < found.kept_from_ns:
            if self._clock() - found.moved_ns >= GRACE_NS:
                return self._remove(found)
        elif found.kept_from_ns < keep_from.start_ns:
            self._close(found, keep_from)
            return True
        return self._give_back()

    def _close(self, found: Horizon, keep_from: Month) -> None:
        """Have nothing stored any more that began before a month."""
        make = postgresql.insert if self._database.is_postgresql else sqlite.insert
        first = {"number": _ROW, **msgspec.structs.asdict(Horizon())}
        begun = {
            "closed_before_ns": keep_from.start_ns,
            "tenant": "",
            "after_ns": 0,
            "after_id": "",
        }
        with self._database.writing() as connection:
            connection.execute(make(HORIZON).values(first).on_conflict_do_nothing())
            connection.execute(update(HORIZON).values(begun).where(*_is_still(found)))

    def _make_days(self, found: Horizon, take_apart: TakeApart) -> None:
        """Make days of some events of a tenant; of the next one, if there are no more of it."""
        entries = self._reader.events(
            found.tenant,
            EventQuery(
                since_unix_ns=found.kept_from_ns,
                until_unix_ns=found.closed_before_ns,
                after=(found.after_ns, found.after_id) if found.after_id else None,
                most=_AT_ONCE,
            ),
        )
        if not entries:
            self._turn_to_next(found)
            return
        days = day_groups(entries, take_apart)
        rows = [
            {
                "tenant": found.tenant,
                "day": day,
                "chunk": found.chunk,
                "entries": count,
                "body": body,
            }
            for day, (count, body) in days.items()
        ]
        at, own = entries[-1].place
        with self._database.writing() as connection:
            moved = update(HORIZON).values(after_ns=at, after_id=own, chunk=found.chunk + 1)
            if connection.execute(moved.where(*_is_still(found))).rowcount:
                connection.execute(insert(KEPT_DAYS), rows)

    def _turn_to_next(self, found: Horizon) -> None:
        following = select(func.min(EVENTS.c.tenant)).where(EVENTS.c.tenant > found.tenant)
        with self._database.writing() as connection:
            tenant = connection.scalar(following)
            if tenant is not None:
                hold_tenant(connection, tenant, alone=True)  # who stores of it has begun before
                turned = update(HORIZON).values(tenant=tenant, after_ns=0, after_id="")
                connection.execute(turned.where(*_is_still(found)))
        if tenant is None:
            self._finish(found)

    def _finish(self, found: Horizon) -> None:
        """Have readers turn to the days, if they tell of every event; else make them again."""
        first, last = found.kept_from_ns // DAY_NS, found.closed_before_ns // DAY_NS
        of_days = (KEPT_DAYS.c.day >= first, KEPT_DAYS.c.day < last)
        at = EVENTS.c.time_ns
        closed = (at >= found.kept_from_ns, at < found.closed_before_ns)
        with self._database.reading() as connection:
            told = connection.scalar(select(func.sum(KEPT_DAYS.c.entries)).where(*of_days)) or 0
            there = connection.scalar(select(func.count()).select_from(EVENTS).where(*closed))
        now = self._clock()
        done = {**_FROM_THE_FIRST, "kept_from_ns": found.closed_before_ns, "moved_ns": now}
        with self._database.writing() as connection:
            moved = update(HORIZON).values(_FROM_THE_FIRST if told != there else done)
            if not connection.execute(moved.where(*_is_still(found))).rowcount:
                return
            if told != there:
                connection.execute(delete(KEPT_DAYS).where(*of_days))
                return
            month = Month.of(found.closed_before_ns).name
            note(connection, "*", now, _AUTHOR, "events.closed", month, events=there)

    def _remove(self, found: Horizon) -> bool:
        """Remove some of the events that days were made of; say whether there may be more."""
        if self._database.is_postgresql:
            self._partitions.remove_before(Month.of(found.kept_from_ns))
        else:
            with self._database.writing() as connection:
                if _remove_some(connection, found.kept_from_ns):
                    return True
        with self._database.writing() as connection:
            removed = update(HORIZON).values(removed_before_ns=found.kept_from_ns)
            connection.execute(removed)
            month = Month.of(found.kept_from_ns)
            note(connection, "*", self._clock(), _AUTHOR, "events.removed", month.name)
        return True

    def _give_back(self) -> bool:
        """Give some of SQLite's free pages back to the disk; say whether there are more."""
        if self._database.is_postgresql:
            return False
        with self._database.writing() as connection:
            free = connection.exec_driver_sql("PRAGMA freelist_count").scalar() or 0
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
            if free * 10 <= pages:  # new events will need so much
                return False
            for _ in range(_PAGES_AT_ONCE):  # Python's driver does one page of a statement
                connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")
            left = connection.exec_driver_sql("PRAGMA freelist_count").scalar() or 0
        return left < free


def _is_still(found: Horizon) -> list[ColumnElement[bool]]:
    """Ask whether nobody else went on meanwhile."""
    columns = HORIZON.c
    return [
        columns.closed_before_ns == found.closed_before_ns,
        columns.kept_from_ns == found.kept_from_ns,
        columns.tenant == found.tenant,
        columns.after_ns == found.after_ns,
        columns.after_id == found.after_id,
        columns.chunk == found.chunk,
    ]


def _remove_some(connection: Connection, before_ns: int) -> int:
    """Remove some events of a tenant that has any so old; return how many."""
    tenant = ""
    following = text("SELECT min(tenant) FROM events WHERE tenant > :tenant")
    removing = text(
        "DELETE FROM events WHERE rowid IN"
        " (SELECT rowid FROM events WHERE tenant = :tenant AND time_ns < :before LIMIT :most)"
    )
    while (found := connection.scalar(following, {"tenant": tenant})) is not None:
        tenant = found
        values = {"tenant": tenant, "before": before_ns, "most": _REMOVED_AT_ONCE}
        if removed := connection.execute(removing, values).rowcount:
            return removed
    return 0
