"""Tells an authority that has lost what it knew what calls have charged, from the books."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tollspan.ledger.central import (
    FROM_SPAN,
    SUPERSEDED,
    CentralLedger,
    DueCharge,
    EventQuery,
    Place,
    StoredEvent,
    charges_back,
    due_charge,
)
from tollspan.server.authority import Authorities
from tollspan.usage import LedgerUnavailableError, Reversal, TollspanError, UsageEvent

from .assessing import Assessor
from .known_leases import KnownLeases
from .posting import settlements

MEMORY_NS: Final = 34 * 86_400 * 10**9
"""How far back events are told again. Authorities remember settled calls for longer."""
_WAIT_SECONDS: Final = 5.0
_AT_ONCE: Final = 500


class _Filling:
    """A tenant's authority that is being filled."""

    def __init__(self) -> None:
        self.told = 0
        self.trouble: str | None = "it ended early"
        self.is_done = threading.Event()


class Filler:
    """Fills authorities. Safe for threads; what hosts have told as well counts once.

    Args:
        ledger: Has the events.
        authorities: Are told.
        assessor: Says what events charge.
        leases: Are forgotten: an authority that has lost what it knew has none.
        wait_seconds: How long whoever asks waits.
        clock: Nanoseconds since the epoch.
    """

    def __init__(
        self,
        ledger: CentralLedger,
        authorities: Authorities,
        assessor: Assessor,
        leases: KnownLeases,
        *,
        wait_seconds: float = _WAIT_SECONDS,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._reader = ledger.reader
        self._charges = ledger.charges_due
        self._authorities = authorities
        self._assessor = assessor
        self._leases = leases
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: dict[str, _Filling] = {}

    def fill(self, tenant: str) -> None:
        """Fill a tenant's authority, if it is closed, and was open before.

        Raises:
            LedgerUnavailableError: That takes longer, or has failed: ask again.
        """
        if not self._authorities.is_lost(tenant):
            return
        with self._lock:
            filling = self._under_way.get(tenant)
            if filling is None:
                filling = self._under_way[tenant] = _Filling()
                name = "tollspan-filling"
                threading.Thread(
                    target=self._run, args=(tenant, filling), name=name, daemon=True
                ).start()
        if not filling.is_done.wait(self._wait_seconds):
            raise LedgerUnavailableError(
                f"the authority is being filled from the books, {filling.told:,} events so far: "
                "ask again until it is open"
            )
        with self._lock:
            self._under_way.pop(tenant, None)
        if filling.trouble is not None:
            raise LedgerUnavailableError(
                f"the authority could not be filled from the books: {filling.trouble}"
            )

    def _run(self, tenant: str, filling: _Filling) -> None:
        try:
            self._tell(tenant, filling)
            filling.trouble = None
        except TollspanError as error:
            filling.trouble = str(error)
        finally:
            filling.is_done.set()

    def _tell(self, tenant: str, filling: _Filling) -> None:
        self._leases.forget(tenant)
        began_ns = self._clock()
        self._charges.begin_all(tenant)
        for some in self._pages(tenant, began_ns - MEMORY_NS):
            # What came since then is charged as always.
            due = self._due(tenant, [one for one in some if one.received_unix_ns < began_ns])
            self._authorities.of(tenant).settle(settlements(due))
            filling.told += len(some)

    def _pages(self, tenant: str, since: int) -> Iterator[Sequence[StoredEvent]]:
        after: Place | None = None
        while True:
            query = EventQuery(since_unix_ns=since, after=after, most=_AT_ONCE)
            found = self._reader.events(tenant, query)
            if found:
                yield found
            if len(found) < _AT_ONCE:
                return
            after = found[-1].place

    def _due(self, tenant: str, stored: Sequence[StoredEvent]) -> list[DueCharge]:
        """Say what events charge: as their spans were charged once, or else by the rules."""
        own = [
            one.fact
            for one in stored
            if isinstance(one.fact, UsageEvent) and FROM_SPAN not in one.marks
        ]
        due = list(self._assessor.of_events(tenant, own).values())
        for one in stored:
            if FROM_SPAN not in one.marks:
                continue
            if isinstance(one.fact, UsageEvent):
                due.append(due_charge(tenant, one.fact, one.fact.charges))
            elif isinstance(one.fact, Reversal) and one.fact.reason == SUPERSEDED:
                call = one.fact.event.call  # it may have been priced anew, and charges nothing then
                original = self._charges.event(tenant, (call.started_at_unix_ns, call.id))
                due += [] if original is None else [charges_back(tenant, original)]
        return [one for one in due if one.charges]
