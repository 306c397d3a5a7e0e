"""Worlds of outages: processes that go on from slices of allowances, and a network that lies.

Every call here finds no authority, so that all that is let through comes from slices. Messages are
lost, come late and come twice; processes are cut off, killed, forked, and end well; leases expire,
horizons pass, clocks jump; allowances are lowered and raised.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from functools import partial

import msgspec

from tests.contract.authority.allowing import Away
from tests.contract.ledger.making import account, charge, event
from tests.simulation.link import Link
from tests.simulation.store import Store
from tests.simulation.world import NANO, NOON_UNIX_NS, Killed, LawBrokenError, World
from tollspan.budget import (
    Account,
    Allowance,
    AllowedLedger,
    Hold,
    LeaseSettings,
    MemoryAuthority,
)
from tollspan.usage import LedgerError, UsageEvent

_SHARES = (Decimal("0.02"), Decimal("0.05"), Decimal("0.1"))
_WAIT_SECONDS = 0.25


class OutagePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong in one world: chances of messages, and rates a second of the rest."""

    seconds: float
    loss: float
    slow: float
    cuts: float
    crashes: float
    forks: float
    changes: float
    jumps: float
    life_seconds: float
    horizon_seconds: float
    idle_seconds: float
    bound: int

    @property
    def is_calm(self) -> bool:
        """Nothing goes wrong, so that nothing may be left over."""
        return not (self.loss or self.slow or self.cuts or self.crashes or self.jumps)


class Holder:
    """A process on a host, whose calls find no authority."""

    def __init__(self, outages: Outages, name: str, store: Store) -> None:
        self.outages = outages
        self.name = name
        self.store = store
        self.is_alive = True
        self.is_leaving = False
        self.doing: dict[str, Hold] = {}
        self._numbers = itertools.count(1)
        plan, world = outages.plan, outages.world
        self.link = Link(
            world,
            outages.authority,
            lambda: self.is_alive,
            loss=plan.loss,
            slow=plan.slow,
            wait_seconds=_WAIT_SECONDS,
        )
        self.ledger = AllowedLedger(
            Away(),
            store,
            self.link,
            store,
            settle=self.link.settle,
            holder=lambda: f"{name}.{next(self._numbers)}",
            new_id=lambda: f"{name}.left.{next(self._numbers)}",
            idle_seconds=plan.idle_seconds,
            clock=lambda: world.now,
            run_soon=self._soon,
        )
        self.ledger.use(outages.allowance)
        self._again(world.chance.uniform(0, 0.5), self._call)
        self._again(world.chance.uniform(0, 0.5), self._tick)

    def fork(self, name: str) -> Holder:
        """Make a child as the system does: with all that this process has in memory."""
        child = Holder(self.outages, name, self.store)
        for field in ("_slices", "_unsent", "_unsettled", "_turn"):
            setattr(child.ledger, field, getattr(self.ledger, field))
        child.ledger.forget()
        return child

    @property
    def left(self) -> Counter[Account]:
        """What it could still let through, by the account with limit 0."""
        slices = self.ledger._slices._names.values()
        return Counter({nameless(one.account): one.left for one in slices})

    def die(self) -> None:
        """End at once: what was in flight is only known to the provider."""
        self.outages.world.happens("%s is killed", self.name)
        self.is_alive = False
        for hold in self.doing.values():
            self.outages.has_used(hold, [amount for _, amount in hold.legs])
        self.doing.clear()

    def leave(self) -> None:
        """End in good order: calls first, then what is left."""
        self.is_leaving = True
        for call_id in list(self.doing):
            self._finish(call_id)
        if self.ledger._turn.locked():  # its thread waits for an answer
            self.outages.world.at(0.1, partial(self._run, self.leave))
            return
        self.ledger.close()
        self.outages.world.happens("%s has ended", self.name)
        self.is_alive = False

    def _again(self, seconds: float, work: Callable[[], None]) -> None:
        self.outages.world.at(seconds, partial(self._run, work))

    def _soon(self, errand: Callable[[], None]) -> None:
        self._again(self.outages.world.chance.uniform(0, 0.02), errand)

    def _run(self, work: Callable[[], None]) -> None:
        if self.is_alive:
            with contextlib.suppress(Killed):
                work()

    def _tick(self) -> None:
        chance = self.outages.world.chance
        self._again(chance.uniform(0.2, 1.0), self._tick)
        self.ledger.tick()
        if chance.random() < 0.5:
            self.store.tell(self.link, most=8)

    def _call(self) -> None:
        world = self.outages.world
        if self.is_leaving:
            return
        self._again(world.chance.expovariate(3), self._call)
        hold = self.outages.a_hold(f"{self.name}.c{next(self._numbers)}")
        with contextlib.suppress(LedgerError):
            self.ledger.hold(hold)
        taken = self.ledger.take(hold)
        if taken is None:
            return
        world.happens("%s lets %s through: %s", self.name, hold.call_id, hold.legs[0][1])
        self.outages.admitted += 1
        if world.is_likely(0.05):
            self.ledger.release_soon(hold.call_id)  # it is never made
            return
        self.doing[hold.call_id] = taken
        seconds = world.chance.choice([0.0, 0.5, 6.0])
        self._again(seconds, partial(self._finish, hold.call_id))

    def _finish(self, call_id: str) -> None:
        hold = self.doing.pop(call_id, None)
        if hold is None:
            return
        chance = self.outages.world.chance
        share = chance.choice([0.0, chance.random(), 1.0])
        is_cut_off = chance.random() < 0.1
        used = [int(amount * share) for _, amount in hold.legs]
        charges = [
            charge(where, posted=cost, unresolved=amount - cost if is_cut_off else 0)
            for (where, amount), cost in zip(hold.legs, used, strict=True)
        ]
        self.outages.has_used(hold, [one.posted + one.unresolved for one in charges])
        done: UsageEvent = event(call_id, *charges)
        self.outages.world.happens("%s finishes %s: %s", self.name, call_id, used)
        if self.store.is_full:
            self.ledger.rescue(done, hold)
        else:
            self.ledger.post(done, hold)


class Outages:
    """One world of outages, from its seed to its end."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        chance = self.world.chance
        is_rough = chance.random() < 0.9
        self.plan = OutagePlan(
            seconds=chance.uniform(15, 40),
            loss=chance.choice([0.0, 0.02, 0.2]) if is_rough else 0.0,
            slow=chance.choice([0.0, 0.05]) if is_rough else 0.0,
            cuts=chance.choice([0.0, 0.1, 0.4]) if is_rough else 0.0,
            crashes=chance.choice([0.0, 0.1, 0.3]) if is_rough else 0.0,
            forks=chance.choice([0.0, 0.1]),
            changes=chance.choice([0.0, 0.1]),
            jumps=chance.choice([0.0, 0.1]) if is_rough else 0.0,
            life_seconds=chance.choice([2.0, 4.0]),
            horizon_seconds=chance.choice([5.0, 1_000.0]),
            idle_seconds=chance.choice([2.0, 600.0]),
            bound=chance.choice([1, 10, 1_000]),
        )
        self._jumped = 0.0
        self.authority = MemoryAuthority(
            LeaseSettings(
                life_seconds=self.plan.life_seconds,
                horizon_seconds=self.plan.horizon_seconds,
                drift_seconds=0.2,
            ),
            clock=lambda: NOON_UNIX_NS + int((self.world.now + self._jumped) * NANO),
            new_name=lambda at: f"{at:020d}",
        )
        limit = self.plan.bound * chance.choice([200, 2_000, 20_000])
        self.accounts = [account("org", limit=limit)] + [
            account(name, limit=limit // 2) for name in ("a", "b", "c")
        ]
        self.allowance = Allowance(share=chance.choice(_SHARES))
        self.highest: Counter[Account] = Counter()
        self.used: Counter[Account] = Counter()
        self.admitted = 0
        self.stores = [Store(self.world, lambda _: None) for _ in range(2)]
        self.holders: list[Holder] = []
        self._names = itertools.count(1)
        self._announce()

    def a_hold(self, call_id: str) -> Hold:
        """Ask for a new call, of the whole and of one of its parts."""
        chance = self.world.chance
        amount = chance.randint(0, 2 * self.plan.bound)
        org, *parts = self.accounts
        legs = tuple([(one, amount) for one in (org, *chance.sample(parts, chance.randint(0, 2)))])
        return Hold(call_id=call_id, started_at_unix_ns=NOON_UNIX_NS, legs=legs)

    def has_used(self, hold: Hold, used: list[int]) -> None:
        """Count what a call cost, or may have."""
        for (where, _), amount in zip(hold.legs, used, strict=True):
            self.used[nameless(where)] += amount

    def run(self) -> None:
        """Live to the end.

        Raises:
            LawBrokenError: A law did not hold.
        """
        plan, world = self.plan, self.world
        self.authority.open_epoch()
        world.after_each = self.check
        for _ in range(3):
            self._start(world.chance.choice(self.stores))
        for rate, fault in (
            (plan.cuts, self._cut),
            (plan.crashes, self._crash),
            (plan.forks, self._fork),
            (plan.changes, self._change),
            (plan.jumps, self._jump),
            (0.1, self._end_one),
            (1.0, self.authority.expire),
        ):
            if rate:
                self._again_and_again(rate, fault)
        world.wait(plan.seconds)
        self._end()

    def check(self) -> None:
        """Check what must hold after every step."""
        might: Counter[Account] = Counter(self.used)
        for one in self.living:
            might.update(one.left)
            for hold in one.doing.values():
                might.update(Counter({nameless(where): amount for where, amount in hold.legs}))
        for where, most in self.highest.items():
            (balance,) = self.authority.balances([where])
            if might[where] > most:
                raise LawBrokenError(f"{might[where]} of {most} may be spent in {where}")
            if balance.counted > most:
                raise LawBrokenError(f"{balance} is more than {most}")
            if might[where] > balance.counted:
                raise LawBrokenError(f"{might[where]} may be spent, but {balance} is counted")
            if min(balance.posted, balance.held, balance.unresolved) < 0:
                raise LawBrokenError(f"{balance} is less than nothing")

    @property
    def living(self) -> list[Holder]:
        """Return the processes that live."""
        return [one for one in self.holders if one.is_alive]

    # -- what goes wrong --

    def _again_and_again(self, rate: float, fault: Callable[[], object]) -> None:
        def happen() -> None:
            if self.world.now < self.plan.seconds:
                self.world.at(self.world.chance.expovariate(rate), happen)
                fault()

        self.world.at(self.world.chance.expovariate(rate), happen)

    def _start(self, store: Store) -> None:
        self.holders.append(Holder(self, f"p{next(self._names)}", store))

    def _someone(self) -> Holder | None:
        stayers = [one for one in self.living if not one.is_leaving]
        return self.world.chance.choice(stayers) if stayers else None

    def _cut(self) -> None:
        one = self._someone()
        if one is not None:
            way = self.world.chance.choice(["out", "in", "both"])
            self.world.happens("%s is cut off: %s", one.name, way)
            one.link.is_cut_out, one.link.is_cut_in = way != "in", way != "out"
            seconds = self.world.chance.choice([0.5, 3.0, 10.0])
            self.world.at(seconds, partial(_mend, one.link))

    def _crash(self) -> None:
        one = self._someone()
        if one is not None:
            one.die()
            self._start(one.store)

    def _end_one(self) -> None:
        one = self._someone()
        if one is not None:
            self._start(one.store)
            one._run(one.leave)

    def _fork(self) -> None:
        one = self._someone()
        if one is not None and len(self.living) < 6:
            self.world.happens("%s forks", one.name)
            self.holders.append(one.fork(f"p{next(self._names)}"))

    def _change(self) -> None:
        self.allowance = Allowance(share=self.world.chance.choice(_SHARES))
        self._announce()
        for one in self.living:
            self.world.at(self.world.chance.uniform(0, 2), partial(one.ledger.use, self.allowance))

    def _announce(self) -> None:
        for one in self.accounts:
            beside = self.allowance.beside(one)
            key = nameless(beside)
            self.highest[key] = max(self.highest[key], beside.limit)

    def _jump(self) -> None:
        self._jumped += self.world.chance.choice([-30.0, 1.0, 30.0])
        self.world.happens("the authority's clock jumps")

    # -- the end --

    def _end(self) -> None:
        """Let all end well, and check that the sums are those of the events."""
        for one in self.living:
            one.link.mend()
        self.world.wait(9.0)  # late messages
        for _ in range(200):
            for one in self.living:
                one._run(one.leave)
            for store in self.stores:
                everyone = Link(
                    self.world,
                    self.authority,
                    lambda: True,
                    loss=0.0,
                    slow=0.0,
                    wait_seconds=_WAIT_SECONDS,
                )
                store.tell(everyone, most=200)
            if not self.living and not any(store.unsettled for store in self.stores):
                break
            self.world.wait(1.0)
        else:
            raise LawBrokenError("it comes to no end")
        self.check()
        self._check_the_sums()

    def _check_the_sums(self) -> None:
        stored: Counter[Account] = Counter()
        for store in self.stores:
            for one in store.events.values():
                for each in one.charges:
                    where = account(each.budget_id, period=each.period, limit=0)
                    stored[where] += each.posted + each.unresolved
        for where in self.highest:
            (balance,) = self.authority.balances([where])
            if balance.counted < self.used[where]:
                raise LawBrokenError(f"{self.used[where]} were used, but {balance} is counted")
            if self.plan.is_calm and balance.counted != stored[where]:
                raise LawBrokenError(f"{balance} is left, of {stored[where]}")


def nameless(one: Account) -> Account:
    """Return an account as it is known whatever its limit."""
    return msgspec.structs.replace(one, limit=0)


def _mend(link: Link) -> None:
    link.is_cut_out = link.is_cut_in = False


def live_through(seed: int) -> Outages:
    """Live through the world of a seed.

    Raises:
        AssertionError: A law was broken; the text is the end of the trace.
    """
    outages = Outages(seed)
    try:
        outages.run()
    except Exception as error:
        world = outages.world
        raise AssertionError(
            f"seed {seed}, {world.now:.3f} s: {error!r}\n{world.told()}\n{outages.plan}"
        ) from error
    return outages
