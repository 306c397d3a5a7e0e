"""From when on events are kept, and how far the removal of older ones has come."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Integer, LargeBinary, Table, Text, select

from .asking import TooMuchError
from .tables import METADATA

HORIZON: Final = Table(
    "horizon",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kept_from_ns", BigInteger, nullable=False),
    Column("closed_before_ns", BigInteger, nullable=False),
    Column("removed_before_ns", BigInteger, nullable=False),
    Column("moved_ns", BigInteger, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("after_ns", BigInteger, nullable=False),
    Column("after_id", Text, nullable=False),
    Column("chunk", Integer, nullable=False),
)
"""One row, number 1; none until events are removed for the first time."""
KEPT_DAYS: Final = Table(
    "kept_days",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("chunk", Integer, primary_key=True, autoincrement=False),
    Column("entries", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""What is kept of removed events: groups of a day, in days since the epoch, some at a time."""
NEVER_CLOSED_NS: Final = 30 * 86_400 * 10**9
"""What is not older than this is never closed, so nobody who stores it has to ask."""


class Horizon(msgspec.Struct, frozen=True, kw_only=True):
    """Where the books begin; times in nanoseconds since the epoch, all midnights but one.

    Attributes:
        kept_from_ns: Events that began before are told by the days that are kept of them.
        closed_before_ns: Nothing that began before is stored any more. Between the two, days are
            being made of events.
        removed_before_ns: Events that began before are gone.
        moved_ns: When `kept_from_ns` was moved.
        tenant, after_ns, after_id: Behind which event the making of days goes on.
        chunk: Counts what was written of days.
    """

    kept_from_ns: int = 0
    closed_before_ns: int = 0
    removed_before_ns: int = 0
    moved_ns: int = 0
    tenant: str = ""
    after_ns: int = 0
    after_id: str = ""
    chunk: int = 0

    @property
    def is_making_days(self) -> bool:
        """Days are being made of events."""
        return self.kept_from_ns < self.closed_before_ns


class NotKeptError(TooMuchError):
    """A question would need events that were removed; the text says how to ask otherwise."""


def horizon_of(connection: Connection) -> Horizon:
    """Return where the books begin, as a transaction sees it."""
    row = connection.execute(select(HORIZON)).mappings().one_or_none()
    if row is None:
        return Horizon()
    return Horizon(**{name: row[name] for name in Horizon.__struct_fields__})
