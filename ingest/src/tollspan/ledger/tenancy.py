"""The authorities of a server's tenants: one for each, strictly apart, in one place.

Each tenant has accounts, leases and an epoch of its own: whatever one says, the others' stay open.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tollspan.budget import LeaseSettings, ListingAuthority, MemoryAuthority
from tollspan.usage import ConfigError

from .authorities import open_authority
from .postgres import PostgresAuthority
from .redis import RedisAuthority
from .shared_sqlite import SharedFile, SQLiteAuthority

_SQLITE: Final = "sqlite:"
_MEMORY: Final = "memory:"
_MOST_OPEN: Final = 256
"""So many tenants have connections of their own to a Redis."""
Make = Callable[[str], ListingAuthority]


class TenantAuthorities:
    """Who holds the money of a server's tenants. Safe for threads.

    Attributes:
        place: Where they are, without secrets.
        forgets: What they know goes with the process.

    Args:
        address: `memory:`, `sqlite:PATH`, `redis://…` or `postgresql://…`.
        settings: How long leases live, the horizon, and how long a question may wait.
        clock: Unix nanoseconds, for memory and SQLite; servers have clocks of their own.

    Raises:
        ConfigError: It is none of them, or its driver is not installed.
    """

    def __init__(
        self, address: str, settings: LeaseSettings, *, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.forgets = address == _MEMORY
        self._closes_some = address.startswith(("redis", "unix"))  # others share what is open
        self._made: OrderedDict[str, ListingAuthority] = OrderedDict()
        self._lock = threading.Lock()
        self.place, self._make, self._close = _maker(address, settings, clock)

    def of(self, tenant: str) -> ListingAuthority:
        """Return a tenant's; nothing is asked of it yet."""
        with self._lock:
            authority = self._made.pop(tenant, None)
            if authority is None:
                authority = self._make(tenant)
            self._made[tenant] = authority
            if self._closes_some and len(self._made) > _MOST_OPEN:
                self._made.popitem(last=False)[1].close()
            return authority

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for authority in self._made.values() if self._closes_some else ():
                authority.close()
        self._close()


def _maker(
    address: str, settings: LeaseSettings, clock: Callable[[], int]
) -> tuple[str, Make, Callable[[], None]]:
    """Return where it is, what makes a tenant's, and what closes what they share."""
    if address == _MEMORY:

        def in_memory(_: str) -> ListingAuthority:
            authority = MemoryAuthority(settings, clock=clock)
            authority.open_epoch()
            return authority

        return address, in_memory, _nothing
    if address.startswith(_SQLITE):
        path = address.removeprefix(_SQLITE).removeprefix("//")
        if not path:
            raise ConfigError(f"{address!r} names no file; expected sqlite:PATH")
        file = SharedFile(Path(path).expanduser().absolute())
        shown = f"sqlite:{file.path}"
        return (
            shown,
            lambda tenant: SQLiteAuthority(file, tenant, settings, clock=clock),
            file.close,
        )
    base = open_authority(address, settings)
    if isinstance(base, PostgresAuthority):
        return base.place, base.of_tenant, base.close
    return base.place, _in_redis(address, settings), base.close


def _in_redis(address: str, settings: LeaseSettings) -> Make:
    def make(tenant: str) -> ListingAuthority:
        return RedisAuthority(
            address,
            life_seconds=settings.life_seconds,
            horizon_seconds=settings.horizon_seconds,
            timeout_seconds=settings.wait_seconds,
            tenant=tenant,
        )

    return make


def _nothing() -> None:
    """Close nothing: memory has no connections."""
