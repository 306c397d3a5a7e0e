"""One SQLite connection and the ledger's statements. Not safe for threads: its owner locks."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tollspan.budget import (
    ROOM_SHARE,
    Account,
    Balance,
    GivenBack,
    Grant,
    Hold,
    Lease,
    Leg,
    Refusal,
    Unresolved,
    Want,
)
from tollspan.usage import (
    Adjustment,
    DecisionEvent,
    Fact,
    LedgerCorruptError,
    LedgerError,
    LedgerUnavailableError,
    UsageEvent,
    encode_event,
)

from . import _files, _schema
from ._left import unresolved_of
from ._totals import row_of

_TRIES_TO_SAY_WHY = 3
_MOST_SOFT = 1 << 50
_NO_LIMIT = 9_223_372_036_854_775_807
_CORRUPT_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

MOST_AT_ONCE = 1 << 60
"""What one charge counts at most, as in the triggers."""
MOST_IN_ALL = 1 << 62
"""What one sum of an account counts at most, as in the triggers."""

# Limits are those of the rules by which the hold is asked for; `_NO_LIMIT` is none.
_HOLD_ONE = (
    "INSERT INTO holds (account_id, amount, call_id, owner, started_at_unix_ns)"
    " SELECT id, ?2, ?4, ?5, ?6 FROM accounts WHERE id = ?1"
    " AND (posted + held + unresolved + ?2 <= ?3 OR ?3 = 9223372036854775807) AND ?3 > 0"
)
_HOLD_ALL = (
    # INSERT comes first: the driver of Python 3.11 counts rows of no statement that starts WITH.
    "INSERT INTO holds (account_id, amount, call_id, owner, started_at_unix_ns)"
    " WITH legs (account_id, amount, most) AS (VALUES {legs})"
    " SELECT account_id, amount, ?, ?, ? FROM legs WHERE {count} = (SELECT count(*) FROM legs"
    " JOIN accounts ON accounts.id = legs.account_id"
    " WHERE (posted + held + unresolved + amount <= legs.most"
    " OR legs.most = 9223372036854775807) AND legs.most > 0)"
)
# All or none; in each account so much as `size` of the leases says.
_GRANT = (
    "INSERT INTO holds (account_id, amount, granted, call_id, owner, started_at_unix_ns)"
    " WITH legs (account_id, need, wish, most) AS (VALUES {legs}),"
    " standing AS (SELECT account_id, need, wish, legs.most,"
    "  CASE legs.most WHEN 9223372036854775807 THEN legs.most"
    "   ELSE legs.most - posted - held - unresolved END"
    "   AS room"
    "  FROM legs JOIN accounts ON accounts.id = legs.account_id),"
    " sized AS (SELECT account_id, max(need, min(wish, room / {share})) AS amount FROM standing"
    "  WHERE {count} = (SELECT count(*) FROM standing WHERE need <= room AND most > 0))"
    " SELECT account_id, amount, amount, ?, ?, ? FROM sized WHERE true"
    " ON CONFLICT (call_id, account_id) DO UPDATE SET"
    "  amount = amount + excluded.amount, granted = granted + excluded.granted"
    " RETURNING account_id, granted"
)
# In one statement: what was told in part would be told again, and would go back twice. A part that
# is given up is gone once nothing is in it; until then it is for events that are on their way.
_GIVE_BACK = (
    "UPDATE holds SET amount = max(0, holds.amount - json_extract(value, '$[2]')),"
    " granted = CASE WHEN json_extract(value, '$[3]') THEN 0 ELSE granted END"
    # The lease is named in each row, so that each hold is found by its key.
    " FROM json_each(?) WHERE call_id = json_extract(value, '$[0]')"
    " AND account_id = json_extract(value, '$[1]') AND state = 0"
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
        legs = hold.legs
        if not legs:
            return None
        standing: list[tuple[Balance, int]] = []
        for _ in range(_TRIES_TO_SAY_WHY):
            if self._holds(hold, legs, owner):
                return None
            standing = self._balances(hold)
            short = [(balance, asked) for balance, asked in standing if not balance.fits(asked)]
            hard = [(balance, asked) for balance, asked in short if not balance.account.is_soft]
            if hard:
                return self._refuse(hold, hard)
            if short and self._holds(hold, self._past_soft(legs), owner):
                return _refusal(short, is_held=True)
            self.forget_accounts()
        # Others were quicker each time; what refuses is never a soft account.
        hard = [one for one in standing if not one[0].account.is_soft]
        return self._refuse(hold, hard or standing)

    def _holds(self, hold: Hold, legs: tuple[Leg, ...], owner: str) -> bool:
        """Try to hold; `legs` are those of the hold, or with other limits."""
        ids = self._ids
        count = len(legs)
        values: list[int | str] = []
        for account, amount in legs:
            values += (ids.get(account) or self._register(account), amount, account.limit)
        values += (hold.call_id, owner, hold.started_at_unix_ns)
        try:
            done = self._execute(_HOLD_ONE if count == 1 else _hold_all(count), values).rowcount
        except sqlite3.IntegrityError:
            return True  # it holds already
        except OverflowError:
            return False  # more than SQLite can count is more than any limit
        return done == count

    def grant(self, lease: Lease, wants: Sequence[Want], owner: str) -> Grant | Refusal:
        """Grant a lease more in every account or in none."""
        legs = tuple([(want.account, want.need) for want in wants])
        asked = Hold(call_id=lease.id, started_at_unix_ns=time.time_ns(), legs=legs)
        standing: list[tuple[Balance, int]] = []
        for _ in range(_TRIES_TO_SAY_WHY):
            totals = self._grants(asked, legs, wants, owner)
            if totals is not None:
                return Grant(totals=totals)
            standing = self._balances(asked)
            short = [(balance, need) for balance, need in standing if not balance.fits(need)]
            hard = [one for one in short if not one[0].account.is_soft]
            if hard:
                return _refusal(hard)
            if short:
                totals = self._grants(asked, self._past_soft(legs), wants, owner)
                if totals is not None:
                    return Grant(totals=totals, short=_refusal(short, is_held=True))
            self.forget_accounts()
        hard = [one for one in standing if not one[0].account.is_soft]
        return _refusal(hard or standing)

    def _grants(
        self, asked: Hold, legs: tuple[Leg, ...], wants: Sequence[Want], owner: str
    ) -> tuple[int, ...] | None:
        """Try to grant; `legs` are those of the lease, or with other limits."""
        ids = [self._ids.get(account) or self._register(account) for account, _ in legs]
        values: list[int | str] = []
        for number, (account, need), want in zip(ids, legs, wants, strict=True):
            # Beyond a soft limit nothing is granted in advance: each call is to be told of.
            wish = want.wish if account is want.account else need
            values += (number, need, wish, account.limit)
        values += (asked.call_id, owner, asked.started_at_unix_ns)
        try:
            rows = self._execute(_grant_all(len(legs)), values).fetchall()
        except OverflowError:
            return None  # more than SQLite can count is more than any limit
        totals: dict[int, int] = dict(rows)
        return tuple([totals[number] for number in ids]) if rows else None

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> None:
        """Take back what a lease does not need, all of it or nothing."""
        back: dict[int, tuple[int, bool]] = {}
        for one in parts:
            number = self._ids.get(one.account) or self._register(one.account)
            amount, is_last = back.get(number, (0, False))
            # Told late of a part that got nothing, the row may be another's by now.
            back[number] = (amount + one.amount, is_last or (one.is_last and one.known != 0))
        rows = [(lease.id, number, *what) for number, what in back.items()]
        self._execute(_GIVE_BACK, (msgspec.json.encode(rows).decode(),))

    def post(self, event: UsageEvent) -> None:
        """Store an event once, charge its accounts, and settle what its call held."""
        call = event.call
        cost = event.cost.amount_nanousd
        if cost is not None and cost > MOST_AT_ONCE:
            cost = MOST_AT_ONCE
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

    def adjust(self, adjustment: Adjustment) -> None:
        """Store an adjustment once, and post it."""
        self._execute(
            _INSERT_EVENT,
            (
                adjustment.id,
                "adjustment",
                adjustment.at_unix_ns,
                None,
                encode_event(adjustment),
            ),
        )

    def store(self, fact: Fact) -> None:
        """Store anything once."""
        if isinstance(fact, UsageEvent) and fact.folded is not None:
            self._execute(_INSERT_EVENT, row_of(fact))
        elif isinstance(fact, UsageEvent):
            self.post(fact)
        elif isinstance(fact, Adjustment):
            self.adjust(fact)
        else:
            self.note(fact)

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

    def keep(self, note: tuple[str, str]) -> None:
        """Keep something about the ledger itself, by name."""
        self._execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            note,
        )

    def is_first(self, milestone: tuple[Account, str]) -> bool:
        """Note that an account passed a share of its limit; False when it was noted already."""
        account, share = milestone
        done = self._execute(
            "INSERT OR IGNORE INTO milestones (budget_id, scope, period, unit, share)"
            " VALUES (?, ?, ?, ?, ?)",
            (account.budget_id, account.scope, account.period, account.unit, share),
        )
        return done.rowcount == 1

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

    def orphan(self, owner: str) -> list[Unresolved]:
        """Turn the open holds of a dead process into unresolved ones; one caller gets each."""
        self._execute("DELETE FROM holds WHERE owner = ? AND amount = 0 AND granted > 0", (owner,))
        rows = self._execute(
            "UPDATE holds SET state = 1 WHERE owner = ? AND state = 0"
            " RETURNING call_id, amount, (SELECT json_array(budget_id, scope, period, unit)"
            " FROM accounts WHERE id = account_id)",
            (owner,),
        ).fetchall()
        return unresolved_of(rows, time.time_ns())

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
            "INSERT INTO accounts (budget_id, scope, period, unit, most) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (budget_id, scope, period, unit) DO UPDATE"
            " SET most = excluded.most RETURNING id",
            (account.budget_id, account.scope, account.period, account.unit, account.limit),
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
        """Look accounts up anew: one that was rolled back, or folded meanwhile, is not there."""
        self._ids.clear()
        self._accounts.clear()

    def _balances(self, hold: Hold) -> list[tuple[Balance, int]]:
        """Return how the accounts of a hold stand, with what it asks of each."""
        amounts = [amount for _, amount in hold.legs]
        balances = self.balances([account for account, _ in hold.legs])
        return list(zip(balances, amounts, strict=True))

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand; nothing is counted in one that is not there."""
        return tuple([self._balance(account) for account in accounts])

    def _balance(self, account: Account) -> Balance:
        found = self._execute(
            "SELECT posted, held, unresolved FROM accounts"
            " WHERE budget_id = ? AND scope = ? AND period = ? AND unit = ?",
            (account.budget_id, account.scope, account.period, account.unit),
        ).fetchone()
        posted, held, unresolved = found or (0, 0, 0)
        return Balance(account=account, posted=posted, held=held, unresolved=unresolved)

    def _past_soft(self, legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
        """Lift the limits of soft accounts; of what is asked, so much is held as sums can take."""
        lifted: list[Leg] = []
        for account, amount in legs:
            if account.is_soft:
                open_ended = msgspec.structs.replace(account, limit=_NO_LIMIT)
                # The same row: what people are shown as its limit stays.
                self._ids[open_ended] = self._ids.get(account) or self._register(account)
                lifted.append((open_ended, min(amount, _MOST_SOFT)))
            else:
                lifted.append((account, amount))
        return tuple(lifted)

    def _refuse(self, hold: Hold, short: list[tuple[Balance, int]]) -> Refusal | None:
        """Say why a hold was not made; None when its call holds already."""
        query = "SELECT 1 FROM holds WHERE call_id = ?"
        if self._execute(query, (hold.call_id,)).fetchone() is not None:
            return None
        return _refusal(short)


def _refusal(short: list[tuple[Balance, int]], *, is_held: bool = False) -> Refusal:
    return Refusal(
        balances=tuple([balance for balance, _ in short]),
        asked=tuple([asked for _, asked in short]),
        is_held=is_held,
    )


@functools.cache
def _hold_all(count: int) -> str:
    """Write the statement that holds in so many accounts."""
    return _HOLD_ALL.format(legs=", ".join(["(?, ?, ?)"] * count), count=count)


@functools.cache
def _grant_all(count: int) -> str:
    """Write the statement that grants in so many accounts."""
    return _GRANT.format(legs=", ".join(["(?, ?, ?, ?)"] * count), count=count, share=ROOM_SHARE)


def is_corrupt(error: sqlite3.Error) -> bool:
    """Say whether the file is damaged."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT_CODES


def ledger_error(error: sqlite3.Error | OSError, path: Path) -> LedgerError:
    """Put an error of SQLite or the file system into our words."""
    if isinstance(error, sqlite3.Error) and is_corrupt(error):
        return LedgerCorruptError(f"{path} is damaged ({error}): run `tollspan ledger rebuild`")
    return LedgerUnavailableError(f"{path} can't be used: {error}")
