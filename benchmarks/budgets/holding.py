"""Match and hold at every place: with more budgets touched, and with more threads."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack
from itertools import islice

from benchmarks.budgets.figures import Holding
from benchmarks.budgets.places import NAMES, Place, opened
from benchmarks.budgets.servers import Servers
from benchmarks.budgets.timing import Caller, Samples
from benchmarks.ledgers import calls, rule_set
from tollspan.pricing import PriceBook

TOUCHED = (1, 5, 20)
THREADS = (1, 8, 64)
USUAL = 5
CONTROL = "control: spin 20 µs"
CALLS_A_SECOND = 400
"""Of all threads together, so that more threads are no more work."""
_SPIN_NS = 20_000


def measure(servers: Servers, *, is_quick: bool) -> list[Holding]:
    """Measure every place."""
    book = PriceBook.load()
    found: list[Holding] = []
    for name in NAMES:
        with opened(name, servers) as place:
            found += _touching(place, book, is_quick=is_quick)
            found += _in_threads(place, book, is_quick=is_quick)
    return found + _control(is_quick=is_quick)


def _touching(place: Place, book: PriceBook, *, is_quick: bool) -> list[Holding]:
    """Measure each number of budgets in turn, over and over."""
    callers = [(touched, Caller(place, rule_set(touched), book)) for touched in TOUCHED]
    some = calls()
    steps = 20 if is_quick else 400
    for number in range(2 if is_quick else 8):
        for _, caller in callers:
            caller.round(islice(some, steps), is_counted=number > 0)
    return [
        Holding(
            place=place.name,
            touched=touched,
            threads=0,
            hold=caller.held.spot(),
            close=caller.closed.spot(),
        )
        for touched, caller in callers
    ]


def _in_threads(place: Place, book: PriceBook, *, is_quick: bool) -> list[Holding]:
    caller = Caller(place, rule_set(USUAL), book)
    found: list[Holding] = []
    for threads in THREADS:
        held, closed = Samples(), Samples()
        for _ in range(1 if is_quick else 2):
            ones, others = _Paced(caller, threads, 0.2 if is_quick else 2.0).run()
            held.add(ones)
            closed.add(others)
        found.append(
            Holding(
                place=place.name,
                touched=USUAL,
                threads=threads,
                hold=held.spot(),
                close=closed.spot(),
            )
        )
    return found


def _control(*, is_quick: bool) -> list[Holding]:
    """Show what so many threads do to a step that waits for nobody."""
    found: list[Holding] = []
    for threads in THREADS:
        held = Samples()
        held.add(_Paced(None, threads, 0.2 if is_quick else 2.0).run()[0])
        found.append(Holding(place=CONTROL, touched=0, threads=threads, hold=held.spot()))
    return found


class _Paced:
    """Threads that call now and then, at a common rate, whatever each step takes.

    Args:
        caller: Makes the calls; None for a spin in their place.
        threads: How many.
        seconds: How long.
    """

    def __init__(self, caller: Caller | None, threads: int, seconds: float) -> None:
        self._caller = caller
        self._threads = threads
        self._seconds = seconds
        self._held: list[int] = []
        self._closed: list[int] = []

    def run(self) -> tuple[list[int], list[int]]:
        """Return the durations of both steps in ns, over all threads."""
        barrier = threading.Barrier(self._threads)
        with ExitStack() as stack:
            for number in range(self._threads):
                thread = threading.Thread(target=self._work, args=(number, barrier))
                stack.callback(thread.join)
                thread.start()
        return self._held, self._closed

    def _work(self, number: int, barrier: threading.Barrier) -> None:
        chance = random.Random(number)
        rest = self._threads / CALLS_A_SECOND
        some = calls()
        barrier.wait()
        due = time.monotonic() + chance.uniform(0, rest)
        ends_at = time.monotonic() + self._seconds
        while due < ends_at:
            time.sleep(max(0.0, due - time.monotonic()))
            held, closed = self._caller.step(next(some)) if self._caller else (_spin(), 0)
            self._held.append(held)
            self._closed.append(closed)
            due += rest * chance.uniform(0.5, 1.5)


def _spin() -> int:
    """Use CPU time, whoever else wants it; return how long that took."""
    start = time.perf_counter_ns()
    until = time.thread_time_ns() + _SPIN_NS
    while time.thread_time_ns() < until:
        pass
    return time.perf_counter_ns() - start
