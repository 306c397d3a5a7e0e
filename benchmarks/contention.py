"""Latency of hold and settle while other processes use the same ledger, and a control without it.

Each process is busy: half a millisecond of CPU and half a millisecond of sleep between its steps,
far more than real calls to a provider. The control spins instead of writing, so it shows what the
machine's scheduler alone does to so many busy processes.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec

from benchmarks.gate import BUDGETS
from benchmarks.ledgers import Latency, closing, holds
from tollspan.budget import Closer, Decision, LeasedLedger
from tollspan.ledger import SQLiteLedger
from tollspan.pricing import PriceBook
from tollspan.usage import DecisionNote

PROCESSES = 8
SECONDS = 5.0
_WARM_UP_SECONDS = 1.0
_THINK_NS = 500_000
_CONTROL_NS = 30_000
Kind = Literal["sqlite", "leased", "control"]
_Samples = tuple[list[int], list[int]]


class ContentionResult(msgspec.Struct, kw_only=True):
    """Latencies over all processes; the control's are of its two spins of 30 µs.

    Attributes:
        calls_per_second: Of the whole host.
    """

    hold: Latency
    settle: Latency
    control_hold: Latency
    control_settle: Latency
    calls_per_second: float
    processes: int
    leased_hold: Latency | None = None
    leased_settle: Latency | None = None


def measure(processes: int = PROCESSES, seconds: float = SECONDS) -> ContentionResult:
    """Run the processes three times: on one ledger, on one from leases, and spinning."""
    with TemporaryDirectory() as folder:
        held, settled = _run("sqlite", Path(folder), processes, seconds)
        lent, repaid = _run("leased", Path(folder) / "leased", processes, seconds)
        first, second = _run("control", Path(folder), processes, seconds)
    return ContentionResult(
        hold=Latency.of(held),
        settle=Latency.of(settled),
        leased_hold=Latency.of(lent),
        leased_settle=Latency.of(repaid),
        control_hold=Latency.of(first),
        control_settle=Latency.of(second),
        calls_per_second=len(held) / seconds,
        processes=processes,
    )


def _run(kind: Kind, home: Path, processes: int, seconds: float) -> _Samples:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    samples = context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(kind, home, seconds, barrier, samples))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    first: list[int] = []
    second: list[int] = []
    for _ in workers:
        one, other = samples.get()
        first += one
        second += other
    for worker in workers:
        worker.join()
    return first, second


def _work(
    kind: Kind,
    home: Path,
    seconds: float,
    barrier: Barrier,
    samples: multiprocessing.SimpleQueue[_Samples],
) -> None:
    """Be one busy process."""
    file = SQLiteLedger(home)
    leases = LeasedLedger(file, file, file, holder=file.holder)
    ledger = leases if kind == "leased" else file
    closer = Closer(PriceBook.load(), ledger)
    first: list[int] = []
    second: list[int] = []
    clock = time.perf_counter_ns
    barrier.wait()
    since = clock() + int(_WARM_UP_SECONDS * 1e9)
    until = since + int(seconds * 1e9)
    for call, hold in holds(BUDGETS):
        start = clock()
        if start >= until:
            break
        if kind != "control":
            refusal = ledger.hold(hold)
            assert refusal is None
        else:
            _spin(_CONTROL_NS)
        one = clock() - start
        time.sleep(_THINK_NS / 1e9)
        _spin(_THINK_NS)
        end = closing(call, Decision(note=DecisionNote(), hold=hold))
        start = clock()
        if kind != "control":
            closer.close(end)
        else:
            _spin(_CONTROL_NS)
        other = clock() - start
        if start >= since:
            first.append(one)
            second.append(other)
    leases.close()
    file.close()
    samples.put((first, second))


def _spin(nanoseconds: int) -> None:
    """Use CPU time, whoever else wants it."""
    until = time.thread_time_ns() + nanoseconds
    while time.thread_time_ns() < until:
        pass
