"""Says what calls charge that nobody asked for here, by the rules in force as they are told."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from tollspan.budget import BudgetGate, Closing, charges_of
from tollspan.ledger.central import DueCharge, ToldCall, due_charge
from tollspan.server.gates import TenantGates
from tollspan.usage import Charge, ConfigError, Fact, UsageEvent

from .known_leases import KnownLeases

_LOG_EVERY_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)


class Assessor:
    """Says what calls charge. Safe for threads.

    Args:
        gates: Name the accounts.
        leases: Of calls that draw from those that are known, hosts settle.
        wake: Is called once something is to be charged.
    """

    def __init__(self, gates: TenantGates, leases: KnownLeases, wake: Callable[[], None]) -> None:
        self._gates = gates
        self._leases = leases
        self.wake = wake
        self._logged_at = -_LOG_EVERY_SECONDS

    def of_events(self, tenant: str, facts: Iterable[Fact]) -> dict[str, DueCharge]:
        """Return by their ids what events charge that hosts may not settle here.

        Totals of what a host folded charge nothing: of their calls nothing is known.

        Raises:
            LedgerUnavailableError: The books can't be used.
        """
        found: dict[str, DueCharge] = {}
        gate = self._gate(tenant)
        if gate is None:
            return found
        calls = [one for one in facts if isinstance(one, UsageEvent) and one.folded is None]
        drawn = {one.lease_id for one in calls if one.lease_id is not None}
        settled = self._leases.among(tenant, drawn) if drawn else drawn
        for fact in calls:
            if fact.lease_id in settled:
                continue
            charges = _charges(gate, fact)
            if charges:
                found[fact.call.id] = due_charge(tenant, fact, charges)
        return found

    def with_charges(self, tenant: str, told: Sequence[ToldCall]) -> Sequence[ToldCall]:
        """Return calls as spans tell them, with what they charge in their events.

        Raises:
            LedgerUnavailableError: The books can't be used.
        """
        gate = self._gate(tenant) if told else None
        if gate is None:
            return told
        replace = msgspec.structs.replace
        return [
            replace(one, event=replace(one.event, charges=_charges(gate, one.event)))
            for one in told
        ]

    def _gate(self, tenant: str) -> BudgetGate | None:
        """Return what names a tenant's accounts; None where there are none, or can't be read."""
        try:
            return self._gates.spending(tenant)
        except ConfigError as error:
            now = time.monotonic()
            if now - self._logged_at >= _LOG_EVERY_SECONDS:
                self._logged_at = now
                _log.warning("calls that nobody asked for charge no budget: %s", error)
            return None


def _charges(gate: BudgetGate, event: UsageEvent) -> tuple[Charge, ...]:
    call = event.call
    closing = Closing(
        call, gate.spent(call, may_ask=True), event.usage, event.outcome, event.traceparent
    )
    return tuple([one for one in charges_of(closing, event.cost) if one.posted])
