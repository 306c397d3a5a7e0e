"""Which period of an idle window an owner is in: the SQLite ledger's statements for it."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from tollspan.budget import (
    IDLE_MEMORY_SECONDS,
    Touch,
    current_key,
    lasts_ns,
    read_idle,
)

from ._session import Session

_NS: Final = 1_000_000_000
_MOST_FORGOTTEN: Final = 16
# One statement, so one transaction. The keys of one budget's periods sort by when they began, but
# for the idle time in them: what comes behind the last slash has one length.
_BEGAN: Final = "substr({0}, -16)"
_TOUCH: Final = f"""
INSERT INTO idle_periods (budget_id, scope, period, ends_at_unix_ns)
VALUES (:budget_id, :scope, :period, :latest - :ago)
ON CONFLICT (budget_id, scope) DO UPDATE SET
    ends_at_unix_ns = max(excluded.ends_at_unix_ns, min(ends_at_unix_ns, :latest)),
    period = CASE
        WHEN :is_known AND {_BEGAN.format("excluded.period")} > {_BEGAN.format("period")}
            THEN excluded.period
        WHEN :is_known OR :now < ends_at_unix_ns OR EXISTS (
            SELECT 1 FROM accounts
            WHERE accounts.budget_id = idle_periods.budget_id
              AND accounts.scope = idle_periods.scope
              AND accounts.period = idle_periods.period AND accounts.unit = :unit
              AND accounts.held > 0
        ) THEN period
        WHEN {_BEGAN.format("excluded.period")} > {_BEGAN.format("period")} THEN excluded.period
        ELSE substr(excluded.period, 1, length(excluded.period) - 16)
            || printf('%016d', CAST({_BEGAN.format("period")} AS INTEGER) + 1)
    END
RETURNING period
"""  # noqa: S608 - constants
LOOK: Final = """
SELECT period, ends_at_unix_ns, EXISTS (
    SELECT 1 FROM accounts
    WHERE accounts.budget_id = idle_periods.budget_id AND accounts.scope = idle_periods.scope
      AND accounts.period = idle_periods.period AND accounts.unit = ? AND accounts.held > 0
) FROM idle_periods WHERE budget_id = ? AND scope = ?
"""
_FORGET: Final = """
DELETE FROM idle_periods WHERE (budget_id, scope) IN (
    SELECT budget_id, scope FROM idle_periods WHERE ends_at_unix_ns < ? AND NOT EXISTS (
        SELECT 1 FROM accounts
        WHERE accounts.budget_id = idle_periods.budget_id
          AND accounts.scope = idle_periods.scope
          AND accounts.period = idle_periods.period AND accounts.held > 0
    )
    ORDER BY ends_at_unix_ns LIMIT ?
)
"""
_KEEP: Final = """
INSERT INTO idle_periods (budget_id, scope, period, ends_at_unix_ns) VALUES (?, ?, ?, ?)
ON CONFLICT (budget_id, scope) DO UPDATE SET
    period = CASE WHEN substr(excluded.period, -16) > substr(period, -16)
        THEN excluded.period ELSE period END,
    ends_at_unix_ns = max(ends_at_unix_ns, excluded.ends_at_unix_ns)
"""


def touch_in(session: Session, asked: tuple[Touch, int]) -> str:
    """Note that an owner is active, and name its period; as `IdleRows.touch` does.

    Args:
        session: The ledger.
        asked: What a holder says, and the time, Unix nanoseconds.
    """
    said, now_unix_ns = asked
    connection = session.connection
    if said.is_look:
        return period_of(connection.execute(LOOK, look_for(said)).fetchone(), said, now_unix_ns)
    account = said.account
    ((period,),) = connection.execute(
        _TOUCH,
        {
            "budget_id": account.budget_id,
            "scope": account.scope,
            "period": account.period,
            "unit": account.unit,
            "latest": now_unix_ns + lasts_ns(said.idle_seconds),
            "ago": said.ago_ns,
            "is_known": said.is_known,
            "now": now_unix_ns,
        },
    ).fetchall()
    if period == account.period and not said.is_known:  # perhaps it has just begun
        forget(session, now_unix_ns, _MOST_FORGOTTEN)
    return str(period)


def forget(session: Session, now_unix_ns: int, most: int) -> None:
    """Forget so many owners that are silent for long, but none in whose period anything is held.

    Raises:
        sqlite3.Error: Nothing was done; others may have the file.
    """
    before = now_unix_ns - IDLE_MEMORY_SECONDS * _NS
    session.connection.execute(_FORGET, (before, most))


def look_for(said: Touch) -> tuple[str, str, str]:
    """Return what `LOOK` looks for."""
    return said.account.unit, said.account.budget_id, said.account.scope


def period_of(found: tuple[str, int, int] | None, said: Touch, now_unix_ns: int) -> str:
    """Name the period that an owner is in, or would begin, by what `LOOK` has found."""
    if found is None:
        return said.account.period
    period, ends_at_unix_ns, is_held = found
    lasts = bool(is_held) or now_unix_ns < ends_at_unix_ns
    return current_key(said, period, lasts=lasts)


def keep_periods(connection: sqlite3.Connection, rows: list[tuple[str, str, str, int]]) -> None:
    """Keep periods that another file knew: the later of two.

    Args:
        connection: To the ledger.
        rows: Budget, scope, period, and when it ends, Unix nanoseconds.
    """
    connection.executemany(_KEEP, rows)


def find_periods(connection: sqlite3.Connection) -> None:
    """Learn from accounts which periods there were that are not known any more.

    Nobody knows when their owners were active last: it counts as now, so that none ends early.
    """
    now = time.time_ns()
    rows: list[tuple[str, str, str, int]] = []
    for budget_id, scope, period in connection.execute(
        "SELECT budget_id, scope, period FROM accounts WHERE period LIKE 'idle:%'"
        " AND NOT EXISTS (SELECT 1 FROM idle_periods WHERE"
        " idle_periods.budget_id = accounts.budget_id AND idle_periods.scope = accounts.scope"
        " AND substr(idle_periods.period, -16) >= substr(accounts.period, -16))"
    ).fetchall():
        named = read_idle(period)
        if named is not None:
            rows.append((budget_id, scope, period, now + lasts_ns(named.idle_seconds)))
    keep_periods(connection, rows)


__all__ = ["LOOK", "find_periods", "forget", "keep_periods", "look_for", "period_of", "touch_in"]
