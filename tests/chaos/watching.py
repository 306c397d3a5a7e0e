"""Looks at a world all the time: what its authority, its servers and its providers say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress

import requests

from tests.e2e.ingest import total
from tollspan.budget import LeaseSettings
from tollspan.ledger import TenantAuthorities, rescued_files
from tollspan.usage import TollspanError

from .verdict import Seen
from .world import World

_EVERY_SECONDS = 0.1


@contextmanager
def watching(world: World) -> Iterator[Seen]:
    """Look until the block ends."""
    watcher = _Watcher(world)
    ending = threading.Event()

    def repeat(look: Callable[[], None]) -> None:
        while not ending.wait(_EVERY_SECONDS):
            look()

    with closing(watcher.authorities), ThreadPoolExecutor(len(watcher.looks)) as pool:
        looking = [pool.submit(repeat, look) for look in watcher.looks]
        try:
            yield watcher.seen
        finally:
            ending.set()
        for one in looking:
            one.result()


class _Watcher:
    """What can be looked at, and what was seen."""

    def __init__(self, world: World) -> None:
        self.seen = Seen()
        self.looks = (self._look_at_authority, self._look_at_servers, self._look_at_hosts)
        self.authorities = TenantAuthorities(world.redis.url, LeaseSettings(wait_seconds=1))
        self._world = world

    def _look_at_authority(self) -> None:
        tight = self._world.tight
        try:
            balances = self.authorities.of("default").balances(self._world.accounts)
        except TollspanError:
            self.seen.unanswered += 1
            return
        for one in balances:
            counted = one.posted + one.held + one.unresolved - one.account.limit
            self.seen.worst_nanousd = max(self.seen.worst_nanousd, counted)
        over = tight.fake.billed_nanousd - self._world.accounts[0].limit
        self.seen.worst_bill_nanousd = max(self.seen.worst_bill_nanousd, over)
        self.seen.looks += 1

    def _look_at_hosts(self) -> None:
        found = sum(len(rescued_files(home)) for home in self._world.homes)
        self.seen.put_aside = max(self.seen.put_aside, found)

    def _look_at_servers(self) -> None:
        for server in self._world.servers:
            with suppress(requests.RequestException, AssertionError):
                calls, _ = total(server, self._world.key)
                seen = sum(fleet.fake.hits for fleet in self._world.fleets)
                self.seen.too_many = max(self.seen.too_many, calls - seen)
                self.seen.server_looks += 1
