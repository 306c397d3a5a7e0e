"""The places that can hold the money, set up as a program has them."""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from benchmarks.budgets.servers import Servers
from tollspan.budget import (
    FOLD_AFTER_SECONDS,
    Account,
    Authority,
    Books,
    Foldable,
    Hold,
    LeasedLedger,
    LeaseSettings,
    MemoryLedger,
    Settlement,
    SharedAuthority,
)
from tollspan.exporter import SettlingBooks, authority_at
from tollspan.ledger import SQLiteLedger, name_of
from tollspan.usage import Charge

MEMORY: Final = "memory"
SQLITE: Final = "SQLite"
SQLITE_LEASES: Final = "SQLite, leases"
REDIS: Final = "Redis, leases"
REDIS_SINGLE: Final = "Redis, each call"
POSTGRES: Final = "PostgreSQL, leases"
POSTGRES_SINGLE: Final = "PostgreSQL, each call"
HTTP: Final = "ingest server, leases"
HTTP_SINGLE: Final = "ingest server, each call"
NAMES: Final = (
    MEMORY,
    SQLITE,
    SQLITE_LEASES,
    REDIS,
    REDIS_SINGLE,
    POSTGRES,
    POSTGRES_SINGLE,
    HTTP,
    HTTP_SINGLE,
)
_ON_REDIS: Final = (REDIS, REDIS_SINGLE)
_OVER_HTTP: Final = (HTTP, HTTP_SINGLE)
_SINGLE: Final = LeaseSettings(first=1, most=1, wait_seconds=5)
_LEASES: Final = LeaseSettings(wait_seconds=5)
_AT_ONCE: Final = 500


class Place(msgspec.Struct, kw_only=True):
    """Who holds the money, and who keeps the events.

    Attributes:
        name: As the tables name it.
        authority, books: What the gate asks, and what the closer posts to.
        fill: Makes accounts that nobody uses.
        accounts: What is folded.
        file: The host's ledger; None where events are in memory.
        url: The shared authority's; empty where there is none.
        key: What it is shown; None for nothing.
    """

    name: str
    authority: Authority
    books: Books
    fill: Callable[[Iterator[Account]], None]
    accounts: Foldable
    file: Path | None = None
    url: str = ""
    key: str | None = None


@contextmanager
def opened(
    name: str, servers: Servers, *, fold_after_seconds: int | None = FOLD_AFTER_SECONDS
) -> Generator[Place]:
    """Set up one of `NAMES`; without seconds it folds nothing by itself."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory()))
        if name == MEMORY:
            memory = MemoryLedger(most_events=1_000)
            fill = _holding(memory)
            yield Place(name=name, authority=memory, books=memory, fill=fill, accounts=memory)
            return
        file = SQLiteLedger(home, wait_seconds=5, fold_after_seconds=fold_after_seconds)
        stack.callback(file.close)
        place = Place(
            name=name,
            authority=file,
            books=file,
            fill=_holding(file),
            accounts=file,
            file=file.path,
        )
        if name == SQLITE_LEASES:
            leased = LeasedLedger(file, file, file, holder=file.holder, settings=_LEASES)
            _lease(place, leased, stack)
        elif name != SQLITE:
            if name in _OVER_HTTP:
                place.url, place.key = servers.http()
            else:
                place.url = servers.redis() if name in _ON_REDIS else servers.postgres()
            settings = _LEASES if name in (REDIS, POSTGRES, HTTP) else _SINGLE
            _share(place, file, settings, stack, fold_after_seconds)
        yield place


def _lease(place: Place, leased: LeasedLedger, stack: ExitStack) -> None:
    place.authority = place.books = leased
    stack.callback(leased.close)
    stack.enter_context(_ticking(leased))


def _share(
    place: Place,
    file: SQLiteLedger,
    settings: LeaseSettings,
    stack: ExitStack,
    fold_after_seconds: int | None,
) -> None:
    shared = authority_at(place.url, settings, key=place.key)
    stack.callback(shared.close)
    if place.key is None:  # a server opens what its tenants have
        shared.open_epoch()
    settling = SettlingBooks(
        file, shared, name=name_of(place.url), fold_after_seconds=fold_after_seconds
    )
    stack.callback(settling.close, 5.0)
    place.accounts, place.fill = shared, _charging(shared)
    holder = partial(secrets.token_hex, 8)
    _lease(place, LeasedLedger(shared, settling, holder=holder, settings=settings), stack)


def _holding(ledger: MemoryLedger | SQLiteLedger) -> Callable[[Iterator[Account]], None]:
    """Make accounts by holds that come to nothing."""

    numbers = itertools.count()

    def fill(accounts: Iterator[Account]) -> None:
        for some in _chunks(accounts):
            legs = tuple([(account, 1) for account in some])
            call_id = f"filling-{next(numbers)}"
            assert ledger.hold(Hold(call_id=call_id, started_at_unix_ns=0, legs=legs)) is None
            ledger.release_soon(call_id)

    return fill


def _charging(shared: SharedAuthority) -> Callable[[Iterator[Account]], None]:
    """Make accounts by calls that were made without a lease."""

    numbers = itertools.count()

    def fill(accounts: Iterator[Account]) -> None:
        for some in _chunks(accounts):
            charges = tuple(
                [
                    Charge(budget_id=one.budget_id, scope=one.scope, period=one.period, posted=1)
                    for one in some
                ]
            )
            call_id = f"filling-{next(numbers)}"
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
