"""Which leases the authorities granted: of calls that draw from them the hosts settle."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection
from typing import Final

from tollspan.server.authority import Authorities

_MOST: Final = 50_000


class KnownLeases:
    """Remembers leases that were found. Safe for threads.

    Args:
        authorities: Grant them.
    """

    def __init__(self, authorities: Authorities) -> None:
        self._authorities = authorities
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def remembers(self, tenant: str, lease_id: str | None) -> bool:
        """Say whether a lease was found before; nobody is asked."""
        return lease_id is not None and (tenant, lease_id) in self._known

    def forget(self, tenant: str) -> None:
        """Forget a tenant's: its authority has lost what it knew."""
        with self._lock:
            for one in [one for one in self._known if one[0] == tenant]:
                del self._known[one]

    def find(self, tenant: str, lease_ids: Collection[str]) -> frozenset[str]:
        """Return which of a tenant's leases were granted here, and remember them.

        Raises:
            LedgerError: The authority can't answer.
        """
        unknown = [one for one in lease_ids if not self.remembers(tenant, one)]
        found = self._authorities.of(tenant).known_leases(unknown) if unknown else frozenset[str]()
        with self._lock:
            self._known.update({(tenant, one): None for one in found})
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return frozenset([one for one in lease_ids if one in found or one not in unknown])
