"""Sees what ended leases of a shared authority leave unresolved, and has each told once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

from tollspan.budget import SharedAuthority, Unresolved

_BACK_NS: Final = 86_400 * 1_000_000_000
_OVERLAP_NS: Final = 120 * 1_000_000_000
"""An end may be seen so much later than another that came after it."""


class Leftovers:
    """Looks at what leases left that ended since the last look. For one thread at a time.

    Each lease is told by one process of one host: the authority notes who was first, beside the
    shares of limits that were told.

    Args:
        authority: Ends leases.
        tell: Is told what they left, with the lease's id each.
        clock: Unix nanoseconds; the first look goes a day back.
    """

    def __init__(
        self,
        authority: SharedAuthority,
        tell: Callable[[Sequence[Unresolved]], None],
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._authority = authority
        self._tell = tell
        self._since_unix_ns = clock() - _BACK_NS
        self._seen: dict[str, int] = {}

    def look(self) -> None:
        """Look, and tell.

        Raises:
            LedgerError: The authority can't answer; what was not told is told later.
        """
        found: dict[str, list[Unresolved]] = {}
        for one in self._authority.unresolved(since_unix_ns=self._since_unix_ns):
            if one.lease_id not in self._seen:
                found.setdefault(one.lease_id, []).append(one)
        first: list[Unresolved] = []
        try:
            for lease_id, left in found.items():
                if self._authority.is_first(left[0].account, _mark(left[0])):
                    first += left
                self._seen[lease_id] = left[0].since_unix_ns
        finally:
            if first:
                self._tell(first)
        newest = max(self._seen.values(), default=0)
        self._since_unix_ns = max(self._since_unix_ns, newest - _OVERLAP_NS)
        self._seen = {id_: at for id_, at in self._seen.items() if at >= self._since_unix_ns}


def _mark(one: Unresolved) -> Decimal:
    """Name the end of a lease among what is told of an account; shares of limits are above 0."""
    return Decimal(-one.since_unix_ns)
