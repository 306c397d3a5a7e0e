"""Money that leases keep from being spent, and how often they ask: simulated in virtual time.

Eight processes with the real lease code borrow from the real authority in memory, by a clock that
the simulation sets. They make calls like those of language models until the budget is used up.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import mean
from typing import Final

import msgspec

from benchmarks.budgets.figures import Kind, Stranding
from tollspan.budget import (
    Account,
    GivenBack,
    Grant,
    Hold,
    Lease,
    LeasedLedger,
    LeaseSettings,
    MemoryAuthority,
    MemoryLedger,
    Refusal,
    Settlement,
    Want,
    escrow,
    leases,
)
from tollspan.usage import (
    Attribution,
    Call,
    Charge,
    Cost,
    DecisionNote,
    Outcome,
    Request,
    UsageEvent,
)

PROCESSES: Final = 8
RATES: Final = (0.2, 2.0, 20.0)
"""Calls a second of each process."""
USUAL_RATE: Final = 2.0
RUNS: Final = 20
MEAN_SECONDS: Final = 3.0
_TICK_SECONDS: Final = 1.0
_SETTLE_SECONDS: Final = 0.1
_AFTER_SECONDS: Final = 30.0
LIMIT_IN_BOUNDS: Final = 1_000
WIDE: Final = 5_000
"""A limit, in mean bounds, that leaves room for grants of more than a few calls."""
WIDE_RATE: Final = 20.0
WIDE_RUNS: Final = 3
MEAN_BOUND: Final = 1_000_000
_NO_MAXIMUM: Final = 20
USED: Final = ((0.1, 0.9), (0.02, 0.08))
DEFAULTS: Final = "the defaults"
_TRIED: Final[tuple[tuple[str, str, tuple[float, ...]], ...]] = (
    ("first", "first", (1, 2, 8, 16, 64)),
    ("most", "most", (16, 64, 1024)),
    ("hurry", "hurry_seconds", (0.1, 0.25, 1.0, 2.0)),
    ("idle", "idle_seconds", (1.0, 2.0, 5.0, 20.0, 30.0, 60.0)),
    ("renew", "renew_share", (0.0, 0.125, 0.5)),
    ("life", "life_seconds", (10.0, 20.0, 60.0, 120.0)),
    ("drift", "drift_seconds", (0.25, 0.5, 2.0, 4.0)),
    ("horizon", "horizon_seconds", (3_600.0, 604_800.0)),
)
SHARES: Final = (("room", (4, 8, 32, 64)), ("limit", (64, 128, 512, 1024)))
"""`ROOM_SHARE` and `LIMIT_SHARE`, which are no settings."""
IDLES: Final = (
    ("idle=2", LeaseSettings(idle_seconds=2.0)),
    (DEFAULTS, LeaseSettings()),
)
"""What is tried at every rate."""
KINDS: Final[tuple[Kind, ...]] = ("maximum given", "no maximum")
"""Whether calls have a maximum of output. Without one the model's own is held, 20 times as much."""


def drawn(chance: random.Random, factor: int, used: tuple[float, float]) -> tuple[int, int]:
    """Return the bound of a call, and what it costs."""
    size = chance.lognormvariate(-0.32, 0.8)  # of mean 1
    bound = max(1, int(MEAN_BOUND * factor * size))
    return bound, max(1, int(bound * chance.uniform(*used)))


class _Counted(MemoryAuthority):
    """Counts what it is asked by holders: each is a round trip."""

    asked = 0

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        self.asked += 1
        return super().grant(lease, wants)

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None:
        self.asked += 1
        return super().give_back(lease, parts)


class _Books(MemoryLedger):
    """Keeps what events settle until it is settled."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Settlement] = []

    def post(self, event: UsageEvent, hold: Hold | None) -> None:
        """Keep what an event settles."""
        self.waiting.append(
            Settlement(call_id=event.call.id, lease_id=event.lease_id, charges=event.charges)
        )


class _World:
    """One run: processes, their calls, and the clock."""

    def __init__(
        self, settings: LeaseSettings, kind: Kind, rate: float, seed: int, limit: int
    ) -> None:
        self.now = 1_000.0
        self._chance = random.Random(seed)
        self._rate = rate
        self._factor = 1 if kind == "maximum given" else _NO_MAXIMUM
        self._used = USED[KINDS.index(kind)]
        self.limit = limit * MEAN_BOUND
        self.account = Account(budget_id="org", scope="", period="2026-11", limit=self.limit)
        self._authority = _Counted(settings, clock=lambda: int(self.now * 1e9))
        self._authority.open_epoch()
        self._books = _Books()
        self._processes = [self._process(settings, f"p{one}") for one in range(PROCESSES)]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._spent = self._in_flight = self._held = 0
        self.calls = self.denials = 0
        self.first: tuple[float, float, float] | None = None
        self._kept: list[float] = []

    def _process(self, settings: LeaseSettings, name: str) -> LeasedLedger:
        return LeasedLedger(
            self._authority,
            self._books,
            holder=lambda: name,
            settings=settings,
            clock=lambda: self.now,
            run_soon=lambda errand: self._at(0.0, errand),
        )

    def _at(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), what))

    def run(self) -> None:
        """Live until nobody could spend for a while."""
        for one in self._processes:
            self._at(self._chance.expovariate(self._rate), partial(self._call, one))
            self._at(self._chance.random(), partial(self._tick, one))
        self._at(_SETTLE_SECONDS, self._settle)
        ends_at = float("inf")
        while self._events and self.now < ends_at:
            self.now, _, what = heapq.heappop(self._events)
            what()
            if self.first is not None and ends_at == float("inf"):
                ends_at = self.now + _AFTER_SECONDS

    def _call(self, process: LeasedLedger) -> None:
        number = next(self._numbers)
        bound, cost = drawn(self._chance, self._factor, self._used)
        hold = Hold(call_id=f"{number:032x}", started_at_unix_ns=0, legs=((self.account, bound),))
        if process.hold(hold) is None:
            self.calls += 1
            self._in_flight += cost
            self._held += bound
            lasts = self._chance.expovariate(1 / MEAN_SECONDS)
            self._at(lasts, lambda: self._end(process, hold, bound, cost))
        elif self._spent + self._held + bound <= self.limit or self.denials == 0:
            self._deny()
        self._at(self._chance.expovariate(self._rate), lambda: self._call(process))

    def _deny(self) -> None:
        self.denials += 1
        if self.first is None:
            leased = (self.limit - self._spent - self._held) / self.limit
            denied = (self._held - self._in_flight) / self.limit
            self.first = leased, denied, 1_000 * self._authority.asked / max(1, self.calls)

    def _end(self, process: LeasedLedger, hold: Hold, bound: int, cost: int) -> None:
        self._spent += cost
        self._in_flight -= cost
        self._held -= bound
        process.post(event_of(hold, self.account, cost), hold)

    def _tick(self, process: LeasedLedger) -> None:
        if 0.25 <= self._spent / self.limit <= 0.5:
            (balance,) = self._authority.balances([self.account])
            unsettled = sum(one.charges[0].posted for one in self._books.waiting)
            kept = balance.held - self._held - unsettled
            self._kept.append(kept / PROCESSES / self.limit)
        process.tick()
        self._at(_TICK_SECONDS, lambda: self._tick(process))

    def _settle(self) -> None:
        waiting, self._books.waiting = self._books.waiting, []
        self._authority.settle(waiting)
        self._at(_SETTLE_SECONDS, self._settle)

    @property
    def killed(self) -> float:
        """What the lease of one process has beyond its calls, as a share of the limit.

        In the mean, while a quarter to a half of the limit is spent.
        """
        return mean(self._kept)

    @property
    def left(self) -> float:
        """What is neither spent nor will be by calls in flight, as a share of the limit."""
        return (self.limit - self._spent - self._in_flight) / self.limit


def event_of(hold: Hold, account: Account, cost: int) -> UsageEvent:
    request = Request(provider="openai", operation="chat", model="gpt-4o-mini")
    return UsageEvent(
        call=Call(
            id=hold.call_id,
            started_at_unix_ns=hold.started_at_unix_ns,
            request=request,
            attribution=Attribution(),
        ),
        decision=DecisionNote(),
        outcome=Outcome(status="ok"),
        usage=None,
        cost=Cost(status="priced", amount_nanousd=cost),
        charges=(Charge(budget_id=account.budget_id, period=account.period, posted=cost),),
    )


def variants() -> Iterator[tuple[str, LeaseSettings]]:
    """Name the settings that are tried: the defaults, and others in one number each."""
    defaults = LeaseSettings()
    yield DEFAULTS, defaults
    for word, field, values in _TRIED:
        for value in values:
            yield f"{word}={value:g}", msgspec.structs.replace(defaults, **{field: value})
    for word, shares in SHARES:
        for share in shares:
            yield f"{word}=1/{share}", defaults
    yield "each call by itself", msgspec.structs.replace(defaults, first=1, most=1)


@contextmanager
def _shares_of(name: str) -> Generator[None]:
    """Give the constants of leases the value that a variant is named by."""
    word, _, share = name.partition("=1/")
    module, constant = {
        "room": (leases, "ROOM_SHARE"),
        "limit": (escrow, "LIMIT_SHARE"),
    }.get(word, (leases, "ROOM_SHARE"))
    was = getattr(module, constant)
    setattr(module, constant, int(share or was))
    try:
        yield
    finally:
        setattr(module, constant, was)


def simulate(
    name: str,
    settings: LeaseSettings,
    kind: Kind,
    *,
    rate: float,
    runs: int,
    limit: int = LIMIT_IN_BOUNDS,
) -> Stranding:
    """Live through some runs, and return their means; the limit is in mean bounds."""
    worlds = [_World(settings, kind, rate, seed, limit) for seed in range(runs)]
    with _shares_of(name):
        for world in worlds:
            world.run()
    firsts = [world.first for world in worlds if world.first is not None]
    assert len(firsts) == runs, "nobody was ever denied"
    return Stranding(
        name=name,
        kind=kind,
        rate=rate,
        limit=limit,
        runs=runs,
        leased=mean(one[0] for one in firsts),
        held=mean(one[1] for one in firsts),
        asked=mean(one[2] for one in firsts),
        left=mean(world.left for world in worlds),
        killed=mean(world.killed for world in worlds),
    )


def measure(*, is_quick: bool) -> list[Stranding]:
    """Try settings, kinds of calls, and rates."""
    runs = 1 if is_quick else RUNS
    found = [
        simulate(name, settings, KINDS[0], rate=USUAL_RATE, runs=runs)
        for name, settings in variants()
    ]
    found += [
        simulate(name, settings, kind, rate=rate, runs=runs)
        for rate in RATES
        for kind in KINDS
        for name, settings in IDLES
        if (rate, kind) != (USUAL_RATE, KINDS[0])
    ]
    if is_quick:
        return found
    return found + [
        simulate(name, settings, KINDS[0], rate=WIDE_RATE, runs=WIDE_RUNS, limit=WIDE)
        for name, settings in variants()
    ]
