"""Money that leases keep, and questions, with real processes in real time: beside the simulation.

Each process makes calls like the simulated ones: it borrows from a real authority, waits as long as
its calls last, and stores their events in its host's ledger.
"""

from __future__ import annotations

import heapq
import multiprocessing
import random
import secrets
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from typing import Final, Protocol

import msgspec

from benchmarks.budgets.figures import Stranding
from benchmarks.budgets.places import REDIS, SQLITE_LEASES
from benchmarks.budgets.servers import Servers
from benchmarks.budgets.stranding import (
    DEFAULTS,
    KINDS,
    MEAN_BOUND,
    MEAN_SECONDS,
    PROCESSES,
    RUNS,
    USED,
    USUAL_RATE,
    drawn,
    event_of,
    simulate,
)
from tollspan.budget import (
    Account,
    GivenBack,
    Grant,
    Hold,
    Lease,
    LeasedLedger,
    LeaseSettings,
    Refusal,
    Want,
)
from tollspan.exporter import SettlingBooks
from tollspan.ledger import RedisAuthority, SQLiteLedger, name_of, open_authority
from tollspan.usage import new_call_id

LIMIT: Final = 500
"""In mean bounds: half of the simulation's, so that a run takes a minute."""
PLACES: Final = (SQLITE_LEASES, REDIS)
_RUNS: Final = 3
_LONGEST_SECONDS: Final = 150.0
_TICK_SECONDS: Final = 1.0
_SETTINGS: Final = LeaseSettings(wait_seconds=5)


class _Asked(msgspec.Struct, kw_only=True, frozen=True):
    """What a process is to do.

    Attributes:
        home: Its host's folder; all of them are on one.
        url: The shared authority's; empty for the file.
        seed: Of its calls.
        limit: In mean bounds.
        rate: Calls a second.
    """

    home: str
    url: str
    seed: int
    limit: int
    rate: float


class _Flag(Protocol):
    """What all of them see when it is set."""

    def is_set(self) -> bool: ...

    def set(self) -> None: ...


class _Step(msgspec.Struct, frozen=True):
    """What a process did, by the clock that all of a machine share.

    Attributes:
        at: Monotonic seconds.
        held: What was held more, in nano-USD; less than 0 at the end of a call.
        cost: What calls in flight will have cost more; less than 0 at the end of a call.
        spent: What was spent.
        calls, asked, denied: How many calls were let through, questions asked, calls denied.
    """

    at: float
    held: int = 0
    cost: int = 0
    spent: int = 0
    calls: int = 0
    asked: int = 0
    denied: int = 0


def measure(servers: Servers, *, is_quick: bool) -> list[Stranding]:
    """Run real processes at each place, and the simulation at the same limit before them."""
    if is_quick:
        return [_real(SQLITE_LEASES, servers, runs=1, limit=5)]
    simulated = simulate(
        DEFAULTS, LeaseSettings(), KINDS[0], rate=USUAL_RATE, runs=RUNS, limit=LIMIT
    )
    return [
        msgspec.structs.replace(simulated, name="simulated"),
        *(_real(place, servers, runs=_RUNS, limit=LIMIT) for place in PLACES),
    ]


def _real(place: str, servers: Servers, *, runs: int, limit: int) -> Stranding:
    found: list[tuple[float, float, float]] = []
    for run in range(runs):
        with TemporaryDirectory() as home:
            url = servers.redis() if place == REDIS else ""
            found.append(_first_denial(_run(home, url, run, limit), limit * MEAN_BOUND))
    return Stranding(
        name=place,
        kind=KINDS[0],
        rate=USUAL_RATE,
        limit=limit,
        runs=runs,
        leased=sum(one[0] for one in found) / runs,
        held=sum(one[1] for one in found) / runs,
        asked=sum(one[2] for one in found) / runs,
        left=None,
        killed=None,
    )


def _run(home: str, url: str, run: int, limit: int) -> list[_Step]:
    """Have the processes live until each was denied; return all that they did, in order."""
    if url:
        shared = open_authority(url, _SETTINGS)
        shared.open_epoch()
        shared.close()
    context = multiprocessing.get_context("spawn")
    shared_by_all = (context.Barrier(PROCESSES), context.Event())
    asked = [
        _Asked(home=home, url=url, seed=100 * run + one, limit=limit, rate=USUAL_RATE)
        for one in range(PROCESSES)
    ]
    with ProcessPoolExecutor(
        PROCESSES, context, initializer=_meet, initargs=shared_by_all
    ) as processes:
        found = [step for steps in processes.map(_work, asked) for step in steps]
    return sorted(found, key=lambda one: one.at)


def _first_denial(steps: Sequence[_Step], limit: int) -> tuple[float, float, float]:
    """Return what was kept by leases and held beyond cost, as shares, and questions by then."""
    held = cost = spent = calls = asked = 0
    for step in steps:
        held += step.held
        cost += step.cost
        spent += step.spent
        calls += step.calls
        asked += step.asked
        if step.denied:
            return (
                (limit - spent - held) / limit,
                (held - cost) / limit,
                1_000 * asked / max(1, calls),
            )
    raise AssertionError("nobody was ever denied")


class _Worker:
    """One process: makes calls, waits as long as they last, and notes what it did.

    Args:
        asked: What to do.
        leased: What it asks before each call, and tells after it.
        counted: What that borrows from.
    """

    def __init__(
        self, asked: _Asked, leased: LeasedLedger, counted: _CountedFile | _CountedRedis
    ) -> None:
        self.steps: list[_Step] = []
        self._asked = asked
        self._leased = leased
        self._counted = counted
        self._chance = random.Random(asked.seed)
        limit = asked.limit * MEAN_BOUND
        self._account = Account(budget_id="org", scope="", period="", limit=limit)
        self._told = 0
        self._ends: list[tuple[float, str, Hold, int, int]] = []

    def live(self, is_over: _Flag) -> None:
        """Make calls until somebody was denied one."""
        last = time.monotonic() + _LONGEST_SECONDS
        call_at = tick_at = time.monotonic()
        while not is_over.is_set() and (now := time.monotonic()) < last:
            if tick_at <= now:
                self._leased.tick()
                tick_at = now + _TICK_SECONDS
            while self._ends and self._ends[0][0] <= now:
                self._end(*heapq.heappop(self._ends)[2:])
            if call_at <= now:
                call_at = now + self._chance.expovariate(self._asked.rate)
                if not self._begin(now):
                    is_over.set()
            ends_at = self._ends[0][0] if self._ends else tick_at
            time.sleep(max(0.0, min(call_at, tick_at, ends_at) - time.monotonic()))

    def _begin(self, now: float) -> bool:
        """Ask for a call, and let it begin; False where it was denied."""
        bound, cost = drawn(self._chance, 1, USED[0])
        call_id = new_call_id(time.time_ns())
        hold = Hold(
            call_id=call_id, started_at_unix_ns=time.time_ns(), legs=((self._account, bound),)
        )
        if self._leased.hold(hold) is not None:
            self._note(denied=1)
            return False
        self._note(held=bound, cost=cost, calls=1)
        lasts = self._chance.expovariate(1 / MEAN_SECONDS)
        heapq.heappush(self._ends, (now + lasts, call_id, hold, bound, cost))
        return True

    def _end(self, hold: Hold, bound: int, cost: int) -> None:
        self._leased.post(event_of(hold, self._account, cost), hold)
        self._note(held=-bound, cost=-cost, spent=cost)

    def _note(
        self, *, held: int = 0, cost: int = 0, spent: int = 0, calls: int = 0, denied: int = 0
    ) -> None:
        asked, self._told = self._counted.asked - self._told, self._counted.asked
        self.steps.append(
            _Step(
                at=time.monotonic(),
                held=held,
                cost=cost,
                spent=spent,
                calls=calls,
                asked=asked,
                denied=denied,
            )
        )


_met: list[tuple[Barrier, _Flag]] = []
"""In a process: where all of them begin, and what says that they end."""


def _meet(barrier: Barrier, is_over: _Flag) -> None:
    _met.append((barrier, is_over))


def _work(asked: _Asked) -> list[_Step]:
    """Be one of the processes."""
    barrier, is_over = _met[-1]
    with _opened(asked) as (leased, counted):
        worker = _Worker(asked, leased, counted)
        barrier.wait(_LONGEST_SECONDS)
        worker.live(is_over)
    return worker.steps


class _CountedFile(SQLiteLedger):
    """Counts what it is asked."""

    asked = 0

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        self.asked += 1
        return super().grant(lease, wants)

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> None:
        self.asked += 1
        super().give_back(lease, parts)


class _CountedRedis(RedisAuthority):
    """Counts what it is asked."""

    asked = 0

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        self.asked += 1
        return super().grant(lease, wants)

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None:
        self.asked += 1
        return super().give_back(lease, parts)


@contextmanager
def _opened(asked: _Asked) -> Generator[tuple[LeasedLedger, _CountedFile | _CountedRedis]]:
    """Open what a process borrows from, and what counts its questions."""
    with ExitStack() as stack:
        file = _CountedFile(Path(asked.home), wait_seconds=5)
        stack.callback(file.close)
        if not asked.url:
            leased = LeasedLedger(file, file, file, holder=file.holder, settings=_SETTINGS)
            stack.callback(leased.close)
            yield leased, file
            return
        shared = _CountedRedis(asked.url, timeout_seconds=5)
        stack.callback(shared.close)
        settling = SettlingBooks(file, shared, name=name_of(asked.url))
        stack.callback(settling.close, 5.0)
        holder = partial(secrets.token_hex, 8)
        leased = LeasedLedger(shared, settling, holder=holder, settings=_SETTINGS)
        stack.callback(leased.close)
        yield leased, shared
