"""Leases of single calls over a shared authority, with events in a ledger of this host."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from tests.contract.ledger.kits import SQLiteKit, amounts, without_lease
from tollspan.budget import (
    BUSY,
    Account,
    Busy,
    Hold,
    LeasedLedger,
    LeaseSettings,
    Refusal,
    SharedAuthority,
)
from tollspan.exporter import SettlingBooks
from tollspan.ledger import open_authority
from tollspan.usage import UsageEvent

SETTINGS = LeaseSettings(first=1, most=1, idle_seconds=0, wait_seconds=10)


class SharedOneByOne(LeasedLedger):
    """Asks for each call; over a network, that is never done without waiting."""

    def __init__(
        self, authority: SharedAuthority, books: SettlingBooks, settle: Callable[[], None]
    ) -> None:
        super().__init__(authority, books, holder=lambda: "contract", settings=SETTINGS)
        self._authority = authority
        self._settle_all = settle
        self._turn = threading.Lock()
        self._holders = 0

    def post(self, event: UsageEvent, hold: Hold | None) -> None:
        super().post(event, hold)
        self._settle_all()

    def hold(self, hold: Hold) -> Refusal | None:
        with self._turn:
            self._holders += 1
        try:
            return super().hold(hold)
        finally:
            with self._turn:
                self._holders -= 1

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:
        """Ask all the same where nobody else does, so that tests get an answer some time."""
        answer = super().hold_now(hold)
        if not isinstance(answer, Busy):
            return answer
        with self._turn:
            return BUSY if self._holders else super().hold(hold)

    def is_first(self, account: Account, share: Decimal) -> bool:
        return self._authority.is_first(account, share)


class SharedKit(SQLiteKit):
    """A shared authority, whose accounts follow from the events of this host."""

    def __init__(self, home: Path, url: str) -> None:
        super().__init__(home)
        self.authority = open_authority(url, SETTINGS)
        self.authority.open_epoch()
        self.sqlite.open()
        self.books = SettlingBooks(self.sqlite, self.authority, name="contract")
        self.leased = SharedOneByOne(self.authority, self.books, self._settle)
        self.ledger = self.leased

    def balance(self, account: Account) -> tuple[int, int, int]:
        self._settle()
        (balance,) = self.authority.balances([account])
        return amounts(balance)

    def limit(self, account: Account) -> int:
        return account.limit

    def events(self) -> list[UsageEvent]:
        return [without_lease(one) for one in super().events()]

    def drain(self) -> None:
        self.leased.close()
        super().drain()
        self._settle()

    def close(self) -> None:
        self.books.close(5)
        self.leased.close()
        self.authority.close()
        self.sqlite.close()

    def _settle(self) -> None:
        """Settle what is stored, unless the books are at it; then wait for them."""
        while self._is_behind():
            self.books.settle()

    def _is_behind(self) -> bool:
        number = self._reader.settled("contract")
        return any(True for _ in self._reader.numbered_events(after=number))


@contextmanager
def shared(home: Path, url: str) -> Iterator[SharedKit]:
    kit = SharedKit(home, url)
    try:
        yield kit
    finally:
        kit.close()
