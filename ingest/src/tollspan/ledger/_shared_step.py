"""What one step on the SQLite authority's file has read, and what it writes when it is over."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from tollspan.budget import AccountKey, AccountRow, Holding, LeasePart

OF_KEY: Final = "budget_id = ? AND scope = ? AND period = ? AND unit = ?"
_K = TypeVar("_K")
_V = TypeVar("_V")
Words = tuple[Any, ...]
Run = Callable[[str, Words], sqlite3.Cursor]


class Kept(Generic[_K, _V]):
    """Rows by their keys: read when they are asked for, written where they were changed.

    Args:
        read: Reads one; None where there is none.
        words: Says what would be written of one.
        write: Writes one: its key, it, and what it was read as.
        delete: Deletes one that was there.
    """

    def __init__(
        self,
        read: Callable[[_K], _V | None],
        words: Callable[[_V], Words],
        write: Callable[[_K, _V, Words | None], None],
        delete: Callable[[_K], None],
    ) -> None:
        self._read = read
        self._words = words
        self._write = write
        self._delete = delete
        self._was: dict[_K, Words | None] = {}
        self._now: dict[_K, _V] = {}

    def get(self, key: _K) -> _V | None:
        """Find one."""
        if key not in self._was:
            found = self._read(key)
            self._was[key] = None if found is None else self._words(found)
            if found is not None:
                self._now[key] = found
        return self._now.get(key)

    def put(self, key: _K, value: _V) -> None:
        """Have one kept."""
        self.get(key)
        self._now[key] = value

    def drop(self, key: _K) -> None:
        """Have one deleted."""
        self.get(key)
        self._now.pop(key, None)

    def flush(self) -> None:
        """Write all changes."""
        for key, was in list(self._was.items()):
            value = self._now.get(key)
            words = None if value is None else self._words(value)
            if words == was:
                continue
            self._was[key] = words
            if value is None:
                self._delete(key)
            else:
                self._write(key, value, was)

    def clear(self) -> None:
        """Forget what was read, and what was changed."""
        self._was.clear()
        self._now.clear()


class Rows:
    """The accounts and leases of one tenant in the file.

    Args:
        run: Runs a statement on the file, within a transaction.
        tenant: Whose they are.
    """

    def __init__(self, run: Run, tenant: str) -> None:
        self._tenant = tenant
        self._run = run
        self.accounts = Kept(self._account, _sums, self._write_account, self._delete_account)
        self.leases = Kept(self._lease, _lease_words, self._write_lease, self._delete_lease)

    def flush(self) -> None:
        """Write all changes."""
        self.accounts.flush()
        self.leases.flush()

    def clear(self) -> None:
        """Forget what was read, and what was changed."""
        self.accounts.clear()
        self.leases.clear()

    # -- accounts --

    def _account(self, key: AccountKey) -> AccountRow | None:
        found = self._run(
            f"SELECT posted, held, unresolved, mark FROM accounts WHERE tenant = ? AND {OF_KEY}",  # noqa: S608 - our words
            (self._tenant, *key),
        ).fetchone()
        if found is None:
            return None
        row = AccountRow()
        row.posted, row.held, row.unresolved, row.mark = (int(one) for one in found)
        return row

    def _write_account(self, key: AccountKey, row: AccountRow, _: Words | None) -> None:
        self._run(
            "INSERT INTO accounts"
            " (tenant, budget_id, scope, period, unit, posted, held, unresolved, mark)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (tenant, budget_id, scope, period, unit) DO UPDATE SET"
            " posted = excluded.posted, held = excluded.held,"
            " unresolved = excluded.unresolved, mark = excluded.mark",
            (self._tenant, *key, *_sums(row)),
        )

    def _delete_account(self, key: AccountKey) -> None:
        self._run(f"DELETE FROM accounts WHERE tenant = ? AND {OF_KEY}", (self._tenant, *key))  # noqa: S608 - our words

    # -- leases --

    def _lease(self, lease_id: str) -> Holding | None:
        found = self._run(
            "SELECT expires_at, ended_at, grants, given_up, is_written_off FROM leases"
            " WHERE tenant = ? AND id = ?",
            (self._tenant, lease_id),
        ).fetchone()
        if found is None:
            return None
        has = Holding()
        has.expires_at, has.ended_at, has.grants, has.given_up, is_written_off = found
        has.is_written_off = bool(is_written_off)
        for row in self._run(
            "SELECT budget_id, scope, period, unit, number, amount, granted, returned, is_given_up"
            " FROM parts WHERE tenant = ? AND lease_id = ?",
            (self._tenant, lease_id),
        ):
            part = has.parts[row[:4]] = LeasePart(row[4])
            part.amount, part.granted, part.returned = (int(one) for one in row[5:8])
            part.is_given_up = bool(row[8])
        return has

    def _write_lease(self, lease_id: str, has: Holding, was: Words | None) -> None:
        self._run(
            "INSERT INTO leases"
            " (tenant, id, expires_at, ended_at, grants, given_up, is_written_off)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, id) DO UPDATE SET"
            " expires_at = excluded.expires_at, ended_at = excluded.ended_at,"
            " grants = excluded.grants, given_up = excluded.given_up,"
            " is_written_off = excluded.is_written_off",
            (self._tenant, lease_id, *_own_words(has)),
        )
        before: dict[AccountKey, Words] = {} if was is None else dict(was[-1])
        for key, part in has.parts.items():
            words = _part_words(part)
            if before.pop(key, None) != words:
                self._run(
                    "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (self._tenant, lease_id, *key, *words),
                )
        for key in before:
            self._run(
                f"DELETE FROM parts WHERE tenant = ? AND lease_id = ? AND {OF_KEY}",  # noqa: S608 - our words
                (self._tenant, lease_id, *key),
            )

    def _delete_lease(self, lease_id: str) -> None:
        for statement in (
            "DELETE FROM parts WHERE tenant = ? AND lease_id = ?",
            "DELETE FROM leases WHERE tenant = ? AND id = ?",
        ):
            self._run(statement, (self._tenant, lease_id))


def _sums(row: AccountRow) -> Words:
    return str(row.posted), str(row.held), str(row.unresolved), row.mark


def _own_words(has: Holding) -> Words:
    return has.expires_at, has.ended_at, has.grants, has.given_up, int(has.is_written_off)


def _part_words(part: LeasePart) -> Words:
    amounts = (str(part.amount), str(part.granted), str(part.returned))
    return part.number, *amounts, int(part.is_given_up)


def _lease_words(has: Holding) -> Words:
    parts = tuple([(key, _part_words(part)) for key, part in has.parts.items()])
    return *_own_words(has), parts
