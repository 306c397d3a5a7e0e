"""A thread beside the server: posts what is to be charged, in one replica at a time."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

import msgspec

from tollspan.budget import Settlement
from tollspan.ledger.central import CentralLedger, DueCharge
from tollspan.server.authority import Authorities, Exceeding
from tollspan.server.gates import TenantGates
from tollspan.usage import TollspanError

from .known_leases import KnownLeases

WORK: Final = "charging"
_EVERY_SECONDS: Final = 1.0
_BATCH_SECONDS: Final = 0.05
_CLAIM_SECONDS: Final = 15.0
_AT_ONCE: Final = 500
_STOP_SECONDS: Final = 10.0
_LOG_EVERY_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)


def settlements(due: Iterable[DueCharge]) -> list[Settlement]:
    """Return what an authority is told: of no lease, each by its name once."""
    return [Settlement(call_id=one.name, lease_id=None, charges=one.charges) for one in due]


class Charger:
    """Posts what is to be charged, until it is closed; what is posted twice counts once.

    Args:
        ledger: Has what is to be charged.
        authorities: Are told.
        gates: Tell of budgets that run low.
        exceeding: Tells hosts of those that are used up.
        leases: What draws from those that are known is not charged: the hosts settle it.
    """

    def __init__(
        self,
        ledger: CentralLedger,
        authorities: Authorities,
        gates: TenantGates,
        exceeding: Exceeding,
        leases: KnownLeases,
    ) -> None:
        self._due = ledger.charges_due
        self._claims = ledger.claims
        self._authorities = authorities
        self._gates = gates
        self._exceeding = exceeding
        self._leases = leases
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._work = threading.Event()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tollspan-charging", daemon=True)
        self._logged_at = -_LOG_EVERY_SECONDS

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Have it look at once."""
        self._work.set()

    def close(self) -> None:
        """End after what is being done; another replica does the rest."""
        self._is_closing.set()
        self._work.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def post_some(self) -> int:
        """Post some of what is to be charged now, and return how much that was.

        Raises:
            TollspanError: Some is left, and is posted the next time.
        """
        due = self._due.begin(_AT_ONCE)
        trouble: TollspanError | None = None
        for tenant, some in groupby(sorted(due, key=attrgetter("tenant")), attrgetter("tenant")):
            try:
                self._post(tenant, list(some))
            except TollspanError as error:
                trouble = error
        if trouble is not None:
            raise trouble
        return len(due)

    def _post(self, tenant: str, due: Sequence[DueCharge]) -> None:
        drawn = {one.lease_id for one in due if one.lease_id is not None}
        known = self._leases.find(tenant, drawn)
        charged = [one for one in due if one.lease_id not in known]
        if charged:
            self._authorities.of(tenant).settle(settlements(charged))
        self._due.done(due)
        if charged:
            self._tell(tenant, charged)

    def _tell(self, tenant: str, charged: Sequence[DueCharge]) -> None:
        """Tell of what is used up, and of what runs low."""
        self._exceeding.after(tenant, [charge for one in charged for charge in one.charges])
        warner = self._gates.of(tenant).warner
        for one in charged if warner.is_wanted else ():
            event = self._due.event(tenant, one.place)
            if event is not None:
                warner.look(msgspec.structs.replace(event, charges=one.charges))

    def _run(self) -> None:
        while not self._is_closing.is_set():
            self._work.wait(_EVERY_SECONDS)
            self._work.clear()
            if self._is_closing.wait(_BATCH_SECONDS):
                break
            try:
                if self._due.has_some() and self._claim():
                    while not self._is_closing.is_set() and self.post_some() == _AT_ONCE:
                        self._claim()
            except TollspanError as error:
                self._say(error)
        self._release()

    def _claim(self) -> bool:
        return self._claims.take(WORK, self._holder, seconds=_CLAIM_SECONDS)

    def _release(self) -> None:
        try:
            self._claims.release(WORK, self._holder)
        except TollspanError as error:  # the claim ends by itself
            self._say(error)

    def _say(self, error: TollspanError) -> None:
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at = now
            _log.warning("what calls cost that nobody asked for can't be charged yet: %s", error)
