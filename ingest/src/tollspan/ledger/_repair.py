"""Makes accounts anew from facts, carries a ledger over to another file, saves a damaged one."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from tollspan.budget import Account, fold_target, plain_period
from tollspan.usage import LedgerError, decode_fact

from . import _schema
from ._files import (
    READY,
    SUFFIXES,
    change_places,
    exclusively,
    go_on_changing_places,
    is_busy,
    keep_open,
    moved,
)
from ._idle import find_periods, keep_periods
from ._rescue import NO_EVENT
from ._salvage import Salvaged, salvage
from ._session import (
    MOST_AT_ONCE,
    MOST_IN_ALL,
    Session,
    is_corrupt,
    ledger_error,
)

_logger = logging.getLogger("tollspan.ledger")
_LEAST_EVENT_BYTES = 64
# An event makes an account that is not there with limit 0.
_INSERT_ACCOUNT = (
    "INSERT INTO accounts (budget_id, scope, period, unit, most) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET most = excluded.most"
    " WHERE accounts.most = 0"
)
_INSERT_SUMS = (
    "INSERT INTO accounts (budget_id, scope, period, unit, posted, unresolved, most)"
    " VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT (budget_id, scope, period, unit) DO UPDATE"
    " SET posted = excluded.posted, unresolved = excluded.unresolved"
)
_INSERT_HOLD = (
    "INSERT OR IGNORE INTO holds (call_id, account_id, amount, owner,"
    " started_at_unix_ns, state, granted) SELECT ?, id, ?, ?, ?, ?, ? FROM accounts"
    " WHERE budget_id = ? AND scope = ? AND period = ? AND unit = ?"
)

_INSERT_JOB = "INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, ?, ?, ?)"
# By its event, or by hand.
_IS_SETTLED = (
    "call_id IN (SELECT id FROM events WHERE kind = 'usage') OR call_id IN"
    " (SELECT json_extract(CAST(data AS TEXT), '$.call_id') FROM events"
    "  WHERE kind = 'adjustment' AND json_valid(CAST(data AS TEXT)))"
)
_IS_THERE = (
    "SELECT EXISTS (SELECT 1 FROM accounts"
    "  WHERE budget_id = ? AND scope = ? AND period = ? AND unit = ?)"
    " OR EXISTS (SELECT 1 FROM idle_periods WHERE budget_id = ? AND scope = ? AND period = ?)"
)
_IS_NO_JOB = (
    f"{_IS_SETTLED} OR call_id IN"  # noqa: S608 - constants
    " (SELECT json_extract(CAST(data AS TEXT), '$.lease_id') FROM events"
    "  WHERE kind = 'adjustment' AND json_valid(CAST(data AS TEXT)))"
)
_INSERT_MILESTONE = "INSERT OR IGNORE INTO milestones VALUES (?, ?, ?, ?, ?)"

# High and low halves are summed apart: SQLite's own sum fails beyond 63 bits.
_CHARGES = f"""
SELECT budget_id, scope, period, unit, sum(posted >> 32), sum(posted & 4294967295),
       sum(unresolved >> 32), sum(unresolved & 4294967295), max(time_unix_ns)
FROM (
    SELECT events.time_unix_ns, json_extract(c.value, '$.budget_id') AS budget_id,
           coalesce(json_extract(c.value, '$.scope'), '') AS scope,
           coalesce(json_extract(c.value, '$.period'), '') AS period,
           coalesce(json_extract(c.value, '$.unit'), 'usd') AS unit,
           min(coalesce(json_extract(c.value, '$.posted'), 0), {MOST_AT_ONCE})
               AS posted,
           min(coalesce(json_extract(c.value, '$.unresolved'), 0), {MOST_AT_ONCE})
               AS unresolved
    FROM events, json_each(
        CASE WHEN json_valid(CAST(events.data AS TEXT)) THEN CAST(events.data AS TEXT) END,
        '$.charges') AS c
    WHERE events.kind <> 'decision'
) GROUP BY 1, 2, 3, 4
"""  # noqa: S608 - two constants


def recompute(session: Session) -> None:
    """Make every account's sums anew from events and open holds, in the running transaction."""
    execute = session.connection.execute
    # A call that has its event holds nothing any more.
    execute(f"DELETE FROM holds WHERE {_IS_SETTLED}")  # noqa: S608 - a constant
    execute(f"DELETE FROM jobs WHERE {_IS_NO_JOB}")  # noqa: S608 - the same
    # What no job is known of any more is a hold that nobody can settle.
    execute(
        "UPDATE holds SET state = 1 WHERE state = 2 AND call_id NOT IN (SELECT call_id FROM jobs)"
    )
    execute("UPDATE accounts SET posted = 0, held = 0, unresolved = 0")
    folded: dict[Account, int] = {}
    session.connection.executemany(_INSERT_SUMS, _sums(session.connection, folded))
    session.connection.executemany(
        _INSERT_SUMS,
        [
            (one.budget_id, one.scope, one.period, one.unit, _capped(posted), 0)
            for one, posted in folded.items()
        ],
    )
    execute(
        "UPDATE accounts SET"
        " held = (SELECT coalesce(sum(amount), 0) FROM holds"
        "   WHERE account_id = accounts.id AND state <> 1),"
        " unresolved = min(?, unresolved + (SELECT coalesce(sum(amount), 0)"
        "   FROM holds WHERE account_id = accounts.id AND state = 1))",
        (MOST_IN_ALL,),
    )
    find_periods(session.connection)


def _sums(connection: sqlite3.Connection, folded: dict[Account, int]) -> Iterator[tuple[Any, ...]]:
    """Yield what events charge each account that is there, or that can't have been folded.

    Nor can that of an idle window have been, in whose period its owner is known to be.

    Args:
        connection: The ledger's.
        folded: Gets what was charged to accounts that are not there because they were folded.
    """
    now = time.time_ns()
    for *name, high, low, unresolved_high, unresolved_low, touched in connection.execute(_CHARGES):
        posted = (high << 32) + low
        unresolved = (unresolved_high << 32) + unresolved_low
        if not unresolved and not _is_there(connection, name):
            if not posted:
                continue
            account = Account(
                budget_id=name[0], scope=name[1], period=name[2], unit=name[3], limit=0
            )
            into = fold_target(account, touched, now)
            if into is not None:
                folded[into] = folded.get(into, 0) + posted
                continue
        yield (*name, _capped(posted), _capped(unresolved))


def _is_there(connection: sqlite3.Connection, name: list[str]) -> bool:
    values = (*name, *name[:2], plain_period(name[2]))
    (found,) = connection.execute(_IS_THERE, values).fetchone()
    return bool(found)


def _capped(total: int) -> int:
    return min(total, MOST_IN_ALL)


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
    """Copy events, accounts, holds and sightings that are not there yet, as far as readable."""
    _copy_readable(old, new, _copy_accounts)
    newest = _newest_account(new)
    for copy in _COPIES:
        _copy_readable(old, new, copy)
    _forget_made_by_events(new, newest)


def _copy_readable(
    old: sqlite3.Connection,
    new: sqlite3.Connection,
    copy: Callable[[sqlite3.Connection, sqlite3.Connection], None],
) -> None:
    try:
        copy(old, new)
    except sqlite3.DatabaseError as error:
        if is_busy(error) or not is_corrupt(error):
            raise
        _logger.warning("tollspan can't read all of a damaged ledger: %s", error)


def _newest_account(new: sqlite3.Connection) -> int:
    (newest,) = new.execute("SELECT coalesce(max(id), 0) FROM accounts").fetchone()
    return int(newest)


def _forget_made_by_events(new: sqlite3.Connection, newest: int) -> None:
    """Forget the accounts that old events have made beyond those that were there: folded ones."""
    new.execute(
        "DELETE FROM accounts WHERE id > ? AND id NOT IN (SELECT account_id FROM holds)", (newest,)
    )


def _copy_events(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    insert = (
        "INSERT INTO events (id, kind, time_unix_ns, cost_nanousd, data)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    )
    # SQLite vouches for the pages, not for what is written in them.
    select = (
        "SELECT id, kind, time_unix_ns, cost_nanousd, data FROM events"
        " WHERE json_valid(CAST(data AS TEXT))"
    )
    try:
        new.executemany(insert, _in_unicode(old.execute(f"{select} ORDER BY seq")))
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
        new.executemany(insert, _in_unicode(_row_by_row(old, f"{select} AND seq = ?")))


def _in_unicode(rows: Iterable[tuple[object, ...]]) -> Iterator[tuple[object, ...]]:
    """Step over events that are no text."""
    for row in rows:
        data = row[-1]
        with contextlib.suppress(UnicodeDecodeError):
            if isinstance(data, bytes):
                data.decode()
                yield row


def _row_by_row(old: sqlite3.Connection, query: str) -> Iterator[tuple[object, ...]]:
    """Yield event after event by its number, stepping over what is damaged."""
    for number in range(1, _highest(old) + 1):
        with contextlib.suppress(sqlite3.DatabaseError):
            row = old.execute(query, (number,)).fetchone()
            if row is not None:
                yield row


def _highest(old: sqlite3.Connection) -> int:
    """Return a number that no event's is above; damage may say any, or none."""
    (pages,) = old.execute("PRAGMA page_count").fetchone()
    (size,) = old.execute("PRAGMA page_size").fetchone()
    most = int(pages) * int(size) // _LEAST_EVENT_BYTES
    with contextlib.suppress(sqlite3.DatabaseError):
        (highest,) = old.execute("SELECT max(seq) FROM events").fetchone()
        return min(highest or 0, most)
    return most


def _copy_accounts(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    new.executemany(
        _INSERT_ACCOUNT,
        old.execute("SELECT budget_id, scope, period, unit, most FROM accounts"),
    )


def _copy_folded(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Know what was folded there; what a copy has of it by itself is in a total already."""
    _know_folded(new, old.execute("SELECT id, until_unix_ns FROM folded_ids"))


def _know_folded(new: sqlite3.Connection, ids: Iterable[tuple[str, int]]) -> None:
    new.executemany("INSERT OR IGNORE INTO folded_ids VALUES (?, ?)", ids)
    new.execute("DELETE FROM events WHERE id IN (SELECT id FROM folded_ids)")


def _copy_holds(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    new.executemany(
        _INSERT_HOLD,
        old.execute(
            "SELECT call_id, amount, owner, started_at_unix_ns, state, granted,"
            " budget_id, scope, period, unit FROM holds JOIN accounts ON accounts.id = account_id"
        ),
    )


def _copy_jobs(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    new.executemany(
        _INSERT_JOB,
        old.execute("SELECT call_id, provider, job_id, part, deferred_at_unix_ns, data FROM jobs"),
    )


def _copy_milestones(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    new.executemany(
        _INSERT_MILESTONE,
        old.execute("SELECT budget_id, scope, period, unit, share FROM milestones"),
    )


def _copy_sightings(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    new.executemany(
        "INSERT OR IGNORE INTO sightings VALUES (?, ?, ?, ?)",
        old.execute("SELECT kind, name, count, last_unix_ns FROM sightings"),
    )


def _copy_periods(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    select = "SELECT budget_id, scope, period, ends_at_unix_ns FROM idle_periods"
    keep_periods(new, old.execute(select).fetchall())


_COPIES = (
    _copy_folded,
    _copy_events,
    _copy_holds,
    _copy_jobs,
    _copy_milestones,
    _copy_periods,
    _copy_sightings,
)


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild did: events kept, events lost to damage, and where the old file is now."""

    events: int
    unreadable: int
    old_path: Path | None


def rebuild(path: Path) -> Rebuilt:
    """Make a ledger anew from whatever events and holds its file still gives.

    The old file is kept beside the new one. Programs that run can't write meanwhile, unless the
    damage keeps SQLite from locking the file; they take up the new one by themselves. Whoever opens
    the ledger next finishes a rebuild that was killed when the old file was away.

    Raises:
        LedgerError: The new file can't be written, or the old one not even read.
    """
    draft = path.with_name(f"{path.name}.rebuilding")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with exclusively(path, 5.0):
            go_on_changing_places(path)
            _clear_away(path, draft)
            try:
                with _closed_to_writers(path):
                    kept, unreadable = _write_draft(draft, path)
                    old_path = _change_places(draft, path)
            finally:
                _clear_away(path, draft)
    except (sqlite3.Error, OSError) as error:
        raise ledger_error(error, path) from error
    return Rebuilt(events=kept, unreadable=unreadable, old_path=old_path)


def _clear_away(path: Path, draft: Path) -> None:
    """Remove what is left of a draft, this one's or one's that was killed at it."""
    for suffix in (*SUFFIXES, ".lock"):
        draft.with_name(draft.name + suffix).unlink(missing_ok=True)
    for ready in path.parent.glob(f"{path.name}.*{READY}"):
        if path.exists() or not moved(ready).exists():
            ready.unlink()


@contextlib.contextmanager
def _closed_to_writers(path: Path) -> Generator[None]:
    """Let nobody write into a file, as far as SQLite can still lock it.

    Raises:
        sqlite3.OperationalError: Somebody else keeps it locked.
    """
    if not path.exists():
        yield
        return
    connection = _connect(path, "rw")
    try:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.DatabaseError as error:
            if is_busy(error):
                raise
        yield
    except BaseException:
        keep_open(connection)  # its end would move the log into a file that may be damaged
        raise
    connection.close()  # the file was moved: SQLite leaves its log alone


def _write_draft(draft: Path, path: Path) -> tuple[int, int]:
    """Write everything that can be saved into a new file; return events kept and lost."""
    kept = unreadable = 0
    fresh = Session(draft)
    try:
        fresh.begin(5.0)
        if path.exists():
            if _is_sound(path):
                kept, unreadable = _copy_sound(path, fresh.connection)
            else:
                kept, unreadable = _save_rows(salvage(path), fresh)
        recompute(fresh)
        fresh.commit()
    finally:
        fresh.close()
    return kept, unreadable


def _change_places(draft: Path, path: Path) -> Path | None:
    """Put the new file in the place of the old one; return where that is now."""
    old_path = _unused(path)
    ready = old_path.with_name(old_path.name + READY)
    draft.rename(ready)
    change_places(ready, path, old_path)
    return old_path if old_path.exists() else None


def _unused(path: Path) -> Path:
    """Name a place for the damaged file that nothing has yet."""
    stem = f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}"
    names = (stem if number == 0 else f"{stem}-{number}" for number in itertools.count())
    return next(path.with_name(name) for name in names if not path.with_name(name).exists())


def _is_sound(path: Path) -> bool:
    """Say whether SQLite finds nothing wrong with a file."""
    try:
        with contextlib.closing(_connect(path, "ro")) as connection:
            result: list[tuple[str]] = connection.execute("PRAGMA integrity_check").fetchall()
            return result == [("ok",)] and _schema.is_there(connection)
    except sqlite3.DatabaseError:
        return False


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=5.0, isolation_level=None
    )


def _copy_sound(path: Path, new: sqlite3.Connection) -> tuple[int, int]:
    with contextlib.closing(_connect(path, "ro")) as old:
        _copy_facts(old, new)
        (there,) = old.execute("SELECT count(*) FROM events").fetchone()
    kept = _count(new)
    return kept, int(there) - kept


def _count(new: sqlite3.Connection) -> int:
    (kept,) = new.execute("SELECT count(*) FROM events").fetchone()
    return int(kept)


def _save_rows(found: Salvaged, fresh: Session) -> tuple[int, int]:
    """Store what was read out of a damaged file; return events kept and lost."""
    numbers = set(found.events.values())
    unreadable = set(numbers)
    accounts = [account for _, account in sorted(found.accounts.items())]
    fresh.connection.executemany(_INSERT_ACCOUNT, accounts)
    newest = _newest_account(fresh.connection)
    _know_folded(fresh.connection, found.folded.items())
    for data, number in sorted(found.events.items(), key=itemgetter(1)):
        with contextlib.suppress(*NO_EVENT):
            fresh.store(decode_fact(data))
            unreadable.discard(number)
    known = [hold for hold in found.holds if hold[1] in found.accounts]
    if len(known) < len(found.holds):
        nameless = len(found.holds) - len(known)
        _logger.error("tollspan can't tell any more which budgets %d holds belong to", nameless)
    fresh.connection.executemany(
        _INSERT_HOLD,
        [
            (call, amount, owner, started_at, state, granted, *found.accounts[account][:4])
            for call, account, amount, owner, started_at, state, granted in known
        ],
    )
    fresh.connection.executemany(_INSERT_JOB, found.jobs.values())
    _forget_made_by_events(fresh.connection, newest)
    fresh.connection.executemany(_INSERT_MILESTONE, found.milestones)
    lost = max(numbers, default=0) - len(numbers)
    return _count(fresh.connection), len(unreadable) + max(0, lost)


__all__ = ["LedgerError", "Rebuilt", "carry_over", "rebuild", "recompute"]
