"""Makes accounts anew from facts, carries a ledger over to another file, saves a damaged one."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tollspan.usage import LedgerError, decode_event

from ._session import Session, ledger_error

_CHARGES = """
SELECT json_extract(c.value, '$.budget_id'),
       coalesce(json_extract(c.value, '$.scope'), ''),
       coalesce(json_extract(c.value, '$.period'), ''),
       sum(coalesce(json_extract(c.value, '$.posted_nanousd'), 0)),
       sum(coalesce(json_extract(c.value, '$.unresolved_nanousd'), 0))
FROM events, json_each(CAST(events.data AS TEXT), '$.charges') AS c
WHERE events.kind = 'usage' GROUP BY 1, 2, 3
"""


def recompute(session: Session) -> None:
    """Make every account's sums anew from events and open holds, in the running transaction."""
    execute = session.connection.execute
    # A call that has its event holds nothing any more.
    execute("DELETE FROM holds WHERE call_id IN (SELECT id FROM events WHERE kind = 'usage')")
    charges = execute(_CHARGES).fetchall()
    execute("UPDATE accounts SET posted_nanousd = 0, held_nanousd = 0, unresolved_nanousd = 0")
    session.connection.executemany(
        "INSERT INTO accounts (budget_id, scope, period, posted_nanousd, unresolved_nanousd,"
        " limit_nanousd) VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT (budget_id, scope, period) DO UPDATE"
        " SET posted_nanousd = excluded.posted_nanousd,"
        " unresolved_nanousd = excluded.unresolved_nanousd",
        charges,
    )
    execute(
        "UPDATE accounts SET"
        " held_nanousd = (SELECT coalesce(sum(amount_nanousd), 0) FROM holds"
        "   WHERE account_id = accounts.id AND state = 0),"
        " unresolved_nanousd = unresolved_nanousd + (SELECT coalesce(sum(amount_nanousd), 0)"
        "   FROM holds WHERE account_id = accounts.id AND state = 1)"
    )


def carry_over(target: Session, origin: tuple[sqlite3.Connection, str]) -> None:
    """Bring everything that another connection sees into this one, once, in its transaction.

    Args:
        target: Where to; its transaction has begun.
        origin: A connection to the old file, and the name of the process that carries over: of its
            own holds, only those that are still in the old file stay.
    """
    old, owner = origin
    new = target.connection
    _copy_facts(old, new)
    own = [
        row[0]
        for row in old.execute("SELECT DISTINCT call_id FROM holds WHERE owner = ?", (owner,))
    ]
    new.execute("CREATE TEMP TABLE IF NOT EXISTS own (call_id TEXT PRIMARY KEY)")
    new.execute("DELETE FROM own")
    new.executemany("INSERT INTO own VALUES (?)", [(call_id,) for call_id in own])
    new.execute(
        "DELETE FROM holds WHERE owner = ? AND call_id NOT IN (SELECT call_id FROM own)", (owner,)
    )
    recompute(target)


def _copy_facts(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Copy events, accounts, holds and sightings that are not there yet."""
    new.executemany(
        "INSERT OR IGNORE INTO events (id, kind, time_unix_ns, cost_nanousd, data)"
        " VALUES (?, ?, ?, ?, ?)",
        old.execute("SELECT id, kind, time_unix_ns, cost_nanousd, data FROM events ORDER BY seq"),
    )
    new.executemany(
        "INSERT OR IGNORE INTO accounts (budget_id, scope, period, limit_nanousd)"
        " VALUES (?, ?, ?, ?)",
        old.execute("SELECT budget_id, scope, period, limit_nanousd FROM accounts"),
    )
    new.executemany(
        "INSERT OR IGNORE INTO holds (call_id, account_id, amount_nanousd, owner,"
        " started_at_unix_ns, state) SELECT ?, id, ?, ?, ?, ? FROM accounts"
        " WHERE budget_id = ? AND scope = ? AND period = ?",
        old.execute(
            "SELECT call_id, amount_nanousd, owner, started_at_unix_ns, state,"
            " budget_id, scope, period FROM holds JOIN accounts ON accounts.id = account_id"
        ),
    )
    new.executemany(
        "INSERT OR IGNORE INTO sightings VALUES (?, ?, ?, ?)",
        old.execute("SELECT kind, name, count, last_unix_ns FROM sightings"),
    )


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild did: events kept, events lost to damage, and where the old file is now."""

    events: int
    unreadable: int
    old_path: Path | None


def rebuild(path: Path) -> Rebuilt:
    """Make a ledger anew from whatever events and holds its file still gives.

    The old file is kept beside the new one. Run it when no program writes: those that run take up
    the new file by themselves.

    Raises:
        LedgerError: The new file can't be written.
    """
    old_path: Path | None = None
    if path.exists():
        old_path = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(
                    old_path.with_name(old_path.name + suffix)
                )
    fresh = None
    try:
        fresh = Session(path)
        fresh.begin(5.0)
        kept, unreadable = _save_rows(old_path, fresh) if old_path else (0, 0)
        recompute(fresh)
        fresh.commit()
    except (sqlite3.Error, OSError) as error:
        raise ledger_error(error, path) from error
    finally:
        if fresh is not None:
            fresh.close()
    return Rebuilt(events=kept, unreadable=unreadable, old_path=old_path)


def _save_rows(old_path: Path, fresh: Session) -> tuple[int, int]:
    """Copy what can be read out of a damaged file."""
    kept = unreadable = 0
    with contextlib.closing(sqlite3.connect(old_path)) as old:
        for data in _readable(old, "SELECT data FROM events WHERE seq = ?", "events", "seq"):
            try:
                fresh.store(decode_event(data[0]))
                kept += 1
            except (msgspec.DecodeError, msgspec.ValidationError):
                unreadable += 1
        with contextlib.suppress(sqlite3.DatabaseError):
            _copy_accounts_and_holds(old, fresh.connection)
        unreadable += _damaged_rows(old, kept)
    return kept, unreadable


def _copy_accounts_and_holds(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    new.executemany(
        "INSERT INTO accounts (budget_id, scope, period, limit_nanousd) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET limit_nanousd = excluded.limit_nanousd",
        old.execute("SELECT budget_id, scope, period, limit_nanousd FROM accounts").fetchall(),
    )
    new.executemany(
        "INSERT OR IGNORE INTO holds (call_id, account_id, amount_nanousd, owner,"
        " started_at_unix_ns, state) SELECT ?, id, ?, ?, ?, ? FROM accounts"
        " WHERE budget_id = ? AND scope = ? AND period = ?",
        old.execute(
            "SELECT call_id, amount_nanousd, owner, started_at_unix_ns, state,"
            " budget_id, scope, period FROM holds JOIN accounts ON accounts.id = account_id"
        ).fetchall(),
    )


def _readable(old: sqlite3.Connection, query: str, table: str, key: str) -> Iterator[tuple[bytes]]:
    """Yield row after row by key, stepping over what is damaged."""
    try:
        low, high = old.execute(f"SELECT min({key}), max({key}) FROM {table}").fetchone()  # noqa: S608
    except sqlite3.DatabaseError:
        return
    for number in range(low or 0, (high or -1) + 1):
        with contextlib.suppress(sqlite3.DatabaseError):
            row = old.execute(query, (number,)).fetchone()
            if row is not None:
                yield row


def _damaged_rows(old: sqlite3.Connection, kept: int) -> int:
    """Estimate how many events were lost: the highest number given out, less what was kept."""
    try:
        (high,) = old.execute("SELECT max(seq) FROM events").fetchone()
    except sqlite3.DatabaseError:
        return 0
    return max(0, (high or 0) - kept)


__all__ = ["LedgerError", "Rebuilt", "carry_over", "rebuild", "recompute"]
