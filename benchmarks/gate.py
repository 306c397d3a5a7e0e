"""Latency of the gate's steps in a loop of their own: match and hold, settle, bound, price."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import msgspec

from benchmarks.ledgers import (
    REQUEST,
    RESPONSE,
    USAGE,
    FixedBounds,
    Latency,
    calls,
    closing,
    rule_set,
)
from tollspan.budget import BudgetGate, Closer, MemoryLedger
from tollspan.ledger import SQLiteLedger
from tollspan.pricing import PriceBook

BUDGETS = 5
_T = TypeVar("_T")


class GateResult(msgspec.Struct, kw_only=True):
    """Latencies of single steps, nothing else running.

    Attributes:
        memory_hold, sqlite_hold: Match and hold of `BUDGETS` budgets, the bound given.
        memory_close, sqlite_close: Price, store and settle.
        bound, rate: The price book's, for a kind of call that it has met before.
        bound_new: The bound of a limit on the output that it has not met.
    """

    memory_hold: Latency
    memory_close: Latency
    sqlite_hold: Latency
    sqlite_close: Latency
    bound: Latency
    bound_new: Latency
    rate: Latency


def measure(steps: int = 20_000) -> GateResult:
    """Measure every step."""
    book = PriceBook.load()
    memory_hold, memory_close = _loop(MemoryLedger(), book, steps)
    with TemporaryDirectory() as folder:
        ledger = SQLiteLedger(Path(folder))
        try:
            sqlite_hold, sqlite_close = _loop(ledger, book, steps)
        finally:
            ledger.close()
    now = time.time_ns()
    limits = iter(range(1, steps + 1_001))
    return GateResult(
        memory_hold=memory_hold,
        memory_close=memory_close,
        sqlite_hold=sqlite_hold,
        sqlite_close=sqlite_close,
        bound=_time(lambda: book.bound(REQUEST, now, ceiling=True), steps),
        bound_new=_time_of(
            lambda: msgspec.structs.replace(REQUEST, max_output_tokens=next(limits)),
            lambda request: book.bound(request, now, ceiling=True),
            steps,
        ),
        rate=_time(lambda: book.rate(REQUEST, RESPONSE, USAGE, now, ceiling=True), steps),
    )


def _loop(
    ledger: MemoryLedger | SQLiteLedger, book: PriceBook, steps: int
) -> tuple[Latency, Latency]:
    gate = BudgetGate(rule_set(BUDGETS), FixedBounds(), ledger)
    closer = Closer(book, ledger)
    clock = time.perf_counter_ns
    held: list[int] = []
    closed: list[int] = []
    for call, _ in zip(calls(), range(steps), strict=False):
        start = clock()
        decision = gate.authorize(call)
        held.append(clock() - start)
        assert decision.hold is not None
        end = closing(call, decision)
        start = clock()
        closer.close(end)
        closed.append(clock() - start)
    return Latency.of(held[1_000:]), Latency.of(closed[1_000:])


def _time(step: Callable[[], object], steps: int) -> Latency:
    return _time_of(lambda: None, lambda _: step(), steps)


def _time_of(prepare: Callable[[], _T], step: Callable[[_T], object], steps: int) -> Latency:
    clock = time.perf_counter_ns
    found: list[int] = []
    for _ in range(steps + 1_000):
        given = prepare()
        start = clock()
        step(given)
        found.append(clock() - start)
    return Latency.of(found[1_000:])
