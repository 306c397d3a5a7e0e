"""An event loop beside busy processes: how late it runs what is due.

Every process here is started by `multiprocessing`, does its part for a while, and answers through
a pipe.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import msgspec

from tollspan.budget import Budget, BudgetGate, Closer, Closing, MemoryLedger, RuleSet
from tollspan.ledger import SQLiteLedger
from tollspan.usage import (
    Attribution,
    Bound,
    Call,
    Cost,
    Outcome,
    Request,
    Response,
    Usage,
    new_call_id,
)

CROWD = 7
TASKS = 20
SPIN_SECONDS = 0.0005
REST_SECONDS = 0.0005
CALL_SECONDS = 0.1
TICK_SECONDS = 0.005
_REQUEST = Request(provider="openai", operation="chat", model="gpt-4o-mini", max_output_tokens=1)


class Round(msgspec.Struct, kw_only=True, frozen=True):
    """One measured round.

    Attributes:
        median_seconds, p99_seconds, longest_seconds: How late the loop was.
        calls: Calls that the loop made.
        crowd_calls: Calls that the crowd made on the ledger.
        crowd_cpu_seconds: CPU time that one turn of one of the crowd took.
    """

    median_seconds: float
    p99_seconds: float
    longest_seconds: float
    calls: int
    crowd_calls: int
    crowd_cpu_seconds: float


class FixedPrice:
    """Bounds and prices every call alike."""

    def bound(self, request: Request, at_unix_ns: int, *, ceiling: bool) -> Bound:
        return Bound(amount_nanousd=1_000)

    def most_of(
        self, request: Request, unit: str, at_unix_ns: int, *, ceiling: bool
    ) -> tuple[int | None, tuple[str, ...]]:
        return 1_000, ()

    def rate(
        self, request: Request, response: Response, usage: Usage, at_unix_ns: int, *, ceiling: bool
    ) -> Cost:
        return Cost(status="priced", amount_nanousd=700)


def measure(home: Path, *, seconds: float, spin_seconds: float | None) -> Round:
    """Run a loop beside a crowd.

    Args:
        home: Where the ledger is.
        seconds: How long.
        spin_seconds: With None, the crowd and the loop use the ledger. With a number, each turn of
            the crowd only spins so long, and the loop keeps its books in memory.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["openai", "tollspan.launch", "tests.e2e.spending", __name__])
    barrier = context.Barrier(CROWD + 1)
    with ExitStack() as stack:

        def start(target: object, *arguments: object) -> Connection:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=target, args=(*arguments, barrier, theirs))  # type: ignore[arg-type]  # typeshed wants the exact callable
            process.start()
            theirs.close()
            stack.callback(process.join, 30)
            return stack.enter_context(ours)

        crowd = [start(_be_busy, home, seconds, spin_seconds) for _ in range(CROWD)]
        loop = start(_run_loop, home, seconds, spin_seconds)
        lags, calls = loop.recv()
        turns = [one.recv() for one in crowd]
    lags.sort()
    return Round(
        median_seconds=lags[len(lags) // 2],
        p99_seconds=lags[len(lags) * 99 // 100],
        longest_seconds=lags[-1],
        calls=calls,
        crowd_calls=sum(count for count, _ in turns),
        crowd_cpu_seconds=sum(cpu for _, cpu in turns) / sum(count for count, _ in turns),
    )


def _gate(books: MemoryLedger | SQLiteLedger) -> tuple[BudgetGate, Closer]:
    price = FixedPrice()
    rules = RuleSet(budgets=(Budget(id="all", limit=1 << 60),))
    gate = BudgetGate(rules, price, books, acquire_timeout_seconds=5.0)
    return gate, Closer(price, books)


def _call() -> Call:
    now = time.time_ns()
    return Call(
        id=new_call_id(now), started_at_unix_ns=now, request=_REQUEST, attribution=Attribution()
    )


def _be_busy(
    home: Path, seconds: float, spin_seconds: float | None, barrier: Barrier, answer: Connection
) -> None:
    ledger = SQLiteLedger(home, wait_seconds=5.0, post_wait_seconds=5.0)
    gate, closer = _gate(ledger)
    if spin_seconds is None:
        ledger.open()
    barrier.wait()
    turns, began = 0, time.thread_time()
    for _ in _until(seconds):
        if spin_seconds is None:
            call = _call()
            decision = gate.authorize(call)
            _spin(SPIN_SECONDS)
            closer.close(Closing(call, decision, Usage(status="reported"), Outcome(status="ok")))
        else:
            _spin(spin_seconds)
        turns += 1
        time.sleep(REST_SECONDS)
    cpu = time.thread_time() - began
    ledger.close()
    answer.send((turns, cpu))


def _run_loop(
    home: Path, seconds: float, spin_seconds: float | None, barrier: Barrier, answer: Connection
) -> None:
    ledger = SQLiteLedger(home, wait_seconds=5.0, post_wait_seconds=5.0)
    if spin_seconds is None:
        ledger.open()
    gate, closer = _gate(ledger if spin_seconds is None else MemoryLedger())
    barrier.wait()
    found = asyncio.run(_loop(gate, closer, seconds))
    ledger.close()
    answer.send(found)


async def _loop(gate: BudgetGate, closer: Closer, seconds: float) -> tuple[list[float], int]:
    lags: list[float] = []
    made = 0

    async def tick() -> None:
        for _ in _until(seconds):
            due = time.monotonic() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            lags.append(max(0.0, time.monotonic() - due))

    async def work() -> None:
        nonlocal made
        for _ in _until(seconds):
            call = _call()
            decision = await gate.authorize_async(call)
            assert decision.denial is None, decision.denial
            await asyncio.sleep(CALL_SECONDS)
            await closer.close_async(
                Closing(call, decision, Usage(status="reported"), Outcome(status="ok"))
            )
            made += 1

    await asyncio.gather(tick(), *(work() for _ in range(TASKS)))
    return lags, made


def _spin(seconds: float) -> None:
    """Use the CPU for so long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def _until(seconds: float) -> Iterator[None]:
    """Go round until the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
