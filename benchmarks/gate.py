"""Latency of the gate's steps in a loop of their own: match and hold, settle, bound, price."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
    assigned_rules,
    calls,
    closing,
    owners_rules,
    rule_set,
)
from tollspan.budget import BudgetGate, Closer, MemoryLedger, RuleSet
from tollspan.ledger import SQLiteLedger
from tollspan.pricing import PriceBook
from tollspan.usage import Call

BUDGETS = 5
FEW_OWNERS, MANY_OWNERS = 10, 10_000
_T = TypeVar("_T")


class GateResult(msgspec.Struct, kw_only=True):
    """Latencies of single steps, nothing else running.

    Attributes:
        memory_hold, sqlite_hold: Match and hold of `BUDGETS` budgets, the bound given.
        memory_close, sqlite_close: Price, store and settle.
        few_owners, many_owners: Match and hold where each of 10, and of 10,000, customers has a
            budget of its own, and 10 of them call in turn; in memory.
        all_owners: The same where all 10,000 call in turn.
        few_assigned, many_assigned: As with owners, but 10, and 10,000, customers are assigned a
            plan of two budgets, each with a billing period of its own; None in older results.
        bound, rate: The price book's, for a kind of call that it has met before.
        bound_new: The bound of a limit on the output that it has not met.
    """

    memory_hold: Latency
    memory_close: Latency
    sqlite_hold: Latency
    sqlite_close: Latency
    few_owners: Latency
    many_owners: Latency
    all_owners: Latency
    few_assigned: Latency | None = None
    many_assigned: Latency | None = None
    bound: Latency
    bound_new: Latency
    rate: Latency


def measure(steps: int = 20_000) -> GateResult:
    """Measure every step."""
    book = PriceBook.load()
    memory_hold, memory_close = _loop(MemoryLedger(), book, steps, rule_set(BUDGETS), calls())
    with TemporaryDirectory() as folder:
        ledger = SQLiteLedger(Path(folder))
        try:
            sqlite_hold, sqlite_close = _loop(ledger, book, steps, rule_set(BUDGETS), calls())
        finally:
            ledger.close()
    now = time.time_ns()
    limits = iter(range(1, steps + 1_001))
    return GateResult(
        memory_hold=memory_hold,
        memory_close=memory_close,
        sqlite_hold=sqlite_hold,
        sqlite_close=sqlite_close,
        few_owners=_owners(FEW_OWNERS, FEW_OWNERS, book, steps),
        many_owners=_owners(MANY_OWNERS, FEW_OWNERS, book, steps),
        all_owners=_owners(MANY_OWNERS, MANY_OWNERS, book, steps),
        few_assigned=_owners(FEW_OWNERS, FEW_OWNERS, book, steps, assigned_rules),
        many_assigned=_owners(MANY_OWNERS, FEW_OWNERS, book, steps, assigned_rules),
        bound=_time(lambda: book.bound(REQUEST, now, ceiling=True), steps),
        bound_new=_time_of(
            lambda: msgspec.structs.replace(REQUEST, max_output_tokens=next(limits)),
            lambda request: book.bound(request, now, ceiling=True),
            steps,
        ),
        rate=_time(lambda: book.rate(REQUEST, RESPONSE, USAGE, now, ceiling=True), steps),
    )


def _owners(
    owners: int,
    callers: int,
    book: PriceBook,
    steps: int,
    rules: Callable[[int], RuleSet] = owners_rules,
) -> Latency:
    customers = tuple([f"customer-{number}" for number in range(callers)])
    held, _ = _loop(MemoryLedger(), book, steps, rules(owners), calls(customers))
    return held


def _loop(
    ledger: MemoryLedger | SQLiteLedger,
    book: PriceBook,
    steps: int,
    rules: RuleSet,
    asked: Iterator[Call],
) -> tuple[Latency, Latency]:
    gate = BudgetGate(rules, FixedBounds(), ledger)
    closer = Closer(book, ledger)
    clock = time.perf_counter_ns
    held: list[int] = []
    closed: list[int] = []
    for call, _ in zip(asked, range(steps), strict=False):
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
