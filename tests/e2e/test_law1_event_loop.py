"""An event loop beside busy processes is late because of their CPU time, not of the ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from tests.e2e.crowding import Round, measure

pytestmark = pytest.mark.alone

MOST = 3.0
ROUNDS = 3
TRIES = 3


def ratio(home: Path, *, seconds: float, rounds: int) -> tuple[float, list[tuple[Round, Round]]]:
    """Return how many times later a loop is beside a crowd on the ledger than beside spinners.

    The two are measured in turn, and the medians of their 99th percentiles compared: the machine
    is a small one, and other programs run on it.
    """
    pairs: list[tuple[Round, Round]] = []
    for _ in range(rounds):
        crowded = measure(home, seconds=seconds, spin_seconds=None)
        spun = measure(home, seconds=seconds, spin_seconds=crowded.crowd_cpu_seconds)
        assert crowded.calls > 0
        assert crowded.crowd_calls > 0
        pairs.append((crowded, spun))
    return _p99([one for one, _ in pairs]) / _p99([other for _, other in pairs]), pairs


def _p99(rounds: list[Round]) -> float:
    return median(one.p99_seconds for one in rounds)


def test_a_loop_beside_seven_busy_processes_is_at_most_three_times_as_late_as_beside_spinners(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Seven processes hold and post without a pause to speak of; 20 tasks call on the loop.

    A spinner's turn takes the CPU time that a turn on the ledger took, and rests as long. Up to
    three tries: a disturbance in one half of a pair says nothing of the ledger.
    """
    found: list[float] = []
    for _ in range(TRIES):
        times, pairs = ratio(tmp_path, seconds=1.5, rounds=ROUNDS)
        found.append(round(times, 2))
        if times <= MOST:
            break
    record_property("lag_ratios", found)
    print(found, [(f"{a.p99_seconds:.4f}", f"{b.p99_seconds:.4f}") for a, b in pairs])
    assert found[-1] <= MOST, (found, pairs)


@pytest.mark.slow
def test_a_loop_is_no_later_over_many_rounds(tmp_path: Path) -> None:
    times, pairs = ratio(tmp_path, seconds=10, rounds=9)
    assert times <= MOST, pairs
