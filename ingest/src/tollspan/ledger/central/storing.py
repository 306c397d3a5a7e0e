"""Stores events of many hosts, each once, whatever is sent twice and whoever sends it meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, TypeVar

import msgspec
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DBAPIError

from tollspan.usage import Entry, Fact, LedgerError, Reversal, UsageEvent, event_time

from .audit import note_adjustments
from .bulk import insert_new, insert_rows
from .charges import DueCharge, put_charges, take_back_charges
from .deliveries import put_down
from .horizon import NEVER_CLOSED_NS, horizon_of
from .keeping import hold_tenant
from .naming import Names, names_of
from .notices import notices_of
from .opening import Database, has_collided, sql_state
from .partitions import Partitions
from .rollups import roll_up
from .rows import LATE, SUSPECTED, row_of
from .tables import EVENT_KEYS, EVENTS

LATE_NS: Final = 3_600 * 10**9
_TRIES: Final = 5
_NO_PARTITION: Final = "23514"  # it was removed meanwhile
_Result = TypeVar("_Result")


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one event.

    Attributes:
        status: `accepted`: stored; `duplicate`: it was there already, and says the same;
            `conflict`: an event of its id says something else, and stays; `too_old`: events of
            its time are kept no more.
        of: The event that was there; its own id if it was stored.
        marks: What was noted with it.
    """

    status: Literal["accepted", "duplicate", "conflict", "too_old"]
    of: str
    marks: tuple[str, ...] = ()


class _Arrival(msgspec.Struct):
    """An event on its way in."""

    fact: Fact
    names: Names
    at_unix_ns: int
    became: Stored | None = None


Taken = list[tuple[Reversal, tuple[str, ...]]]


class Superseded(msgspec.Struct, frozen=True, kw_only=True):
    """What events that are being stored do to those that spans made.

    Attributes:
        taken: What takes events back, each with the marks that it has.
        originals: The events that it takes back as they were first stored, which may have been
            priced anew since: these have charged budgets.
        suspected: Ids of the new events that may be of calls that are counted already.
    """

    taken: Taken = []
    originals: list[UsageEvent] = []
    suspected: frozenset[str] = frozenset()


Supersede = Callable[[Connection, str, Sequence[Fact], int], Superseded]


def _supersedes_nothing(*_: object) -> Superseded:
    return Superseded()


_Owner = tuple[str, bytes]
"""The id of the event that has a name, and what that says it cost."""


class EventStore:
    """The events of a central ledger.

    Args:
        database: Where they are kept.
        clock: Tells the time in nanoseconds since the epoch.
        supersede: Says, in the transaction that stores events, what they tell better and has to be
            taken back, with the marks that it has.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int] = time.time_ns,
        supersede: Supersede | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._partitions = Partitions(database)
        self._supersede = supersede or _supersedes_nothing

    def store(
        self, tenant: str, facts: Sequence[Fact], due: Mapping[str, DueCharge] = {}
    ) -> list[Stored]:
        """Store what is new; all is durable when this returns, or nothing was stored.

        Args:
            tenant: Whose they are.
            facts: Events that were checked, in any order.
            due: By the ids of events, what those that are new charge.

        Raises:
            LedgerUnavailableError: The database does not answer: nothing was stored, send it again.
        """
        if not facts:
            return []
        times = [event_time(one) for one in facts]
        arrivals = [
            _Arrival(fact, names_of(tenant, fact), at)
            for fact, at in zip(facts, times, strict=True)
        ]
        return patiently(lambda: self._store(tenant, arrivals, due), self._partitions, times)

    def _store(
        self, tenant: str, arrivals: Sequence[_Arrival], due: Mapping[str, DueCharge]
    ) -> list[Stored]:
        now = self._clock()
        for one in arrivals:
            one.became = None
        with self._database.writing() as connection:
            hold_tenant(connection, tenant)
            new = _those_kept(connection, arrivals, now)
            new = self._those_with_new_ids(connection, new)
            new = self._those_with_new_answers(connection, new)
            self._claim(connection, [(one, one.names.span) for one in new])
            if new:
                self._write(connection, tenant, new, now)
                ids = [one.names.event_id for one in new]
                put_charges(connection, [(due[one], now) for one in ids if one in due])
        return [one.became for one in arrivals if one.became is not None]

    def _write(
        self, connection: Connection, tenant: str, new: Sequence[_Arrival], now: int
    ) -> None:
        """Write events that are new, and what they take back."""
        superseded = self._supersede(connection, tenant, [one.fact for one in new], now)
        kept: list[tuple[Entry, tuple[str, ...]]] = []
        for one in new:
            own = one.names.event_id
            is_suspected = own in superseded.suspected or one.became is not None
            suspected = (SUSPECTED,) if is_suspected else ()
            late = (LATE,) if now - one.at_unix_ns > LATE_NS else ()
            one.became = Stored(status="accepted", of=own, marks=suspected + late)
            kept.append((one.fact, one.became.marks))
        kept += superseded.taken
        take_back_charges(connection, tenant, superseded.originals, now)
        rows = [row_of(tenant, entry, now, marks) for entry, marks in kept]
        insert_rows(connection, EVENTS, rows)
        is_postgresql = self._database.is_postgresql
        roll_up(connection, tenant, kept, is_postgresql=is_postgresql)
        note_adjustments(connection, tenant, now, [one.fact for one in new])
        notices = list(notices_of(one.fact for one in new))
        put_down(connection, tenant, notices, now, is_postgresql=is_postgresql)

    def _those_with_new_ids(
        self, connection: Connection, arrivals: Sequence[_Arrival]
    ) -> list[_Arrival]:
        """Tell duplicates and conflicts what they are; return the others."""
        owners = self._claim(connection, [(one, one.names.own) for one in arrivals])
        first: dict[bytes, _Arrival] = {}
        new: list[_Arrival] = []
        for one in arrivals:
            names = one.names
            before = first.setdefault(names.own, one)
            owner = owners.get(names.own)
            if owner is None and before is one:
                new.append(one)
                continue
            of, said = owner or (names.event_id, before.names.print)
            one.became = Stored(status="duplicate" if said == names.print else "conflict", of=of)
        return new

    def _those_with_new_answers(
        self, connection: Connection, arrivals: Sequence[_Arrival]
    ) -> list[_Arrival]:
        """Tell second sightings of one answer that they are; return the others.

        An answer of the same id that says something else is another call of a server that repeats
        its ids, or the same one seen otherwise: both count, and the second is marked.
        """
        owners = self._claim(connection, [(one, one.names.answer) for one in arrivals])
        first: dict[bytes, _Arrival] = {}
        new: list[_Arrival] = []
        for one in arrivals:
            answer = one.names.answer
            if answer is None:
                new.append(one)
                continue
            before = first.setdefault(answer, one)
            owner = owners.get(answer)
            if owner is None and before is one:
                new.append(one)
                continue
            of, said = owner or (before.names.event_id, before.names.print)
            if said == one.names.print:
                one.became = Stored(status="duplicate", of=of)
                self._point_to(connection, one.names.own, of)
            else:
                one.became = Stored(status="accepted", of=of, marks=(SUSPECTED,))
                new.append(one)
        return new

    def _claim(
        self, connection: Connection, wanted: Iterable[tuple[_Arrival, bytes | None]]
    ) -> dict[bytes, _Owner]:
        """Take names for events; return who has those that were taken before.

        Where another transaction is just taking one, this waits until it is known whether it did.
        """
        rows: dict[bytes, tuple[object, ...]] = {}
        for one, key in wanted:
            if key is not None and key not in rows:
                names = one.names
                rows[key] = key, names.event_id, names.print, one.at_unix_ns
        if not rows:
            return {}
        in_order = [
            rows[key] for key in sorted(rows)
        ]  # the same for all, so nobody waits in a ring
        inserted = insert_new(connection, EVENT_KEYS, in_order, EVENT_KEYS.c.key)
        taken = {bytes(key) for key in inserted}
        left = [key for key in rows if key not in taken]
        if not left:
            return {}
        found = connection.execute(
            select(EVENT_KEYS.c.key, EVENT_KEYS.c.event_id, EVENT_KEYS.c.print).where(
                EVENT_KEYS.c.key.in_(left)
            )
        )
        return {bytes(key): (of, bytes(said)) for key, of, said in found}

    @staticmethod
    def _point_to(connection: Connection, key: bytes, event_id: str) -> None:
        connection.execute(
            update(EVENT_KEYS).where(EVENT_KEYS.c.key == key).values(event_id=event_id)
        )


def _those_kept(
    connection: Connection, arrivals: Sequence[_Arrival], now_ns: int
) -> Sequence[_Arrival]:
    """Tell what is older than all that is kept that it is; return the others."""
    if now_ns - min(one.at_unix_ns for one in arrivals) < NEVER_CLOSED_NS:
        return arrivals
    closed = horizon_of(connection).closed_before_ns
    for one in arrivals:
        if one.at_unix_ns < closed:
            one.became = Stored(status="too_old", of=one.names.event_id)
    return [one for one in arrivals if one.became is None]


def patiently(
    action: Callable[[], _Result], partitions: Partitions, times_ns: Sequence[int]
) -> _Result:
    """Do something again where two transactions stood in each other's way.

    Args:
        action: A transaction that stores events.
        partitions: Where they go; those that are missing are made before.
        times_ns: Of the events.
    """
    for tries in range(1, _TRIES + 1):
        partitions.make_for(times_ns)
        try:
            return action()
        except LedgerError as error:
            if tries == _TRIES or not (has_collided(error) or _lacks_partition(error)):
                raise
            partitions.forget()
    raise AssertionError("the last try returns or raises")


def _lacks_partition(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and sql_state(cause) == _NO_PARTITION
