"""Accounts that were found used up: known to all replicas, so that they tell hosts the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from .call_tables import SPENT_ACCOUNTS
from .opening import Database

MOST_SPENT: Final = 1_000
"""So many accounts of a tenant are known, those that were found first."""


class SpentAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account's name, and what was counted in it when it was found used up."""

    budget_id: str
    scope: str
    period: str
    unit: str
    spent: int
    held: int

    @property
    def about(self) -> bytes:
        """A digest of the name."""
        name = msgspec.json.encode((self.budget_id, self.scope, self.period, self.unit))
        return hashlib.blake2b(name, digest_size=16).digest()


_decode = msgspec.json.Decoder(SpentAccount).decode


class SpentAccounts:
    """Which accounts of tenants are used up.

    Args:
        database: Where they are kept.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    def all(self, tenant: str) -> list[tuple[SpentAccount, int]]:
        """Return a tenant's, each with when it was noted last, nanoseconds since the epoch.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns = SPENT_ACCOUNTS.c
        query = select(columns.account, columns.noted_ns).where(columns.tenant == tenant)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(columns.about).limit(MOST_SPENT)).all()
        return [(_decode(account), noted_ns) for account, noted_ns in rows]

    def change(
        self, tenant: str, found: Iterable[SpentAccount], gone: Iterable[SpentAccount]
    ) -> None:
        """Note accounts that are used up, and forget those that are not any more.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns = SPENT_ACCOUNTS.c
        make = postgresql.insert if self._database.is_postgresql else sqlite.insert
        now = self._clock()
        with self._database.writing() as connection:
            for one in sorted(gone, key=lambda one: one.about):
                which = (columns.tenant == tenant, columns.about == one.about)
                connection.execute(delete(SPENT_ACCOUNTS).where(*which))
            for one in sorted(found, key=lambda one: one.about):
                changes = {"account": msgspec.json.encode(one), "noted_ns": now}
                new = make(SPENT_ACCOUNTS).values(tenant=tenant, about=one.about, **changes)
                key = [columns.tenant, columns.about]
                connection.execute(new.on_conflict_do_update(index_elements=key, set_=changes))
