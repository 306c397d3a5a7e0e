"""Reads stored events in the order of their times, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from sqlalchemy import Exists, and_, exists, or_, select

from tollspan.usage import OWNERS, REVERSAL_SUFFIX

from .doubts import Doubt, is_of
from .opening import Database
from .rows import DECISION, REVERSAL, Place, StoredEvent, stored_event
from .tables import EVENTS, IS_DECISION

FILTERS: Final = (*OWNERS, "kind", "provider", "model", "operation", "outcome", "cost_status",
                  "usage_status")  # fmt: skip
"""What events can be asked for by, besides their time."""


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are asked for.

    Attributes:
        since_unix_ns, until_unix_ns: Not before, and before; None for no end.
        values: By filter, its value; None for events that say none.
        kinds: Only events of these kinds; empty for all.
        doubt: Only events of which this is to be said; None for all.
        is_only_counted: Leave out what was taken back, and what took it back.
        is_newest_first: The order.
        after: Only what comes after this place, in that order.
        most: How many.
    """

    since_unix_ns: int | None = None
    until_unix_ns: int | None = None
    values: Mapping[str, str | None] = {}
    kinds: tuple[str, ...] = ()
    doubt: Doubt | None = None
    is_only_counted: bool = False
    is_newest_first: bool = False
    after: Place | None = None
    most: int = 100


class EventReader:
    """The events of a central ledger, to be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, tenant: str, query: EventQuery) -> Iterator[StoredEvent]:
        """Yield a tenant's events, from the first that is asked for to the last, page by page.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        while page := self.events(tenant, query):
            yield from page
            if len(page) < query.most:
                return
            query = msgspec.structs.replace(query, after=page[-1].place)

    def events(self, tenant: str, query: EventQuery) -> list[StoredEvent]:
        """Return a page of a tenant's events.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns = EVENTS.c
        found = select(columns.body, columns.received_ns, columns.marks).where(
            columns.tenant == tenant
        )
        if query.since_unix_ns is not None:
            found = found.where(columns.time_ns >= query.since_unix_ns)
        if query.until_unix_ns is not None:
            found = found.where(columns.time_ns < query.until_unix_ns)
        for name, value in query.values.items():
            found = found.where(columns[name].is_not_distinct_from(value))
        if query.kinds:
            found = found.where(columns.kind.in_(query.kinds))
        if query.values.get("kind") == DECISION:
            found = found.where(IS_DECISION)
        if query.doubt is not None:
            found = found.where(*is_of(query.doubt))
        if query.is_only_counted:
            found = found.where(columns.kind != REVERSAL, ~is_taken_back())
        if query.after is not None:
            at, event_id = query.after
            is_beyond = (
                or_(columns.time_ns < at, and_(columns.time_ns == at, columns.id < event_id))
                if query.is_newest_first
                else or_(columns.time_ns > at, and_(columns.time_ns == at, columns.id > event_id))
            )
            bound = columns.time_ns <= at if query.is_newest_first else columns.time_ns >= at
            found = found.where(bound, is_beyond)
        order = (
            (columns.time_ns.desc(), columns.id.desc())
            if query.is_newest_first
            else (columns.time_ns, columns.id)
        )
        with self._database.reading() as connection:
            rows = connection.execute(found.order_by(*order).limit(query.most)).mappings()
            return [stored_event(row) for row in rows]


def is_taken_back() -> Exists:
    """Ask for what takes an event back: it is of the same time, and named after it."""
    reversal = EVENTS.alias()
    return exists().where(
        reversal.c.tenant == EVENTS.c.tenant,
        reversal.c.time_ns == EVENTS.c.time_ns,
        reversal.c.id == EVENTS.c.id.concat(REVERSAL_SUFFIX),
        reversal.c.kind == REVERSAL,
    )
