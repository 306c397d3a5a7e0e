"""CPU time added to a call: the calling thread's by pairs, the whole process's by blocks."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable

import msgspec


class Spread(msgspec.Struct, kw_only=True):
    """The median of some rounds, with the lowest and the highest."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Sum up rounds."""
        return cls(median=statistics.median(values), lowest=min(values), highest=max(values))

    def __str__(self) -> str:
        return f"{self.median:,.0f} ({self.lowest:,.0f} to {self.highest:,.0f})"


class Cpu(msgspec.Struct, kw_only=True):
    """CPU time in µs a call.

    Attributes:
        bare_us: Of the calling thread, the bare client.
        added_us: What is added to it.
        added_process_us: What is added to the whole process, worker threads included.
    """

    bare_us: float
    added_us: Spread
    added_process_us: Spread | None = None

    @property
    def share(self) -> float:
        """What is added to the calling thread, as a share of the bare call."""
        return self.added_us.median / self.bare_us


def measure(
    bare: Callable[[], object],
    wrapped: Callable[[], object],
    *,
    rounds: int,
    pairs: int,
    flush: Callable[[], object],
) -> Cpu:
    """Alternate bare and wrapped calls; a round's value is the median difference of its pairs."""
    clock = time.thread_time_ns
    for _ in range(20):
        bare()
        wrapped()
    bases: list[float] = []
    added: list[float] = []
    for _ in range(rounds):
        bare_ns: list[int] = []
        differences: list[int] = []
        gc.collect()
        for pair in range(pairs):
            first, second = (bare, wrapped) if pair % 2 else (wrapped, bare)
            start = clock()
            first()
            middle = clock()
            second()
            end = clock()
            one, other = middle - start, end - middle
            bare_ns.append(one if pair % 2 else other)
            differences.append(other - one if pair % 2 else one - other)
        bases.append(statistics.median(bare_ns) / 1e3)
        added.append(statistics.median(differences) / 1e3)
        flush()
    return Cpu(
        bare_us=statistics.median(bases),
        added_us=Spread.of(added),
        added_process_us=_process(bare, wrapped, rounds=rounds, calls=pairs, flush=flush),
    )


def _process(
    bare: Callable[[], object],
    wrapped: Callable[[], object],
    *,
    rounds: int,
    calls: int,
    flush: Callable[[], object],
) -> Spread:
    """Alternate blocks of bare and wrapped calls, what they left to threads done at each end."""

    def block(call: Callable[[], object]) -> int:
        start = time.process_time_ns()
        for _ in range(calls):
            call()
        flush()
        return time.process_time_ns() - start

    values = []
    for _ in range(rounds):
        without = block(bare)
        values.append((block(wrapped) - without) / calls / 1e3)
    return Spread.of(values)


async def measure_async(
    bare: Callable[[], Awaitable[object]],
    wrapped: Callable[[], Awaitable[object]],
    *,
    rounds: int,
    pairs: int,
    flush: Callable[[], object],
) -> Cpu:
    """Do as `measure` does, for awaited calls; the calling thread is the event loop's."""
    clock = time.thread_time_ns
    for _ in range(20):
        await bare()
        await wrapped()
    bases: list[float] = []
    added: list[float] = []
    for _ in range(rounds):
        bare_ns: list[int] = []
        differences: list[int] = []
        gc.collect()
        for pair in range(pairs):
            first, second = (bare, wrapped) if pair % 2 else (wrapped, bare)
            start = clock()
            await first()
            middle = clock()
            await second()
            end = clock()
            one, other = middle - start, end - middle
            bare_ns.append(one if pair % 2 else other)
            differences.append(other - one if pair % 2 else one - other)
        bases.append(statistics.median(bare_ns) / 1e3)
        added.append(statistics.median(differences) / 1e3)
        flush()
    return Cpu(bare_us=statistics.median(bases), added_us=Spread.of(added))
