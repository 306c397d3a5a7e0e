"""One SQLite connection and the ledger's statements. Not safe for threads: its owner locks."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import time
from pathlib import Path

from tollspan.budget import Account, Balance, Hold, Refusal
from tollspan.usage import (
    DecisionEvent,
    Event,
    LedgerCorruptError,
    LedgerError,
    LedgerUnavailableError,
    UsageEvent,
    encode_event,
)

from . import _files, _schema

_TRIES_TO_SAY_WHY = 3
_CORRUPT_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

MOST_AT_ONCE_NANOUSD = 1 << 60
"""What one charge counts at most, as in the triggers."""
MOST_NANOUSD = 1 << 62
"""What one sum of an account counts at most, as in the triggers."""

# Limits are those of the rules by which the hold is asked for.
_HOLD_ONE = (
    "INSERT INTO holds (account_id, amount_nanousd, call_id, owner, started_at_unix_ns)"
    " SELECT id, ?2, ?4, ?5, ?6 FROM accounts WHERE id = ?1"
    " AND posted_nanousd + held_nanousd + unresolved_nanousd + ?2 <= ?3"
)
_HOLD_ALL = (
    # INSERT comes first: the driver of Python 3.11 counts rows of no statement that starts WITH.
    "INSERT INTO holds (account_id, amount_nanousd, call_id, owner, started_at_unix_ns)"
    " WITH legs (account_id, amount, most) AS (VALUES {legs})"
    " SELECT account_id, amount, ?, ?, ? FROM legs WHERE {count} = (SELECT count(*) FROM legs"
    " JOIN accounts ON accounts.id = legs.account_id"
    " WHERE posted_nanousd + held_nanousd + unresolved_nanousd + amount <= most)"
)
_INSERT_EVENT = (
    "INSERT INTO events (id, kind, time_unix_ns, cost_nanousd, data)"
    " VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
)


class Session:
    """A connection to a ledger file.

    Args:
        path: The file; made when it is missing.
        is_durable: Every commit waits for the disk.
        wait_seconds: How long others may keep the file from being opened.

    Raises:
        sqlite3.Error, OSError, LedgerUnavailableError: It can't be opened.
    """

    def __init__(self, path: Path, *, is_durable: bool = False, wait_seconds: float = 5.0) -> None:
        self.path = path
        self._connection, self._inode = _files.connect(path, wait_seconds)
        self._execute = self._connection.execute
        self._ids: dict[Account, int] = {}
        self._accounts: dict[int, Account] = {}
        self._log_inode = 0
        try:
            _files.patiently(lambda: self._set_up(is_durable=is_durable), wait_seconds, path)
            self._log_inode = _files.inode(path.with_name(f"{path.name}-wal"))
            if self.has_lost_its_file():  # then it may have the log of another file
                raise LedgerUnavailableError(f"{path} was moved this instant")
        except BaseException:
            self.close()
            raise

    def _set_up(self, *, is_durable: bool) -> None:
        """Set the connection up; a file that is a ledger already is not written to."""
        execute = self._execute
        if execute("PRAGMA journal_mode").fetchone() != ("wal",):
            execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
        execute("PRAGMA wal_autocheckpoint = 0")
        if not _schema.is_there(self._connection):
            execute("BEGIN IMMEDIATE")
            try:
                _schema.create(self._connection)
                self.commit()
            except BaseException:
                self.rollback()
                raise

    # -- transactions --

    def begin(self, wait_seconds: float) -> None:
        """Start a write transaction of more than one statement: for repairs, not for calls.

        Raises:
            LedgerUnavailableError: Others had the file all the time.
        """
        _files.patiently(lambda: self._execute("BEGIN IMMEDIATE"), wait_seconds, self.path)

    def commit(self) -> None:
        """End the transaction; what it wrote survives the process from here on."""
        self._execute("COMMIT")

    def rollback(self) -> bool:
        """Undo the transaction; False when there was none. Never raises."""
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
                return True
        return False

    def close(self) -> None:
        """Close the connection; never raises."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def abandon(self) -> None:
        """Let go of the connection without closing it: in a forked child, whose parent uses it."""
        _files.keep_open(self._connection)

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for the ledger's readers and its repair."""
        return self._connection

    def has_lost_its_file(self) -> bool:
        """Say whether the path no longer leads to the file that is open here."""
        try:
            return self.path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def take_log_away(self) -> None:
        """Remove this lost file's log from the path: SQLite would take it for the new file's."""
        log = self.path.with_name(f"{self.path.name}-wal")
        with _files.exclusively(self.path, wait_seconds=1.0):
            if self._log_inode and _files.inode(log) == self._log_inode:
                for suffix in _files.SUFFIXES[1:]:
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    # -- the ledger's statements: each a transaction of its own, unless one has begun --

    def hold(self, hold: Hold, owner: str) -> Refusal | None:
        """Hold in every account or in none; again for the same call changes nothing."""
        if not hold.legs:
            return None
        for _ in range(_TRIES_TO_SAY_WHY):
            if self._holds(hold, owner):
                return None
            short = tuple(
                [
                    balance
                    for balance, amount in self._balances(hold)
                    if balance.counted_nanousd + amount > balance.account.limit_nanousd
                ]
            )
            if short:
                return self._refuse(hold, short)
        return self._refuse(hold, tuple([balance for balance, _ in self._balances(hold)]))

    def _holds(self, hold: Hold, owner: str) -> bool:
        """Try to hold."""
        ids = self._ids
        legs = hold.legs
        count = len(legs)
        values: list[int | str] = []
        for account, amount in legs:
            values += (ids.get(account) or self._register(account), amount, account.limit_nanousd)
        values += (hold.call_id, owner, hold.started_at_unix_ns)
        try:
            done = self._execute(_HOLD_ONE if count == 1 else _hold_all(count), values).rowcount
        except sqlite3.IntegrityError:
            return True  # it holds already
        except OverflowError:
            return False  # more than SQLite can count is more than any limit
        return done == count

    def post(self, event: UsageEvent) -> None:
        """Store an event once, charge its accounts, and settle what its call held."""
        call = event.call
        cost = event.cost.amount_nanousd
        if cost is not None and cost > MOST_AT_ONCE_NANOUSD:
            cost = MOST_AT_ONCE_NANOUSD
        self._execute(
            _INSERT_EVENT,
            (call.id, "usage", call.started_at_unix_ns, cost, encode_event(event)),
        )

    def note(self, event: DecisionEvent) -> None:
        """Store a refusal once."""
        self._execute(
            _INSERT_EVENT,
            (event.id, "decision", event.call.started_at_unix_ns, None, encode_event(event)),
        )

    def store(self, event: Event) -> None:
        """Store any event once."""
        if isinstance(event, UsageEvent):
            self.post(event)
        else:
            self.note(event)

    def release(self, call_id: str) -> None:
        """Give back what a call holds and will never use."""
        self._execute("DELETE FROM holds WHERE call_id = ? AND state = 0", (call_id,))

    def sight(self, kind: str, name: str, count: int, unix_ns: int) -> None:
        """Count something that should not happen."""
        self._execute(
            "INSERT INTO sightings VALUES (?1, ?2, ?3, ?4) ON CONFLICT (kind, name) DO UPDATE"
            " SET count = count + ?3, last_unix_ns = max(last_unix_ns, ?4)",
            (kind, name, count, unix_ns),
        )

    def checkpoint(self, *, wait_seconds: float | None = None) -> bool:
        """Move the log into the file; True when all of it was moved.

        Args:
            wait_seconds: With None, move what can be moved without keeping anybody. Else how long
                to try for a moment in which nobody writes; then writers wait till the log is empty.
        """
        if wait_seconds is None:
            _, logged, moved = self._execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return bool(logged == moved)
        give_up_at = time.monotonic() + wait_seconds
        while self._execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() >= give_up_at:
                return False
            time.sleep(0.0005)
        return True

    def wait_inside(self, milliseconds: int) -> None:
        """Let each statement wait so long for the file, inside SQLite."""
        self._execute(f"PRAGMA busy_timeout = {milliseconds}")

    def touch(self) -> None:
        """Write something that means nothing, unless somebody else writes this instant."""
        with contextlib.suppress(sqlite3.OperationalError):
            self._execute(
                "INSERT INTO meta VALUES ('touched', 1) ON CONFLICT (key) DO UPDATE"
                " SET value = value + 1"
            )

    def orphan(self, owner: str) -> int:
        """Turn the open holds of a dead process into unresolved ones; return how many calls."""
        calls = self._execute(
            "SELECT count(DISTINCT call_id) FROM holds WHERE owner = ? AND state = 0", (owner,)
        ).fetchone()[0]
        self._execute("UPDATE holds SET state = 1 WHERE owner = ? AND state = 0", (owner,))
        return int(calls)

    def owners(self) -> list[str]:
        """Name every process that has open holds."""
        return [
            row[0]
            for row in self._execute("SELECT DISTINCT owner FROM holds WHERE state = 0").fetchall()
        ]

    # -- inside --

    def _register(self, account: Account) -> int:
        """Find an account or make it, and keep the limit that people are shown."""
        ((row,),) = self._execute(
            "INSERT INTO accounts (budget_id, scope, period, limit_nanousd) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (budget_id, scope, period) DO UPDATE"
            " SET limit_nanousd = excluded.limit_nanousd RETURNING id",
            (account.budget_id, account.scope, account.period, account.limit_nanousd),
        ).fetchall()
        if len(self._ids) >= 10_000:
            self.forget_accounts()
        former = self._accounts.pop(row, None)
        if former is not None:
            self._ids.pop(former, None)
        self._accounts[row] = account
        self._ids[account] = row
        return int(row)

    def forget_accounts(self) -> None:
        """Look accounts up anew: after a rollback, a registration may be gone."""
        self._ids.clear()
        self._accounts.clear()

    def _balances(self, hold: Hold) -> list[tuple[Balance, int]]:
        """Return how the accounts of a hold stand, with what it asks of each."""
        found: list[tuple[Balance, int]] = []
        for account, amount in hold.legs:
            row = self._ids.get(account) or self._register(account)
            posted, held, unresolved = self._execute(
                "SELECT posted_nanousd, held_nanousd, unresolved_nanousd FROM accounts"
                " WHERE id = ?",
                (row,),
            ).fetchone()
            balance = Balance(
                account=account,
                posted_nanousd=posted,
                held_nanousd=held,
                unresolved_nanousd=unresolved,
            )
            found.append((balance, amount))
        return found

    def _refuse(self, hold: Hold, short: tuple[Balance, ...]) -> Refusal | None:
        """Say why a hold was not made; None when its call holds already."""
        query = "SELECT 1 FROM holds WHERE call_id = ?"
        if self._execute(query, (hold.call_id,)).fetchone() is not None:
            return None
        return Refusal(balances=short, asked_nanousd=max(amount for _, amount in hold.legs))


@functools.cache
def _hold_all(count: int) -> str:
    """Write the statement that holds in so many accounts."""
    return _HOLD_ALL.format(legs=", ".join(["(?, ?, ?)"] * count), count=count)


def is_corrupt(error: sqlite3.Error) -> bool:
    """Say whether the file is damaged."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT_CODES


def ledger_error(error: sqlite3.Error | OSError, path: Path) -> LedgerError:
    """Put an error of SQLite or the file system into our words."""
    if isinstance(error, sqlite3.Error) and is_corrupt(error):
        return LedgerCorruptError(f"{path} is damaged ({error}): run `tollspan ledger rebuild`")
    return LedgerUnavailableError(f"{path} can't be used: {error}")
