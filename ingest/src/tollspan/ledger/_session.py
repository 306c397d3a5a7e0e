"""One SQLite connection and the ledger's statements. Not safe for threads: its owner locks."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import stat
import time
from pathlib import Path

from tollspan.budget import Account, Balance, Hold, Leg, Refusal
from tollspan.usage import (
    Charge,
    DecisionEvent,
    Event,
    LedgerCorruptError,
    LedgerError,
    LedgerUnavailableError,
    UsageEvent,
    encode_event,
)

from . import _schema

OPEN, ORPHANED = 0, 1
_FIRST_PAUSE_SECONDS = 20e-6
_LONGEST_PAUSE_SECONDS = 1e-3
_BUSY_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_CORRUPT_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_HOLD = (
    "UPDATE accounts SET held_nanousd = held_nanousd + ?1 WHERE id = ?2"
    " AND posted_nanousd + held_nanousd + unresolved_nanousd + ?1 <= limit_nanousd"
)
_INSERT_HOLD = (
    "INSERT INTO holds (call_id, account_id, amount_nanousd, owner, started_at_unix_ns)"
    " VALUES (?, ?, ?, ?, ?)"
)
_INSERT_EVENT = (
    "INSERT OR IGNORE INTO events (id, kind, time_unix_ns, cost_nanousd, data)"
    " VALUES (?, ?, ?, ?, ?)"
)
_DELETE_OPEN_HOLDS = "DELETE FROM holds WHERE call_id = ? AND state = 0"
_SETTLE = (
    "UPDATE accounts SET held_nanousd = held_nanousd - ?, posted_nanousd = posted_nanousd + ?,"
    " unresolved_nanousd = unresolved_nanousd + ? WHERE id = ?"
)


class Session:
    """A connection to a ledger file; every method but the transaction's own runs inside one."""

    def __init__(self, path: Path, *, is_durable: bool = False) -> None:
        self.path = path
        self._connection = _connect(path, is_durable=is_durable)
        self._execute = self._connection.execute
        self._ids: dict[Account, int] = {}
        with contextlib.suppress(FileNotFoundError):
            self._inode = path.stat().st_ino
        try:
            self.begin(wait_seconds=5.0)
            _schema.create(self._connection)
            self.commit()
        except BaseException:
            self.close()
            raise

    # -- transactions --

    def begin_now(self) -> bool:
        """Start a write transaction, or say False when another connection has one."""
        try:
            self._execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if is_busy(error):
                return False
            raise
        return True

    def begin(self, wait_seconds: float) -> None:
        """Start a write transaction, trying again until the time is up.

        SQLite's own busy handler sleeps 1 to 100 ms at a time; these pauses start at 20 µs.

        Raises:
            LedgerUnavailableError: Others kept it all the time.
        """
        if self.begin_now():
            return
        give_up_at = time.monotonic() + wait_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            if self.begin_now():
                return
            if time.monotonic() >= give_up_at:
                raise LedgerUnavailableError(
                    f"{self.path} is locked by other processes for {wait_seconds} s"
                )
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)

    def commit(self) -> None:
        """End the transaction; what it wrote survives the process from here on."""
        self._execute("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, if there is one; never raises."""
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection; never raises."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

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

    # -- the ledger's statements --

    def hold(self, hold: Hold, owner: str) -> Refusal | None:
        """Hold in every account or in none."""
        ids = self._ids
        rows: list[tuple[str, int, int, str, int]] = []
        for account, amount in hold.legs:
            row = ids.get(account) or self._register(account)
            if self._execute(_HOLD, (amount, row)).rowcount != 1:
                return self._refuse(hold, rows)
            rows.append((hold.call_id, row, amount, owner, hold.started_at_unix_ns))
        self._connection.executemany(_INSERT_HOLD, rows)
        return None

    def post(self, event: UsageEvent, hold: Hold | None) -> None:
        """Store an event once and settle what its call held."""
        call = event.call
        if (
            self._execute(
                _INSERT_EVENT,
                (
                    call.id,
                    "usage",
                    call.started_at_unix_ns,
                    event.cost.amount_nanousd,
                    encode_event(event),
                ),
            ).rowcount
            != 1
        ):
            return
        if hold is None:
            if event.charges:
                self._settle_by_name(event)
            return
        legs = hold.legs
        charges = event.charges
        if self._execute(_DELETE_OPEN_HOLDS, (call.id,)).rowcount != len(legs):
            self._settle_by_name(event)
            return
        ids = self._ids
        self._connection.executemany(
            _SETTLE,
            [
                (
                    leg[1],
                    charge.posted_nanousd,
                    charge.unresolved_nanousd,
                    ids.get(leg[0]) or self._register(leg[0]),
                )
                for leg, charge in zip(legs, charges, strict=True)
            ],
        )

    def note(self, event: DecisionEvent) -> None:
        """Store a refusal once."""
        self._execute(
            _INSERT_EVENT,
            (event.id, "decision", event.call.started_at_unix_ns, None, encode_event(event)),
        )

    def store(self, event: Event) -> None:
        """Store any event, knowing nothing but the event: how rescued ones come in."""
        if isinstance(event, UsageEvent):
            self.post(event, None)
        else:
            self.note(event)

    def release(self, call_id: str) -> None:
        """Give back what a call holds and will never use."""
        for account_id, amount in self._execute(
            "SELECT account_id, amount_nanousd FROM holds WHERE call_id = ? AND state = 0",
            (call_id,),
        ).fetchall():
            self._execute(_SETTLE, (amount, 0, 0, account_id))
        self._execute(_DELETE_OPEN_HOLDS, (call_id,))

    def sight(self, kind: str, name: str, count: int, unix_ns: int) -> None:
        """Count something that should not happen."""
        self._execute(
            "INSERT INTO sightings VALUES (?1, ?2, ?3, ?4) ON CONFLICT (kind, name) DO UPDATE"
            " SET count = count + ?3, last_unix_ns = max(last_unix_ns, ?4)",
            (kind, name, count, unix_ns),
        )

    def orphan(self, owner: str) -> int:
        """Turn the open holds of a dead process into unresolved ones; return how many calls."""
        rows = self._execute(
            "SELECT call_id, account_id, amount_nanousd FROM holds WHERE owner = ? AND state = 0",
            (owner,),
        ).fetchall()
        for _, account_id, amount in rows:
            self._execute(_SETTLE, (amount, 0, amount, account_id))
        self._execute("UPDATE holds SET state = 1 WHERE owner = ? AND state = 0", (owner,))
        return len({call_id for call_id, _, _ in rows})

    def owners(self) -> list[str]:
        """Name every process that has open holds."""
        return [
            row[0]
            for row in self._execute("SELECT DISTINCT owner FROM holds WHERE state = 0").fetchall()
        ]

    # -- inside --

    def _register(self, account: Account) -> int:
        (row,) = self._execute(
            "INSERT INTO accounts (budget_id, scope, period, limit_nanousd) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (budget_id, scope, period) DO UPDATE"
            " SET limit_nanousd = excluded.limit_nanousd RETURNING id",
            (account.budget_id, account.scope, account.period, account.limit_nanousd),
        ).fetchone()
        if len(self._ids) >= 10_000:
            self._ids.clear()
        self._ids[account] = row
        return int(row)

    def forget_accounts(self) -> None:
        """Look accounts up anew: after a rollback, a registration may be gone."""
        self._ids.clear()

    def _refuse(self, hold: Hold, made: list[tuple[str, int, int, str, int]]) -> Refusal:
        for _, row, amount, _, _ in made:
            self._execute(_SETTLE, (amount, 0, 0, row))
        short: list[Balance] = []
        for leg in hold.legs:
            balance = self._balance(leg)
            if balance.counted_nanousd + leg[1] > leg[0].limit_nanousd:
                short.append(balance)
        return Refusal(balances=tuple(short), asked_nanousd=max(amount for _, amount in hold.legs))

    def _balance(self, leg: Leg) -> Balance:
        account = leg[0]
        row = self._ids.get(account) or self._register(account)
        posted, held, unresolved = self._execute(
            "SELECT posted_nanousd, held_nanousd, unresolved_nanousd FROM accounts WHERE id = ?",
            (row,),
        ).fetchone()
        return Balance(
            account=account,
            posted_nanousd=posted,
            held_nanousd=held,
            unresolved_nanousd=unresolved,
        )

    def _settle_by_name(self, event: UsageEvent) -> None:
        """Settle whatever the call still holds, open or unresolved, and post its charges."""
        call_id = event.call.id
        for account_id, amount, state in self._execute(
            "SELECT account_id, amount_nanousd, state FROM holds WHERE call_id = ?", (call_id,)
        ).fetchall():
            is_open = state == OPEN
            self._execute(
                _SETTLE, (amount if is_open else 0, 0, 0 if is_open else -amount, account_id)
            )
        self._execute("DELETE FROM holds WHERE call_id = ?", (call_id,))
        for charge in event.charges:
            self._execute(
                _SETTLE,
                (0, charge.posted_nanousd, charge.unresolved_nanousd, self._named(charge)),
            )

    def _named(self, charge: Charge) -> int:
        """Find the account of a charge; a new one gets limit 0 until a rule registers it."""
        key = (charge.budget_id, charge.scope, charge.period)
        found = self._execute(
            "SELECT id FROM accounts WHERE budget_id = ? AND scope = ? AND period = ?", key
        ).fetchone()
        if found is None:
            found = self._execute(
                "INSERT INTO accounts (budget_id, scope, period, limit_nanousd)"
                " VALUES (?, ?, ?, 0) RETURNING id",
                key,
            ).fetchone()
        return int(found[0])


def is_busy(error: sqlite3.Error) -> bool:
    """Say whether somebody else has the lock, and nothing worse."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY_CODES


def ledger_error(error: sqlite3.Error | OSError, path: Path) -> LedgerError:
    """Put an error of SQLite or the file system into our words."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _CORRUPT_CODES:
            return LedgerCorruptError(f"{path} is damaged ({error}): run `tollspan ledger rebuild`")
    return LedgerUnavailableError(f"{path} can't be used: {error}")


def _connect(path: Path, *, is_durable: bool) -> sqlite3.Connection:
    if not path.exists():
        _create_file(path)
    connection = sqlite3.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    try:
        _set_up(connection, is_durable=is_durable)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, *, is_durable: bool) -> None:
    """Set the connection up; switching a new file to WAL needs it alone for an instant."""
    give_up_at = time.monotonic() + 5.0
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= give_up_at:
                raise
            time.sleep(0.002)
    connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def _create_file(path: Path) -> None:
    """Make an empty file for the ledger, readable by its owner only.

    Stale side files of a ledger that was deleted would be mixed up with the new one: they go first.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, stat.S_IRUSR | stat.S_IWUSR))
