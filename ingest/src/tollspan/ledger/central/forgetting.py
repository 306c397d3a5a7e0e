"""Forgets by what old events are known, some at a time, so that nobody who stores waits long."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, select, tuple_

from .opening import Database
from .tables import EVENT_KEYS, SIGHTINGS

AT_ONCE: Final = 2_000


def forget_names(database: Database, before_unix_ns: int, most: int = AT_ONCE) -> int:
    """Forget names of events before a time, and spans that told of them.

    Only for times of which no event is taken any more.

    Args:
        database: Where they are kept.
        before_unix_ns: When the calls began, nanoseconds since the epoch.
        most: How many of each kind are forgotten in this one transaction.

    Returns:
        How many were; 0 when nothing is left to forget.

    Raises:
        LedgerUnavailableError: The database does not answer.
    """
    keys, spans = EVENT_KEYS.c, SIGHTINGS.c
    place = (spans.tenant, spans.trace, spans.span)
    old_keys = select(keys.key).where(keys.time_ns < before_unix_ns).limit(most)
    old_spans = select(*place).where(spans.since_ns < before_unix_ns).limit(most)
    with database.writing() as connection:
        names = connection.execute(delete(EVENT_KEYS).where(keys.key.in_(old_keys)))
        told = connection.execute(delete(SIGHTINGS).where(tuple_(*place).in_(old_spans)))
        return names.rowcount + told.rowcount
