"""Prices stored calls anew: what was counted is taken back, and counted with another cost.

Nothing is edited. What is written is a reversal and a repricing of the same moment as the call, in
one transaction with the sums. What a run that was cut off has left is done by another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

import msgspec
from sqlalchemy import Connection, and_, insert, or_, select

from tollspan.pricing import PriceBook
from tollspan.usage import (
    REVERSAL_SUFFIX,
    Cost,
    Entry,
    Repricing,
    Reversal,
    UsageEvent,
)

from .asking import TooMuchError
from .audit import note
from .horizon import horizon_of
from .keeping import hold_tenant
from .opening import Database
from .reading import EventQuery, EventReader
from .rollups import roll_up
from .rows import CALL_KINDS, REPRICED, Place, StoredEvent, counted_call, row_of
from .tables import EVENTS

MOST_NANOUSD: Final = 10**16
"""What one call can cost, 10 million USD: sums of very many of them are still exact."""
_MOST_ROWS: Final = 100_000
_AT_ONCE: Final = 500
_REST: Final = 0.5  # times as long as a piece took: others store meanwhile
_NS: Final = 10**9
Finding = Literal["same", "other", "no_price"]


class RepriceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls are priced anew.

    Attributes:
        since_unix_ns, until_unix_ns: Calls that began then or later, and before; None for no end.
        model: Only calls that asked for this model; None for all.
    """

    since_unix_ns: int
    until_unix_ns: int | None = None
    model: str | None = None


class RepricedRow(msgspec.Struct, kw_only=True):
    """What other prices change of one day's calls of one model.

    Attributes:
        day: In UTC, `2026-11-29` say.
        model: As it was asked for.
        calls: Calls whose cost is another one.
        newly_priced: Those of them that had no price, or not for all that was used.
        before_nanousd, after_nanousd: What they cost, as far as it is known.
        no_price: Calls besides that have no price now, or a less complete one than before: they
            keep what they have.
    """

    day: str
    model: str
    calls: int = 0
    newly_priced: int = 0
    before_nanousd: int = 0
    after_nanousd: int = 0
    no_price: int = 0


class Repriced(msgspec.Struct, kw_only=True):
    """What other prices change.

    Attributes:
        looked_at: Calls that were priced.
        kept_from_unix_ns: Where the events begin, nanoseconds since the epoch: what was before has
            the cost that it has.
        rows: By day and model, where anything is to be said.
    """

    looked_at: int = 0
    kept_from_unix_ns: int = 0
    rows: list[RepricedRow] = []

    @property
    def calls(self) -> int:
        """Calls whose cost is another one."""
        return sum(row.calls for row in self.rows)

    @property
    def difference_nanousd(self) -> int:
        """What they cost more."""
        return sum(row.after_nanousd - row.before_nanousd for row in self.rows)


class _Correction(NamedTuple):
    """What is written of one call."""

    place: Place
    marks: tuple[str, ...]
    reversal: Reversal
    repricing: Repricing


class Repricer:
    """Prices the calls of a central ledger anew.

    Args:
        database: Where they are.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._reader = EventReader(database)
        self._clock = clock

    def reprice(
        self,
        tenant: str,
        query: RepriceQuery,
        book: PriceBook,
        author: str,
        *,
        is_dry: bool = False,
    ) -> Repriced:
        """Give calls the cost that these prices make of what was used.

        Run again, it finds nothing to do. Each piece of it is a transaction: what was done when it
        is cut off stays done.

        Args:
            tenant: Whose calls.
            query: Which calls.
            book: The prices, of which each call's own day is looked up.
            author: Who asks, for the record.
            is_dry: Only say what would change.

        Raises:
            TooMuchError: Of too many models on too many days.
            PriceBookError: A part of the book can't be read.
            LedgerUnavailableError: The database does not answer.
        """
        run = _Run(author, self._clock(), book)
        with self._database.reading() as connection:
            run.kept_from_ns = horizon_of(connection).closed_before_ns
        since = max(query.since_unix_ns, run.kept_from_ns)
        query = msgspec.structs.replace(query, since_unix_ns=since)
        for page in self._pages(tenant, query, run):
            began = time.monotonic()
            corrections = [one for stored in page if (one := run.correction(stored)) is not None]
            written = corrections if is_dry else self._write(tenant, query, run, corrections)
            for one in written:
                run.add(one)
            if written and not is_dry:
                time.sleep(_REST * (time.monotonic() - began))
        if run.is_begun:
            with self._database.writing() as connection:
                run.note(connection, tenant, query, "repricing.ended")
        return run.result()

    def _pages(self, tenant: str, query: RepriceQuery, run: _Run) -> Iterator[list[StoredEvent]]:
        """Yield what counts calls, page by page; not what this run has written itself."""
        wanted = EventQuery(
            since_unix_ns=query.since_unix_ns,
            until_unix_ns=query.until_unix_ns,
            values={} if query.model is None else {"model": query.model},
            kinds=CALL_KINDS,
            is_only_counted=True,
            most=_AT_ONCE,
        )
        while found := self._reader.events(tenant, wanted):
            yield [one for one in found if not run.has_written(one)]
            if len(found) < wanted.most:
                return
            wanted = msgspec.structs.replace(wanted, after=found[-1].place)

    def _write(
        self, tenant: str, query: RepriceQuery, run: _Run, corrections: Sequence[_Correction]
    ) -> list[_Correction]:
        """Write corrections of calls that nobody corrected meanwhile; return these."""
        if not corrections:
            return []
        with self._database.writing() as connection:
            hold_tenant(connection, tenant, alone=True)
            taken = _taken_back(connection, tenant, [one.place for one in corrections])
            kept_from = horizon_of(connection).closed_before_ns
            left = [
                one for one in corrections if one.place not in taken and one.place[0] >= kept_from
            ]
            if not left:
                return []
            if not run.is_begun:
                run.note(connection, tenant, query, "repricing.began")
            kept: list[tuple[Entry, tuple[str, ...]]] = [
                (entry, one.marks) for one in left for entry in (one.reversal, one.repricing)
            ]
            connection.execute(
                insert(EVENTS),
                [row_of(tenant, entry, run.at_unix_ns, marks) for entry, marks in kept],
            )
            roll_up(connection, tenant, kept, is_postgresql=self._database.is_postgresql)
        run.is_begun = True
        return left


class _Run:
    """One run: what it is called in the books, and what it has found."""

    def __init__(self, author: str, at_unix_ns: int, book: PriceBook) -> None:
        self.at_unix_ns = at_unix_ns
        self.is_begun = False
        self.kept_from_ns = 0
        self._author = author
        self._book = book
        self._looked_at = 0
        self._rows: dict[tuple[str, str], RepricedRow] = {}

    def has_written(self, stored: StoredEvent) -> bool:
        """Say whether this run wrote an event, which stands behind the one that it corrects."""
        fact = stored.fact
        is_of_now = isinstance(fact, Repricing) and fact.at_unix_ns == self.at_unix_ns
        return is_of_now and isinstance(fact, Repricing) and fact.author == self._author

    def correction(self, stored: StoredEvent) -> _Correction | None:
        """Return what has to be written of a call; None for nothing."""
        event = counted_call(stored.fact)
        if event is None:
            return None
        self._looked_at += 1
        cost = _cost(event, self._book)
        match _compare(event.cost, cost):
            case "same":
                return None
            case "no_price":
                self._row(event).no_price += 1
                return None
            case "other":
                assert cost is not None
        number = stored.fact.number if isinstance(stored.fact, Repricing) else 0
        repricing = Repricing(
            event=msgspec.structs.replace(event, cost=cost, charges=(), lease_id=None),
            number=number + 1, at_unix_ns=self.at_unix_ns, author=self._author,
        )  # fmt: skip
        reversal = Reversal(
            event=event, at_unix_ns=self.at_unix_ns, reason=REPRICED, by=repricing.id, number=number
        )
        return _Correction(stored.place, stored.marks, reversal, repricing)

    def add(self, done: _Correction) -> None:
        """Count a correction."""
        before, after = done.reversal.event.cost, done.repricing.event.cost
        row = self._row(done.reversal.event)
        row.calls += 1
        row.newly_priced += before.status != "priced"
        row.before_nanousd += before.amount_nanousd or 0
        row.after_nanousd += after.amount_nanousd or 0

    def note(self, connection: Connection, tenant: str, query: RepriceQuery, action: str) -> None:
        """Write of this run into the audit log."""
        found = self.result()
        note(
            connection, tenant, self.at_unix_ns, self._author, action, self._book.book_id,
            since_unix_ns=query.since_unix_ns, until_unix_ns=query.until_unix_ns, model=query.model,
            calls=found.calls, difference_nanousd=str(found.difference_nanousd),
        )  # fmt: skip

    def result(self) -> Repriced:
        """Return what was found, by day and model."""
        rows = [self._rows[key] for key in sorted(self._rows)]
        return Repriced(looked_at=self._looked_at, kept_from_unix_ns=self.kept_from_ns, rows=rows)

    def _row(self, event: UsageEvent) -> RepricedRow:
        call = event.call
        day = f"{datetime.fromtimestamp(call.started_at_unix_ns // _NS, UTC):%Y-%m-%d}"
        key = day, call.request.model
        found = self._rows.get(key)
        if found is None:
            if len(self._rows) >= _MOST_ROWS:
                raise TooMuchError(
                    f"these are more than {_MOST_ROWS:,} rows of days and models: "
                    "ask for a shorter time"
                )
            found = self._rows[key] = RepricedRow(day=day, model=call.request.model)
        return found


def _cost(event: UsageEvent, book: PriceBook) -> Cost | None:
    """Return what a call costs by a book; None where nothing is to be priced.

    A total of many calls is not: what they cost one by one is not to be had from it.
    """
    if event.usage is None or event.usage.status == "unknown" or event.folded is not None:
        return None
    return book.rate(
        event.call.request, event.outcome.response, event.usage, event.call.started_at_unix_ns,
        ceiling="ceiling" in event.decision.bound_reasons,
    )  # fmt: skip


def _compare(before: Cost, after: Cost | None) -> Finding:
    """Say what another price makes of a call: a known cost is never given up for an unknown one."""
    if after is None or _said(before) == _said(after):
        return "same"
    if after.amount_nanousd is None or after.amount_nanousd > MOST_NANOUSD:
        return "no_price"
    if after.status == "priced" or before.amount_nanousd is None:
        return "other"
    is_as_complete = set(after.unpriced_units) <= set(before.unpriced_units)
    return "other" if before.status == "partial" and is_as_complete else "no_price"


def _said(cost: Cost) -> tuple[str, int | None, frozenset[str]]:
    return cost.status, cost.amount_nanousd, frozenset(cost.unpriced_units)


def _taken_back(connection: Connection, tenant: str, places: Sequence[Place]) -> set[Place]:
    """Return those of these places of which the event is taken back."""
    columns = EVENTS.c
    each = [
        and_(columns.tenant == tenant, columns.time_ns == at, columns.id == own + REVERSAL_SUFFIX)
        for at, own in places
    ]
    rows = connection.execute(select(columns.time_ns, columns.id).where(or_(*each)))
    return {(int(at), own.removesuffix(REVERSAL_SUFFIX)) for at, own in rows}
