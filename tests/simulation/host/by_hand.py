"""What operators posted, as the laws must know it."""

from __future__ import annotations

from collections import Counter

from tests.simulation.host.file import Key
from tollspan.usage import Adjustment


class ByHand:
    """Sums of adjustments.

    Attributes:
        granted: What accounts may have beyond their limits just now; less than nothing where they
            were set to less.
        most: The most of that at any time.
        lowered: What was posted so that accounts have less: others may have held it meanwhile.
        settled: Calls and leases that an operator has settled.
    """

    def __init__(self) -> None:
        self.granted: Counter[Key] = Counter()
        self.most: Counter[Key] = Counter()
        self.lowered: Counter[Key] = Counter()
        self.settled: set[str] = set()

    def count(self, made: Adjustment) -> None:
        """Count an adjustment that is in the file."""
        self.settled.update(filter(None, (made.call_id, made.lease_id)))
        if made.action == "resolve":
            return
        for charge in made.charges:
            key = (charge.budget_id, charge.scope, charge.period, charge.unit)
            self.granted[key] -= charge.posted
            self.most[key] = max(self.most[key], self.granted[key])
            self.lowered[key] += max(0, charge.posted)
