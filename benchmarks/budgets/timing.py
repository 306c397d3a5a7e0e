"""Times match and hold, call by call, in rounds that take turns with what it is compared to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence

from benchmarks.budgets.figures import Spot
from benchmarks.budgets.places import Place
from benchmarks.ledgers import FixedBounds, closing
from tollspan.budget import BudgetGate, Closer, RuleSet
from tollspan.pricing import PriceBook
from tollspan.usage import Call


class Samples:
    """Durations of one step in ns, round by round."""

    def __init__(self) -> None:
        self._rounds: list[list[int]] = []

    def add(self, durations: Sequence[int]) -> None:
        """Take in a round."""
        self._rounds.append(sorted(durations))

    def spot(self) -> Spot:
        """Sum up."""
        return Spot(
            p50=min(_at(one, 0.5) for one in self._rounds) / 1e3,
            p99=statistics.median(_at(one, 0.99) for one in self._rounds) / 1e3,
            steps=sum(map(len, self._rounds)),
        )


def _at(ordered: list[int], share: float) -> int:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Caller:
    """Makes calls at a place, one after another.

    Args:
        place: Who holds the money.
        rules: The rules.
        book: What calls cost.
    """

    def __init__(self, place: Place, rules: RuleSet, book: PriceBook) -> None:
        self._gate = BudgetGate(rules, FixedBounds(), place.authority)
        self._closer = Closer(book, place.books)
        self.held = Samples()
        self.closed = Samples()

    def round(self, calls: Iterable[Call], *, is_counted: bool = True) -> None:
        """Make calls without rest."""
        held: list[int] = []
        closed: list[int] = []
        for call in calls:
            hold, close = self.step(call)
            held.append(hold)
            closed.append(close)
        if is_counted:
            self.held.add(held)
            self.closed.add(closed)

    def step(self, call: Call) -> tuple[int, int]:
        """Make one call; return what match and hold took, and what closing took, in ns."""
        clock = time.perf_counter_ns
        start = clock()
        decision = self._gate.authorize(call)
        held = clock() - start
        assert decision.hold is not None, decision.note
        end = closing(call, decision)
        start = clock()
        self._closer.close(end)
        return held, clock() - start
