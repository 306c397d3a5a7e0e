"""Charges budgets for calls of which nobody asked here: spans tell of them, or hosts do later.

Such calls can't be refused any more; they count all the same, and what comes after them is refused.
"""

from __future__ import annotations

from tollspan.ledger.central import CentralLedger
from tollspan.server.authority import Authorities, Exceeding
from tollspan.server.gates import TenantGates

from .assessing import Assessor
from .known_leases import KnownLeases
from .posting import Charger

__all__ = ["Assessor", "Charger", "charges"]


def charges(
    ledger: CentralLedger, authorities: Authorities, gates: TenantGates, exceeding: Exceeding
) -> tuple[Assessor, Charger]:
    """Return what says what calls charge, and what posts it: whoever serves starts and closes it.

    Args:
        ledger: Keeps what is to be charged.
        authorities: Are told.
        gates: Name the accounts, and tell of budgets that run low.
        exceeding: Tells hosts of those that are used up.
    """
    leases = KnownLeases(authorities)
    charger = Charger(ledger, authorities, gates, exceeding, leases)
    return Assessor(gates, leases, charger.wake), charger
