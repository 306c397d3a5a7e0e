"""What a shared authority knows of one tenant, kept in a SQLite file; changed within a step."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Final

from tollspan.budget import (
    IDLE_MEMORY_SECONDS,
    IDLE_ROWS_AT_ONCE,
    Account,
    AccountKey,
    AccountPage,
    AccountRow,
    Balance,
    FoldLook,
    FoldOrder,
    FoldRow,
    Holding,
    Touch,
    account_of,
    current_key,
    key_of,
    lasts_ns,
    plain_period,
    read_number,
)

from ._shared_step import OF_KEY, Rows, Run

_NS: Final = 1_000_000_000
_FORGOTTEN_AT_ONCE: Final = 4


class SQLiteState:
    """The state of one tenant. Every method is called within a step of its authority.

    Attributes:
        epoch, last_epoch: As they are in the file; written when the step is over.

    Args:
        run: Runs a statement on the file, within a transaction.
        tenant: Whose.
    """

    def __init__(self, run: Run, tenant: str) -> None:
        self._tenant = tenant
        self._run = run
        self._rows = Rows(run, tenant)
        self.epoch: str | None = None
        self.last_epoch = ""
        self._had: tuple[str | None, str] | None = None

    def begin(self) -> None:
        """Begin a step."""
        self._rows.clear()
        found = self._run(
            "SELECT epoch, last_epoch FROM authorities WHERE tenant = ?", (self._tenant,)
        ).fetchone()
        self._had = found
        self.epoch, self.last_epoch = found or (None, "")

    def finish(self) -> None:
        """Write what the step has changed."""
        self._rows.flush()
        now = (self.epoch, self.last_epoch)
        if self._had is None and now != (None, ""):
            self._run("INSERT INTO authorities VALUES (?, ?, ?, '', 0)", (self._tenant, *now))
        elif self._had is not None and now != self._had:
            self._run(
                "UPDATE authorities SET epoch = ?, last_epoch = ? WHERE tenant = ?",
                (*now, self._tenant),
            )

    # -- accounts --

    def row(self, key: AccountKey) -> AccountRow:
        """Find an account's sums, or make them, to change them."""
        row = self._rows.accounts.get(key)
        if row is None:
            row = AccountRow()
            self._rows.accounts.put(key, row)
        row.mark = 0
        return row

    def balance(self, account: Account) -> Balance:
        """Return how an account stands."""
        row = self._rows.accounts.get(key_of(account)) or AccountRow()
        return Balance(account=account, posted=row.posted, held=row.held, unresolved=row.unresolved)

    def accounts(self, cursor: str, most: int) -> AccountPage:
        """Show so many accounts at most, in the order in which they were made."""
        found = self._run(
            "SELECT number, budget_id, scope, period, unit, posted, held, unresolved"
            " FROM accounts WHERE tenant = ? AND number > ? ORDER BY number LIMIT ?",
            (self._tenant, read_number(cursor), most),
        ).fetchall()
        balances = [
            Balance(
                account=account_of(one[1:5]),
                posted=int(one[5]), held=int(one[6]), unresolved=int(one[7]),
            )
            for one in found
        ]  # fmt: skip
        following = str(found[-1][0]) if len(found) == most else ""
        return AccountPage(balances=tuple(balances), cursor=following)

    # -- leases --

    def lease(self, lease_id: str) -> Holding | None:
        """Find a lease, open or ended."""
        return self._rows.leases.get(lease_id)

    def renew(self, lease_id: str, has: Holding) -> None:
        """Keep a lease as open, with its new end."""
        self._rows.leases.put(lease_id, has)

    def end(self, lease_id: str, has: Holding) -> None:
        """Keep an open lease as ended."""
        self._rows.leases.put(lease_id, has)

    def forget(self, lease_id: str) -> None:
        """Forget an ended lease."""
        self._rows.leases.drop(lease_id)

    def opened(self) -> list[tuple[str, Holding]]:
        """Return all open leases."""
        return self._leases("ended_at IS NULL ORDER BY expires_at", (), None)

    def over(self, now_unix_ns: int, most: int | None) -> list[tuple[str, Holding]]:
        """Return open leases whose life is over, so many at most."""
        return self._leases(
            "ended_at IS NULL AND expires_at <= ? ORDER BY expires_at", (now_unix_ns,), most
        )

    def ended_before(self, unix_ns: int, most: int | None) -> list[tuple[str, Holding]]:
        """Return leases that ended until then: first those that were not written off."""
        return self._leases("ended_at <= ? ORDER BY is_written_off, ended_at", (unix_ns,), most)

    def left(self, since_unix_ns: int) -> list[tuple[str, Holding]]:
        """Return leases that ended since then, and were not written off."""
        return self._leases(
            "is_written_off = 0 AND ended_at >= ? ORDER BY ended_at", (since_unix_ns,), None
        )

    def _leases(
        self, condition: str, values: tuple[int, ...], most: int | None
    ) -> list[tuple[str, Holding]]:
        """Find leases, with what the step has changed so far."""
        self._rows.leases.flush()
        names = self._run(
            f"SELECT id FROM leases WHERE tenant = ? AND {condition} LIMIT ?",  # noqa: S608 - our words
            (self._tenant, *values, -1 if most is None else most),
        ).fetchall()
        found = [(name, self._rows.leases.get(name)) for (name,) in names]
        return [(name, has) for name, has in found if has is not None]

    # -- calls --

    def note_settled(self, call_id: str, now_unix_ns: int) -> bool:
        """Note that a call is settled; False where it was before."""
        digest = hashlib.blake2b(call_id.encode(), digest_size=16).digest()
        done = self._run(
            "INSERT OR IGNORE INTO settled VALUES (?, ?, ?)", (self._tenant, digest, now_unix_ns)
        )
        return done.rowcount == 1

    def forget_settled(self, before_unix_ns: int, most: int) -> None:
        """Forget calls that were settled before then, so many at most."""
        self._run(
            "DELETE FROM settled WHERE tenant = ? AND call IN (SELECT call FROM settled"
            " WHERE tenant = ? AND at < ? ORDER BY at LIMIT ?)",
            (self._tenant, self._tenant, before_unix_ns, most),
        )

    def is_first(self, key: AccountKey, share: Decimal) -> bool:
        """Note that an account was told to have passed a share; False where that was before."""
        words = (self._tenant, *key, f"{share.normalize():f}")
        return (
            self._run("INSERT OR IGNORE INTO told VALUES (?, ?, ?, ?, ?, ?)", words).rowcount == 1
        )

    # -- idle windows --

    def touch(self, touch: Touch, now_unix_ns: int) -> str:
        """Note that the owner of an account is active, and name the period."""
        account = touch.account
        place = (self._tenant, account.budget_id, account.scope)
        found = self._run(
            "SELECT period, unit, ends_at FROM idle_periods"
            " WHERE tenant = ? AND budget_id = ? AND scope = ?",
            place,
        ).fetchone()
        key = account.period
        ends_at = latest = now_unix_ns + lasts_ns(touch.idle_seconds)
        ends_at -= touch.ago_ns
        if found is not None:
            period, unit, ended_at = found
            lasts = now_unix_ns < ended_at or self._is_held((*place[1:], period, unit))
            key = current_key(touch, period, lasts=lasts)
            # Another holder may have said more; or the clock has gone back since.
            ends_at = max(ends_at, min(ended_at, latest))
        if not touch.is_look:
            words = (*place, key, account.unit, ends_at)
            self._run("INSERT OR REPLACE INTO idle_periods VALUES (?, ?, ?, ?, ?, ?)", words)
            self._forget_idle(now_unix_ns, _FORGOTTEN_AT_ONCE)
        return key

    def _is_held(self, key: AccountKey) -> bool:
        row = self._rows.accounts.get(key)
        return row is not None and row.held > 0

    def _forget_idle(self, now_unix_ns: int, most: int) -> None:
        """Forget owners that are silent for long, but none in whose account something is held."""
        self._run(
            "DELETE FROM idle_periods WHERE (tenant, budget_id, scope) IN ("
            "SELECT i.tenant, i.budget_id, i.scope FROM idle_periods AS i"
            " LEFT JOIN accounts AS a ON a.tenant = i.tenant AND a.budget_id = i.budget_id"
            " AND a.scope = i.scope AND a.period = i.period AND a.unit = i.unit"
            " WHERE i.tenant = ? AND i.ends_at <= ? AND coalesce(a.held, '0') = '0' LIMIT ?)",
            (self._tenant, now_unix_ns - IDLE_MEMORY_SECONDS * _NS, most),
        )

    # -- folding --

    def look(self, most: int, now_unix_ns: int) -> FoldLook:
        """Show accounts to whoever folds them."""
        state, at = self._folding()
        if not most:
            return FoldLook(state=state, now_unix_ns=now_unix_ns)
        found = self._run(
            "SELECT number, budget_id, scope, period, unit, posted, held, unresolved, mark"
            " FROM accounts WHERE tenant = ? AND number > ? ORDER BY number LIMIT ?",
            (self._tenant, at, most),
        ).fetchall()
        rows = [
            FoldRow(account=account_of(one[1:5]), posted=int(one[5]), mark=one[8])
            for one in found
            if one[6] == one[7] == "0"
        ]
        cursor = str(found[-1][0]) if len(found) == most else ""
        return FoldLook(state=state, now_unix_ns=now_unix_ns, rows=tuple(rows), cursor=cursor)

    def fold(self, order: FoldOrder, now_unix_ns: int) -> bool:
        """Fold accounts; what was told of them is forgotten, and who is silent for long."""
        self._forget_idle(now_unix_ns, IDLE_ROWS_AT_ONCE)
        if order.was != self._folding()[0]:
            return False
        self._run("INSERT OR IGNORE INTO authorities VALUES (?, NULL, '', '', 0)", (self._tenant,))
        self._run(
            "UPDATE authorities SET fold_state = ?, fold_at = ? WHERE tenant = ?",
            (order.state, int(order.cursor or 0), self._tenant),
        )
        for shown, mark in order.marks:
            row = self._same(shown)
            if row is not None:
                row.mark = 0 if self._runs(shown) else mark
        for shown, into in order.folds:
            self._fold_one(shown, into)
        return True

    def _fold_one(self, shown: FoldRow, into: Account | None) -> None:
        row = self._same(shown)
        if row is None:
            return
        if self._runs(shown):
            row.mark = 0
            return
        if into is not None:
            self.row(key_of(into)).posted += row.posted
        key = key_of(shown.account)
        self._rows.accounts.drop(key)
        self._run(f"DELETE FROM told WHERE tenant = ? AND {OF_KEY}", (self._tenant, *key))  # noqa: S608 - our words

    def _folding(self) -> tuple[str, int]:
        found = self._run(
            "SELECT fold_state, fold_at FROM authorities WHERE tenant = ?", (self._tenant,)
        ).fetchone()
        return found or ("", 0)

    def _runs(self, shown: FoldRow) -> bool:
        """Say whether a row is of the period of an idle window in which its owner is."""
        account = shown.account
        found = self._run(
            "SELECT period FROM idle_periods WHERE tenant = ? AND budget_id = ? AND scope = ?",
            (self._tenant, account.budget_id, account.scope),
        ).fetchone()
        return found is not None and found[0] == plain_period(account.period)

    def _same(self, shown: FoldRow) -> AccountRow | None:
        """Find a row that is still as it was shown."""
        row = self._rows.accounts.get(key_of(shown.account))
        if row is None or row.held or row.unresolved or row.mark != shown.mark:
            return None
        return row if row.posted == shown.posted else None
