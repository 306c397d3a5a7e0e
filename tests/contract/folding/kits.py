"""What can be folded, and the few things that a test does with it. A new authority adds a kit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from tests.contract.authority.kits import Kit as SharedKit
from tests.contract.authority.kits import MemoryKit
from tests.contract.authority.making import Holder, settlement
from tests.contract.authority.postgres_kit import postgres_kit
from tests.contract.authority.redis_kit import redis_kit
from tests.contract.ledger.making import charge, event, hold
from tollspan.budget import (
    Account,
    Balance,
    Foldable,
    Folder,
    FoldLook,
    FoldOrder,
    MemoryLedger,
    Milestones,
    Refusal,
    Touch,
)
from tollspan.ledger import SQLiteLedger

DAY_NS = 86_400_000_000_000
HOUR_NS = DAY_NS // 24


class Store(Foldable, Milestones, Protocol):
    """What tests ask of each of them."""

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]: ...

    def touch(self, touch: Touch) -> str: ...


class Kit(Protocol):
    """An authority that nobody else uses."""

    store: Store

    def post(self, account: Account, posted: int, *, unresolved: int = 0) -> None:
        """Charge an account."""
        ...

    def hold(self, account: Account, amount: int) -> Callable[[], None] | None:
        """Hold there, and return what gives it back; None where it does not fit."""
        ...

    def advance(self, seconds: float) -> None:
        """Put the clock by which idle windows end forward."""
        ...


class LedgerKit:
    """An authority that takes events."""

    def __init__(self, make: Callable[[Callable[[], int]], MemoryLedger | SQLiteLedger]) -> None:
        self._ahead_ns = 0
        self._ledger = make(lambda: time.time_ns() + self._ahead_ns)
        self.store: Store = self._ledger

    def advance(self, seconds: float) -> None:
        self._ahead_ns += int(seconds * 1_000_000_000)

    def post(self, account: Account, posted: int, *, unresolved: int = 0) -> None:
        call_id = hold().call_id
        self._ledger.post(
            event(call_id, charge(account, posted=posted, unresolved=unresolved)), None
        )

    def hold(self, account: Account, amount: int) -> Callable[[], None] | None:
        asked = hold((account, amount))
        if self._ledger.hold(asked) is not None:
            return None

        def give_back() -> None:
            self._ledger.release_soon(asked.call_id)
            if isinstance(self._ledger, SQLiteLedger):
                self._ledger.close()  # which does what is queued; it opens itself again

        return give_back


class AuthorityKit:
    """An authority of many hosts."""

    def __init__(self, kit: SharedKit) -> None:
        self.store: Store = kit.authority
        self._authority = kit.authority
        self._kit = kit

    def advance(self, seconds: float) -> None:
        self._kit.advance(seconds)

    def post(self, account: Account, posted: int, *, unresolved: int = 0) -> None:
        self._authority.settle([settlement(None, (account, posted, unresolved))])

    def hold(self, account: Account, amount: int) -> Callable[[], None] | None:
        holder = Holder(self._authority)
        answer = holder.asks(account, amount)
        if isinstance(answer, Refusal):
            return None
        return lambda: void(holder.gives(account, amount, is_last=True, known=amount))


def void(_: object) -> None:
    """Forget an answer."""


@contextmanager
def memory(home: Path) -> Iterator[Kit]:
    yield LedgerKit(lambda clock: MemoryLedger(clock=clock))


@contextmanager
def sqlite(home: Path) -> Iterator[Kit]:
    made: list[SQLiteLedger] = []

    def make(clock: Callable[[], int]) -> SQLiteLedger:
        made.append(SQLiteLedger(home, wait_seconds=10, clock=clock, fold_after_seconds=None))
        return made[0]

    yield LedgerKit(make)
    made[0].close()


@contextmanager
def shared_memory(home: Path) -> Iterator[Kit]:
    yield AuthorityKit(MemoryKit())


@contextmanager
def redis(server: str) -> Iterator[Kit]:
    with redis_kit(server) as kit:
        yield AuthorityKit(kit)


@contextmanager
def postgres(server: object) -> Iterator[Kit]:
    with postgres_kit(server) as kit:  # type: ignore[arg-type]  # the fixture's
        yield AuthorityKit(kit)


KITS: dict[str, Callable[[Path], AbstractContextManager[Kit]]] = {
    "memory": memory,
    "sqlite": sqlite,
    "shared-memory": shared_memory,
}


class At:
    """An authority as it is seen at another time."""

    def __init__(self, store: Foldable, unix_ns: int) -> None:
        self.store = store
        self.unix_ns = unix_ns

    def look(self, most: int) -> FoldLook:
        return msgspec.structs.replace(self.store.look(most), now_unix_ns=self.unix_ns)

    def fold(self, order: FoldOrder) -> bool:
        return self.store.fold(order)


def run(store: Foldable, unix_ns: int, *, most: int = 200) -> int:
    """Look through all accounts once, at a time; return how many were folded."""
    at = At(store, unix_ns)
    folder = Folder(at)
    gone = 0
    while True:
        order = folder.order(at.look(most))
        assert at.fold(order)
        gone += len(order.folds)
        if not order.cursor:
            return gone


def run_daily(store: Foldable, first_unix_ns: int, days: int) -> int:
    """Look through all accounts once a day; return how many were folded."""
    return sum(run(store, first_unix_ns + day * DAY_NS) for day in range(days))


def sums(store: Store, account: Account) -> tuple[int, int, int]:
    """Return what an account has posted, held and unresolved."""
    (balance,) = store.balances([account])
    return balance.posted, balance.held, balance.unresolved
