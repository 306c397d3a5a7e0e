"""Folding of the SQLite ledger's accounts; what an order does is in a trigger of `_schema`."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable

from tollspan.budget import IDLE_ROWS_AT_ONCE, Account, FoldLook, FoldOrder, FoldRow

from ._files import is_busy
from ._idle import forget
from ._session import Session

_GONE = -1


class SessionFolds:
    """The accounts of a ledger, as its housekeeping folds them: on the connection that it has.

    Args:
        clock: Unix time in nanoseconds, by which idle windows end.

    Attributes:
        session: That connection.
    """

    session: Session

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    def look(self, most: int) -> FoldLook:
        """Show accounts; raises as the function does."""
        return look(self.session, most)

    def fold(self, order: FoldOrder) -> bool:
        """Do as told; False too where somebody else has the file: there is no hurry."""
        try:
            return fold(self.session, (order, self._clock()))
        except sqlite3.OperationalError as error:
            if is_busy(error):
                return False
            raise


def look(session: Session, most: int) -> FoldLook:
    """Show so many accounts at most, in the order in which they were made.

    Raises:
        sqlite3.Error: The file can't be read.
    """
    execute = session.connection.execute
    now = time.time_ns()
    state, after = execute("SELECT state, cursor FROM folding").fetchone()
    found = execute(
        "SELECT id, budget_id, scope, period, unit, posted, mark, held = 0 AND unresolved = 0"
        " FROM accounts WHERE id > ? ORDER BY id LIMIT ?",
        (after, most),
    ).fetchall()
    rows = [
        FoldRow(
            account=Account(budget_id=row[1], scope=row[2], period=row[3], unit=row[4], limit=0),
            posted=row[5],
            mark=row[6],
        )
        for row in found
        if row[7]
    ]
    cursor = str(found[-1][0]) if most and len(found) == most else ""
    return FoldLook(state=state, now_unix_ns=now, rows=tuple(rows), cursor=cursor)


def fold(session: Session, told: tuple[FoldOrder, int]) -> bool:
    """Do as told, in one statement: SQLite has the file for as long as that takes, not Python.

    In another one before it, owners are forgotten that are silent for long.

    Args:
        session: The ledger.
        told: The order; and the time by which idle windows end, Unix nanoseconds.

    Raises:
        sqlite3.Error: No account was folded; others may have the file.
    """
    order, now_unix_ns = told
    forget(session, now_unix_ns, IDLE_ROWS_AT_ONCE)
    marks = [(*_words(row), mark, *_where(None)) for row, mark in order.marks]
    folds = [(*_words(row), _GONE, *_where(into)) for row, into in order.folds]
    done = session.connection.execute(
        "UPDATE folding SET state = ?, cursor = ?, orders = ? WHERE state = ?",
        (order.state, int(order.cursor or 0), json.dumps(marks + folds), order.was),
    )
    return done.rowcount == 1


def _words(row: FoldRow) -> tuple[str | int, ...]:
    """Write a row as it was shown."""
    one = row.account
    return one.budget_id, one.scope, one.period, one.unit, row.posted, row.mark


def _where(into: Account | None) -> tuple[str | None, ...]:
    return (None,) * 3 if into is None else (into.budget_id, into.scope, into.period)
