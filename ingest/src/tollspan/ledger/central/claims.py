"""Work that one process at a time does: who has claimed it, and until when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import BigInteger, Column, Table, Text, delete, or_, update
from sqlalchemy.dialects import postgresql, sqlite

from .opening import Database
from .tables import METADATA

CLAIMS: Final = Table(
    "claims",
    METADATA,
    Column("work", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
)
"""A claim ends by itself, so that a process that was killed keeps nobody from the work."""


class Claims:
    """Claims on work.

    They keep replicas from doing work twice at the same time; it stays right where clocks differ
    and two have a claim, as each piece of it is a transaction that may be done again.

    Args:
        database: Where they are kept.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    def take(self, work: str, holder: str, *, seconds: float) -> bool:
        """Claim work, or keep a claim for longer; say whether the holder has it now.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        now = self._clock()
        values = {"work": work, "holder": holder, "until_ns": now + int(seconds * 1e9)}
        make = postgresql.insert if self._database.is_postgresql else sqlite.insert
        columns = CLAIMS.c
        taking = update(CLAIMS).where(
            columns.work == work, or_(columns.holder == holder, columns.until_ns <= now)
        )
        with self._database.writing() as connection:
            if connection.execute(taking.values(values)).rowcount:
                return True
            new = make(CLAIMS).values(values).on_conflict_do_nothing()
            return connection.scalar(new.returning(columns.work)) is not None

    def release(self, work: str, holder: str) -> None:
        """End a claim, if the holder has it.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns = CLAIMS.c
        with self._database.writing() as connection:
            connection.execute(delete(CLAIMS).where(columns.work == work, columns.holder == holder))
