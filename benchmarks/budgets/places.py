"""The places that can hold the money, set up as a program has them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from benchmarks.budgets.servers import Servers
from tollspan.budget import (
    Account,
    Authority,
    Books,
    Hold,
    LeasedLedger,
    LeaseSettings,
    MemoryLedger,
    Settlement,
    SharedAuthority,
)
from tollspan.exporter import SettlingBooks
from tollspan.ledger import SQLiteLedger, name_of, open_authority
from tollspan.usage import Charge

MEMORY: Final = "memory"
SQLITE: Final = "SQLite"
SQLITE_LEASES: Final = "SQLite, leases"
REDIS: Final = "Redis, leases"
REDIS_SINGLE: Final = "Redis, each call"
POSTGRES: Final = "PostgreSQL, leases"
POSTGRES_SINGLE: Final = "PostgreSQL, each call"
NAMES: Final = (MEMORY, SQLITE, SQLITE_LEASES, REDIS, REDIS_SINGLE, POSTGRES, POSTGRES_SINGLE)
_SINGLE: Final = LeaseSettings(first=1, most=1, wait_seconds=5)
_LEASES: Final = LeaseSettings(wait_seconds=5)
_AT_ONCE: Final = 500


class Place(msgspec.Struct, kw_only=True):
    """Who holds the money, and who keeps the events.

    Attributes:
        name: As the tables name it.
        authority, books: What the gate asks, and what the closer posts to.
        fill: Makes accounts that nobody uses.
    """

    name: str
    authority: Authority
    books: Books
    fill: Callable[[Iterator[Account]], None]


@contextmanager
def opened(name: str, servers: Servers) -> Generator[Place]:
    """Set up one of `NAMES`."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory()))
        if name == MEMORY:
            memory = MemoryLedger(most_events=1_000)
            yield Place(name=name, authority=memory, books=memory, fill=_holding(memory))
            return
        file = SQLiteLedger(home)
        stack.callback(file.close)
        if name == SQLITE:
            yield Place(name=name, authority=file, books=file, fill=_holding(file))
            return
        if name == SQLITE_LEASES:
            leased = LeasedLedger(file, file, file, holder=file.holder, settings=_LEASES)
            fill = _holding(file)
        else:
            url = servers.redis() if name in (REDIS, REDIS_SINGLE) else servers.postgres()
            settings = _LEASES if name in (REDIS, POSTGRES) else _SINGLE
            leased, fill = _shared(url, settings, file, stack)
        stack.callback(leased.close)
        stack.enter_context(_ticking(leased))
        yield Place(name=name, authority=leased, books=leased, fill=fill)


def _shared(
    url: str, settings: LeaseSettings, file: SQLiteLedger, stack: ExitStack
) -> tuple[LeasedLedger, Callable[[Iterator[Account]], None]]:
    shared = open_authority(url, settings)
    stack.callback(shared.close)
    shared.open_epoch()
    settling = SettlingBooks(file, shared, name=name_of(url))
    stack.callback(settling.close, 5.0)
    leased = LeasedLedger(shared, settling, holder=lambda: secrets.token_hex(8), settings=settings)
    return leased, _charging(shared)


def _holding(ledger: MemoryLedger | SQLiteLedger) -> Callable[[Iterator[Account]], None]:
    """Make accounts by holds that come to nothing."""

    def fill(accounts: Iterator[Account]) -> None:
        for number, some in enumerate(_chunks(accounts)):
            legs = tuple([(account, 1) for account in some])
            call_id = f"filling-{number}"
            assert ledger.hold(Hold(call_id=call_id, started_at_unix_ns=0, legs=legs)) is None
            ledger.release_soon(call_id)

    return fill


def _charging(shared: SharedAuthority) -> Callable[[Iterator[Account]], None]:
    """Make accounts by calls that were made without a lease."""

    def fill(accounts: Iterator[Account]) -> None:
        for number, some in enumerate(_chunks(accounts)):
            charges = tuple(
                [Charge(budget_id=one.budget_id, scope=one.scope, posted=1) for one in some]
            )
            call_id = f"filling-{number}"
            shared.settle([Settlement(call_id=call_id, lease_id=None, charges=charges)])

    return fill


def _chunks(accounts: Iterator[Account]) -> Iterator[list[Account]]:
    some: list[Account] = []
    for account in accounts:
        some.append(account)
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some


@contextmanager
def _ticking(leased: LeasedLedger) -> Generator[None]:
    """Keep the lease alive as a program's worker does."""
    ending = threading.Event()

    def tick() -> None:
        while not ending.wait(1.0):
            leased.tick()

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
