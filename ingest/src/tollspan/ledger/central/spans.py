"""Stores calls that only spans tell of, each once, and takes back what another tells better."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from tollspan.usage import Entry, Fact, UsageEvent

from .bulk import insert_rows
from .candidates import Candidates
from .charges import OWN_EVENT_NS, due_charge, put_charges, take_back_charges
from .horizon import NEVER_CLOSED_NS, horizon_of
from .keeping import (
    find_own_by_key,
    find_own_near,
    find_sightings,
    has_sightings,
    hold_tenant,
    keep_sightings,
    taken_back,
)
from .naming import Names, names_of
from .opening import Database
from .partitions import Partitions
from .rollups import roll_up
from .rows import FROM_SPAN, LATE, SUSPECTED, row_of
from .sameness import (
    Sighting,
    ToldCall,
    Verdict,
    counted_by,
    counted_by_own,
    judge,
    own_sighting,
    sighting_of,
)
from .storing import LATE_NS, Stored, Superseded, Taken, patiently
from .tables import EVENTS


class SpanStore:
    """The calls of a central ledger that spans tell of.

    Args:
        database: Where they are kept.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._clock = clock
        self._partitions = Partitions(database)

    def store(self, tenant: str, told: Sequence[ToldCall]) -> list[Stored]:
        """Store the calls that are new; all is durable when this returns, or nothing was stored.

        Args:
            tenant: Whose they are.
            told: Calls as spans tell of them, in any order, sent for the first time or again. What
                the events of new ones charge is charged.

        Raises:
            LedgerUnavailableError: The database does not answer: nothing was stored, send it again.
        """
        times = [one.event.call.started_at_unix_ns for one in told]
        return patiently(lambda: self._store(tenant, told), self._partitions, times)

    def _store(self, tenant: str, told: Sequence[ToldCall]) -> list[Stored]:
        with self._database.writing() as connection:
            hold_tenant(connection, tenant, alone=True)
            now = self._clock()
            kept = _those_kept(connection, told, now)
            batch = _Batch(connection, tenant, now)
            stored = batch.take_all(kept)
            batch.write()
        if len(kept) == len(told):
            return stored
        of_kept = dict(zip(map(id, kept), stored, strict=True))
        return [
            of_kept.get(id(one)) or Stored(status="too_old", of=one.event.call.id) for one in told
        ]


def _those_kept(
    connection: Connection, told: Sequence[ToldCall], now_ns: int
) -> Sequence[ToldCall]:
    """Return the calls that are not older than all that is kept."""
    if all(now_ns - one.event.call.started_at_unix_ns < NEVER_CLOSED_NS for one in told):
        return told
    closed = horizon_of(connection).closed_before_ns
    return [one for one in told if one.event.call.started_at_unix_ns >= closed]


def supersede(
    connection: Connection, tenant: str, facts: Sequence[Fact], now_ns: int
) -> Superseded:
    """Say what spans told of calls of which a program's own events are being stored.

    Args:
        connection: Of the transaction that stores the events.
        tenant: Whose they are.
        facts: The events, none of which was there.
        now_ns: When this is, nanoseconds since the epoch.

    Returns:
        What takes the events of those spans back, to be stored in the same transaction; and the ids
        of the events that may be of calls that are counted already.
    """
    if not has_sightings(connection, tenant):
        return Superseded()
    calls = [fact for fact in facts if isinstance(fact, UsageEvent) and fact.folded is None]
    batch = _Batch(connection, tenant, now_ns)
    suspected = batch.take_own([own_sighting(call) for call in calls])
    batch.keep()
    return Superseded(taken=batch.taken, originals=batch.originals, suspected=suspected)


class _Batch:
    """One transaction's decisions."""

    def __init__(self, connection: Connection, tenant: str, now_ns: int) -> None:
        self._connection = connection
        self._tenant = tenant
        self._now_ns = now_ns
        self._known = Candidates()
        self._names: dict[str, Names] = {}
        self._events: dict[str, tuple[UsageEvent, tuple[str, ...]]] = {}
        self._gated: set[str] = set()
        self.taken: Taken = []
        self.originals: list[UsageEvent] = []
        self._changed: dict[tuple[str, str], Sighting] = {}

    def take_all(self, told: Sequence[ToldCall]) -> list[Stored]:
        """Decide on calls that spans tell of."""
        seen = [sighting_of(one) for one in told]
        names = [names_of(self._tenant, one.event) for one in told]
        self._names = {one.event_id: one for one in names}
        own = find_own_by_key(self._connection, self._tenant, told, names)
        known = find_sightings(self._connection, self._tenant, seen)
        above = [
            one for one, owner in zip(seen, own, strict=True) if one.is_framework and not owner
        ]
        self._known = Candidates([*known, *find_own_near(self._connection, self._tenant, above)])
        became: dict[int, Stored] = {}
        # What tells most comes first, so that little is taken back; of equals, the earliest.
        for number in sorted(range(len(seen)), key=lambda number: _place(seen[number])):
            became[number] = self._take(told[number], seen[number], own[number])
        return [became[number] for number in range(len(seen))]

    def take_own(self, own: Sequence[Sighting]) -> frozenset[str]:
        """Decide on events of programs, which are stored whatever is known of their calls.

        Returns:
            The ids of those that may be of calls that are counted already.
        """
        suspected: set[str] = set()
        self._known = Candidates(find_sightings(self._connection, self._tenant, own))
        for one in own:
            verdict = judge(one, self._known.of(one))
            self._settle(verdict)
            self._known.add(one)
            if verdict.is_suspected:
                suspected.add(one.event_id)
        return frozenset(suspected)

    def write(self) -> None:
        """Write what was decided on calls that spans tell of."""
        kept: list[tuple[Entry, tuple[str, ...]]] = [*self._events.values(), *self.taken]
        rows = [row_of(self._tenant, entry, self._now_ns, marks) for entry, marks in kept]
        if rows:
            insert_rows(self._connection, EVENTS, rows)
            is_postgresql = self._connection.dialect.name == "postgresql"
            roll_up(self._connection, self._tenant, kept, is_postgresql=is_postgresql)
        self._charge()
        self.keep()

    def _charge(self) -> None:
        """Write what is to be charged, and what was charged and is taken back."""
        take_back_charges(self._connection, self._tenant, self.originals, self._now_ns)
        due = [
            (
                due_charge(self._tenant, event, event.charges),
                self._now_ns + (OWN_EVENT_NS if own in self._gated else 0),
            )
            for own, (event, _) in self._events.items()
            if event.charges
        ]
        put_charges(self._connection, due)

    def keep(self) -> None:
        """Write who told of which call."""
        stored = [(event, self._names[name]) for name, (event, _) in self._events.items()]
        keep_sightings(self._connection, self._tenant, list(self._changed.values()), stored)

    def _take(self, told: ToldCall, seen: Sighting, owner: str | None) -> Stored:
        verdict = self._judge(seen, owner)
        self._settle(verdict)
        kept = counted_by(seen, verdict.counted)
        if self._changed.setdefault((seen.trace_id, seen.span_id), kept) is kept:
            self._known.add(kept)
        if not verdict.stored:
            return Stored(status="duplicate", of=verdict.of)
        marks: tuple[str, ...] = (FROM_SPAN, SUSPECTED) if verdict.is_suspected else (FROM_SPAN,)
        if self._now_ns - seen.event_time_ns > LATE_NS:
            marks += (LATE,)
        self._events[seen.event_id] = (told.event, marks)
        if told.call_id is not None:
            self._gated.add(seen.event_id)
        return Stored(status="accepted", of=seen.event_id, marks=marks)

    def _judge(self, seen: Sighting, owner: str | None) -> Verdict:
        if owner is not None:
            return self._counted_by_own(seen, counted_by_own(seen, owner))
        return judge(seen, self._known.of(seen))

    def _counted_by_own(self, seen: Sighting, own: Sighting) -> Verdict:
        """Return that an own event counts a call, and takes the place of all else that does."""
        verdict = judge(seen, self._known.of(seen))
        others = verdict.reversed
        if not verdict.stored and not verdict.counted.is_own:
            others += (verdict.counted,)
        return Verdict(stored=False, counted=own, reversed=others)

    def _settle(self, verdict: Verdict) -> None:
        """Take back what another event counts."""
        for one in verdict.reversed:
            if self._events.pop(one.event_id, None) is None:
                self._take_back(one, verdict.of)
            for moved in self._known.join(one.event_id, verdict.counted):
                self._changed[moved.trace_id, moved.span_id] = moved

    def _take_back(self, one: Sighting, by: str) -> None:
        taken = taken_back(self._connection, self._tenant, one, by, self._now_ns)
        if taken is not None:
            self.taken.append((taken.reversal, taken.marks))
            self.originals += [] if taken.original is None else [taken.original]


def _place(sighting: Sighting) -> tuple[int, int, int]:
    return -sighting.rank, -sighting.cost_nanousd, sighting.since_unix_ns
