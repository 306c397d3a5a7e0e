"""Which leases the authorities granted: of calls that draw from them the hosts settle."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final

from tollspan.server.authority import Authorities
from tollspan.usage import LedgerError

_MOST: Final = 50_000
_STRANGER_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 1.0
_FOREVER: Final = float("inf")


class KnownLeases:
    """Remembers which leases were found, and for a while which were not. Safe for threads.

    Args:
        authorities: Grant them.
        clock: Monotonic seconds.
    """

    def __init__(
        self, authorities: Authorities, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._authorities = authorities
        self._clock = clock
        self._until: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._asks_again_at = 0.0
        self._lock = threading.Lock()

    def among(self, tenant: str, lease_ids: Collection[str]) -> frozenset[str]:
        """Return which of a tenant's leases are known to have been granted here.

        While the authority can't say, those that were found before.
        """
        now = self._clock()
        new = [one for one in lease_ids if self._until.get((tenant, one), 0.0) <= now]
        if new and now >= self._asks_again_at:
            try:
                self.find(tenant, new)
            except LedgerError:
                self._asks_again_at = now + _AGAIN_SECONDS
        return frozenset([one for one in lease_ids if self._until.get((tenant, one)) == _FOREVER])

    def find(self, tenant: str, lease_ids: Collection[str]) -> frozenset[str]:
        """Ask which of a tenant's leases were granted here, and remember it.

        Raises:
            LedgerError: The authority can't answer.
        """
        if not lease_ids:
            return frozenset()
        found = self._authorities.of(tenant).known_leases(lease_ids)
        over = self._clock() + _STRANGER_SECONDS
        with self._lock:
            for one in lease_ids:
                self._until[tenant, one] = _FOREVER if one in found else over
            while len(self._until) > _MOST:
                self._until.popitem(last=False)
        return found

    def forget(self, tenant: str) -> None:
        """Forget a tenant's: its authority has lost what it knew."""
        with self._lock:
            for one in [one for one in self._until if one[0] == tenant]:
                del self._until[one]
