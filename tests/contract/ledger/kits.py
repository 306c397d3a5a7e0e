"""The ledgers that the contract holds for. A new authority adds a kit here, and no tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import msgspec

from tollspan.budget import (
    Account,
    Authority,
    Balance,
    Books,
    LeasedLedger,
    LeaseSettings,
    MemoryLedger,
    Milestones,
)
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger
from tollspan.usage import UsageEvent


class Ledger(Authority, Books, Milestones, Protocol):
    """All ports in one, as every embedded ledger has them."""


class Kit(Protocol):
    """A ledger, and the view of it that a test checks."""

    ledger: Ledger

    def balance(self, account: Account) -> tuple[int, int, int]:
        """Return what an account has posted, held and unresolved; zeros for an unknown one."""
        ...

    def limit(self, account: Account) -> int:
        """Return the limit that people are shown."""
        ...

    def events(self) -> list[UsageEvent]:
        """Return every usage event, oldest first."""
        ...

    def drain(self) -> None:
        """Return when everything that was handed to other threads is done."""
        ...


class MemoryKit:
    """The memory authority."""

    def __init__(self) -> None:
        self.memory = MemoryLedger()
        self.ledger: Ledger = self.memory

    def balance(self, account: Account) -> tuple[int, int, int]:
        return amounts(self.memory.balance(account))

    def limit(self, account: Account) -> int:
        return account.limit

    def events(self) -> list[UsageEvent]:
        return list(self.memory.events())

    def drain(self) -> None:
        pass


class SQLiteKit:
    """The SQLite ledger, looked at through another connection."""

    def __init__(self, home: Path) -> None:
        self.sqlite = SQLiteLedger(home)
        self.ledger: Ledger = self.sqlite
        self._reader = LedgerReader(home / LEDGER_FILE)

    def balance(self, account: Account) -> tuple[int, int, int]:
        found = self._find(account)
        return amounts(found) if found else (0, 0, 0)

    def limit(self, account: Account) -> int:
        found = self._find(account)
        assert found is not None
        return found.account.limit

    def events(self) -> list[UsageEvent]:
        return [one for one in self._reader.events() if isinstance(one, UsageEvent)]

    def drain(self) -> None:
        """Close it, which does what is queued; it opens itself again."""
        self.sqlite.close()

    def _find(self, account: Account) -> Balance | None:
        for one in self._reader.balances():
            if name(one.account) == name(account):
                return one
        return None


class OneByOne(LeasedLedger):
    """Leases of single calls, which stand in the accounts as holds of their own would."""

    def __init__(self, under: MemoryLedger | SQLiteLedger) -> None:
        super().__init__(
            under,
            under,
            under,
            holder=under.holder if isinstance(under, SQLiteLedger) else lambda: "memory",
            settings=LeaseSettings(first=1, most=1, idle_seconds=0),
        )
        self._under = under

    def is_first(self, account: Account, share: Decimal) -> bool:
        return self._under.is_first(account, share)


class LeasedMemoryKit(MemoryKit):
    """Leases of the memory authority."""

    def __init__(self) -> None:
        super().__init__()
        self.leased = OneByOne(self.memory)
        self.ledger = self.leased

    def events(self) -> list[UsageEvent]:
        return [without_lease(one) for one in super().events()]

    def drain(self) -> None:
        self.leased.close()


class LeasedSQLiteKit(SQLiteKit):
    """Leases of the SQLite ledger."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.leased = OneByOne(self.sqlite)
        self.ledger = self.leased

    def events(self) -> list[UsageEvent]:
        return [without_lease(one) for one in super().events()]

    def drain(self) -> None:
        self.leased.close()
        super().drain()


def without_lease(event: UsageEvent) -> UsageEvent:
    """Return an event as it was handed over, before its lease was named in it."""
    charges = tuple([msgspec.structs.replace(one, drawn=None) for one in event.charges])
    return msgspec.structs.replace(event, lease_id=None, charges=charges)


def name(account: Account) -> tuple[str, str, str, str]:
    """Return what names an account."""
    return account.budget_id, account.scope, account.period, account.unit


def amounts(balance: Balance) -> tuple[int, int, int]:
    """Return posted, held and unresolved."""
    return balance.posted, balance.held, balance.unresolved


@contextmanager
def memory(home: Path) -> Iterator[Kit]:
    yield MemoryKit()


@contextmanager
def sqlite(home: Path) -> Iterator[Kit]:
    kit = SQLiteKit(home)
    try:
        yield kit
    finally:
        kit.sqlite.close()


@contextmanager
def leased_memory(home: Path) -> Iterator[Kit]:
    kit = LeasedMemoryKit()
    yield kit
    kit.leased.close()


@contextmanager
def leased_sqlite(home: Path) -> Iterator[Kit]:
    kit = LeasedSQLiteKit(home)
    try:
        yield kit
    finally:
        kit.leased.close()
        kit.sqlite.close()


KITS = {
    "memory": memory,
    "sqlite": sqlite,
    "leased-memory": leased_memory,
    "leased-sqlite": leased_sqlite,
}
