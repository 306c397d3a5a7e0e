"""The authority over HTTP, for the contract: a real server on loopback, a tenant for each test."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.contract.authority.kits import SETTINGS
from tests.serving import RunningServer, running_server
from tollspan.budget import SharedAuthority
from tollspan.exporter import HttpAuthority
from tollspan.ledger import TenantAuthorities

_NUMBERS = itertools.count(1)


@dataclass(slots=True)
class MoneyServer:
    """A server whose tenants' money is in a file, by a clock that tests set."""

    home: Path
    server: RunningServer = field(init=False)
    authorities: TenantAuthorities = field(init=False)
    ahead: int = 0

    @property
    def path(self) -> Path:
        """Where the money is."""
        return self.home / "money.db"

    def now(self) -> int:
        """Return the time there."""
        return time.time_ns() + self.ahead


def money_servers(home: Path) -> Iterator[MoneyServer]:
    """Run one for the session."""
    made = MoneyServer(home)
    made.authorities = TenantAuthorities(f"sqlite:{made.path}", SETTINGS, clock=made.now)
    where = f"sqlite:{home / 'server.db'}"
    with running_server(where, authorities=made.authorities) as made.server:
        yield made


class HttpKit:
    """A tenant's authority that nobody else uses."""

    largest = 1 << 62

    def __init__(self, money: MoneyServer) -> None:
        self._money = money
        money.ahead = 0
        self._key = money.server.make_key(f"tenant-{next(_NUMBERS)}")
        self._clients: list[HttpAuthority] = []
        self.authority: SharedAuthority = self.other()
        self.authority.epoch()  # a new tenant's is opened by itself

    def other(self) -> SharedAuthority:
        client = HttpAuthority(self._money.server.url, key=self._key, timeout_seconds=10)
        self._clients.append(client)
        return client

    def advance(self, seconds: float) -> None:
        self._money.ahead += int(seconds * 1_000_000_000)

    def backup(self) -> None:
        self._money.authorities.close()
        shutil.copy(self._money.path, self._money.home / "copy")

    def restore(self) -> None:
        self._money.authorities.close()
        shutil.copy(self._money.home / "copy", self._money.path)

    def lose(self) -> None:
        self._money.authorities.close()
        self._money.path.unlink(missing_ok=True)

    def close(self) -> None:
        for client in self._clients:
            client.close()


@contextmanager
def http_kit(money: MoneyServer) -> Iterator[HttpKit]:
    kit = HttpKit(money)
    try:
        yield kit
    finally:
        kit.close()
