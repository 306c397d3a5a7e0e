"""Charges budgets for calls of which nobody asked here: spans tell of them, or hosts do later.

Such calls can't be refused any more; they count all the same, and what comes after them is refused.
"""

from __future__ import annotations

from tollspan.ledger.central import CentralLedger
from tollspan.server.authority import Authorities, Exceeding
from tollspan.server.gates import TenantGates

from .assessing import Assessor
from .filling import Filler
from .known_leases import KnownLeases
from .posting import Charger

__all__ = ["Assessor", "Charger", "Filler", "charges"]


def charges(
    ledger: CentralLedger, authorities: Authorities, gates: TenantGates, exceeding: Exceeding
) -> tuple[Assessor, Charger, Filler]:
    """Return what says what calls charge, what posts it, and what tells it all anew.

    Whoever serves starts and closes the second.

    Args:
        ledger: Keeps what is to be charged.
        authorities: Are told.
        gates: Name the accounts, and tell of budgets that run low.
        exceeding: Tells hosts of those that are used up.
    """
    leases = KnownLeases(authorities)
    charger = Charger(ledger, authorities, gates, exceeding, leases)
    assessor = Assessor(gates, leases, charger.wake)
    return assessor, charger, Filler(ledger, authorities, assessor, leases)
