"""A process that makes calls: it asks before each, and stores an event after it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

import msgspec

from tests.contract.ledger.making import charge, event
from tests.simulation.auditor import Auditor
from tests.simulation.jobs import Jobs
from tests.simulation.link import Link
from tests.simulation.plan import Plan
from tests.simulation.rules import Rules
from tests.simulation.store import Store
from tests.simulation.world import Changed, Clock, Killed, World
from tollspan.budget import Busy, Hold, Lease, LeasedLedger, Refusal
from tollspan.usage import LedgerError


class Doing(msgspec.Struct):
    """A call that the provider works on, and what it costs in each account."""

    hold: Hold
    lease: Lease
    costs: list[int]


class Admissions(dict[str, Any]):
    """The calls in flight of an escrow, each told of when it is let through."""

    def __init__(self, is_admitted: Callable[[str, Lease], None]) -> None:
        super().__init__()
        self._is_admitted = is_admitted

    def __setitem__(self, call_id: str, opened: Any) -> None:
        super().__setitem__(call_id, opened)
        self._is_admitted(call_id, opened.lease)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {call_id: copy.deepcopy(opened, memo) for call_id, opened in self.items()}


class Process:
    """One process of a host.

    Args:
        world, plan, auditor, store, link: What it lives in.
        name: That no other process has.
        rules: The limits that it has read last.
        clock: Its own.
    """

    def __init__(
        self,
        world: World,
        plan: Plan,
        auditor: Auditor,
        store: Store,
        rules: Rules,
        *,
        name: str,
        clock: Clock,
    ) -> None:
        self._world = world
        self.plan = plan
        self._auditor = auditor
        self.store = store
        self.rules = rules
        self.name = name
        self.clock = clock
        self.is_alive = True
        self.is_ending = self.is_leaving = False
        self.doing: dict[str, Doing] = {}
        self._awaited: dict[str, Future[Refusal | None]] = {}
        self._made = self._asks = 0
        self.link = Link(
            world,
            auditor,
            lambda: self.is_alive,
            loss=plan.loss,
            slow=plan.slow,
            wait_seconds=plan.settings.wait_seconds,
        )
        self.ledger = LeasedLedger(
            self.link,
            store,
            holder=self.holder,
            settings=plan.settings,
            clock=clock,
            run_soon=self._soon,
        )
        self._jobs = Jobs(world, auditor, self.ledger)
        self._begin()

    def holder(self) -> str:
        """Name the process."""
        return self.name

    def _begin(self) -> None:
        self._watch()
        chance = self._world.chance
        self._world.at(chance.uniform(0, 0.5), self._call)
        self._world.at(chance.uniform(0, 0.5), self._tick)

    def _watch(self) -> None:
        """Have the ledger wait in this world's time, and see each call at its very admission."""
        self.ledger._changed = Changed(self._world, self.ledger._lock)
        self.ledger._escrow._open = Admissions(self._auditor.is_admitted)

    def _soon(self, errand: Callable[[], None]) -> None:
        self._asks += 1
        self._world.at(
            self._world.chance.uniform(0, 0.02), partial(self._run, partial(self._errand, errand))
        )

    def _errand(self, errand: Callable[[], None]) -> None:
        """Run what `leave` waits for."""
        try:
            errand()
        finally:
            self._asks -= 1

    def _run(self, work: Callable[[], None]) -> None:
        """Do some work in this process, unless it is dead or dies of it."""
        if self.is_alive:
            with contextlib.suppress(Killed):
                work()

    # -- calls --

    def _call(self) -> None:
        if self.is_ending or not self.is_alive:
            return
        self._world.at(self._world.chance.expovariate(4), self._call)
        self._made += 1
        hold = self.rules.hold(self._world, f"{self.name}.c{self._made}")
        self._run(partial(self._ask, hold))

    def _ask(self, hold: Hold) -> None:
        self._asks += 1
        self._errand(partial(self._ask_for, hold))

    def _ask_for(self, hold: Hold) -> None:
        way = self._world.chance.choice(["hold", "hold", "hold_now", "hold_soon"])
        self._world.happens("%s asks for %s: %s %s", self.name, hold.call_id, way, _brief(hold))
        try:
            if way == "hold_soon":
                future = self.ledger.hold_soon(hold)
                self._awaited[hold.call_id] = future
                self._world.at(self._world.chance.uniform(0.01, 0.5), partial(self._hear, hold))
                return
            answer = self.ledger.hold(hold) if way == "hold" else self.ledger.hold_now(hold)
        except LedgerError:
            return  # the rule is to deny
        if isinstance(answer, Busy):
            self._world.at(0.02, partial(self._run, partial(self._ask, hold)))
        elif _is_held(answer):
            self._do(hold)

    def _hear(self, hold: Hold) -> None:
        """Go on when the answer is there; else, or at a whim, let it be."""
        future = self._awaited.pop(hold.call_id, None)
        if not self.is_alive or future is None:
            return
        if not future.done() or self._world.is_likely(0.1):
            self._let_be(hold.call_id, future)
        elif future.exception() is None and _is_held(future.result()):
            self._do(hold)

    def _let_be(self, call_id: str, future: Future[Refusal | None]) -> None:
        future.cancel()
        self.ledger.release_soon(call_id)

    def _do(self, hold: Hold) -> None:
        """Have the provider work on a call: from now on it costs what it costs."""
        chance = self._world.chance
        if self._world.is_likely(0.05):
            self.ledger.release_soon(hold.call_id)  # it is never made
            return
        share = chance.choice([0.0, chance.random(), chance.random(), 1.0])
        if self._world.is_likely(self.plan.overruns):
            share = 1.0 + chance.random()
        costs = [int(amount * share) for _, amount in hold.legs]
        for (account, amount), cost in zip(hold.legs, costs, strict=True):
            key = (account.budget_id, account.scope, account.period, account.unit)
            self._auditor.beyond[key] += max(0, cost - amount)
            self._auditor.spent[key] += cost
        lease = self.ledger._escrow._open[hold.call_id].lease
        self.doing[hold.call_id] = Doing(hold, lease, costs)
        seconds = chance.choice([0.0, chance.uniform(0, 1), chance.uniform(0, 8)])
        self._world.at(seconds, partial(self._run, partial(self.finish, hold.call_id)))

    def finish(self, call_id: str) -> None:
        """Store what a call cost; where the answer was cut off, what it may have cost too."""
        done = self.doing.pop(call_id, None)
        if done is None:
            return
        if self._world.is_likely(self.plan.jobs) and self._jobs.is_kept(done.hold, done.costs):
            return
        is_cut_off = self._world.is_likely(0.05)
        charges = [
            charge(account, posted=cost, unresolved=max(0, amount - cost) if is_cut_off else 0)
            for (account, amount), cost in zip(done.hold.legs, done.costs, strict=True)
        ]
        made = event(call_id, *charges)
        way = self._world.chance.choice(["post", "post_now", "post_soon"])
        self._world.happens("%s finishes %s: %s", self.name, call_id, done.costs)
        try:
            if way == "post":
                self.ledger.post(made, done.hold)
            elif way == "post_now":
                self.ledger.post_now(made, done.hold)
            else:
                self.ledger.post_soon(made, done.hold)
        except LedgerError:
            self.ledger.rescue(made, done.hold)

    # -- life --

    def _tick(self) -> None:
        if self.is_alive:
            late = 0.3 if self.plan.is_calm else 2.0 if self._world.is_likely(0.02) else 0.6
            self._world.at(self._world.chance.uniform(0.1, late), self._tick)
            self._run(self.ledger.tick)
            if self._world.is_likely(0.5):
                self._run(partial(self.store.tell, self.link, most=8))

    def see_end(self, call_id: str) -> None:
        """Ask the provider about a job, whoever of the host has begun it."""
        self._run(partial(self._jobs.see_end, call_id))

    def die(self) -> None:
        """End at once: what was in flight is only known to the provider."""
        self._world.happens("%s is killed", self.name)
        self.is_alive = False
        self._auditor.holders.remove(self)
        for done in self.doing.values():
            for (account, amount), cost in zip(done.hold.legs, done.costs, strict=True):
                key = (account.budget_id, account.scope, account.period, account.unit)
                self._auditor.killed[done.lease.id, key] += min(amount, cost)
        self.doing.clear()

    def leave(self) -> None:
        """End in good order: calls first, then their events, then what is left."""
        self.is_ending = self.is_leaving = True
        while self._awaited:
            self._let_be(*self._awaited.popitem())
        for call_id in list(self.doing):
            self.finish(call_id)
        if self._asks or self.ledger._is_sending:  # its threads wait for answers
            self._world.at(0.1, partial(self._run, self.leave))
            return
        self.ledger.close()
        if not self.is_alive:
            return
        self._world.happens("%s has ended", self.name)
        self.is_alive = False
        self._auditor.holders.remove(self)

    def is_at_work(self) -> bool:
        """Say whether it has calls in flight, or a lease from which it may make some."""
        escrow = self.ledger._escrow
        is_leased = escrow.lease is not None and escrow.lease.epoch is not None
        return bool(escrow._open) or (is_leased and self.clock() < escrow.ends_at)

    def fork(self, name: str, clock: Clock) -> Process:
        """Make a child as the system does: with a copy of all that this process has in memory."""
        self._world.happens("%s forks %s", self.name, name)
        child = Process(
            self._world, self.plan, self._auditor, self.store, self.rules, name=name, clock=clock
        )
        mine, its = self.ledger._escrow, child.ledger._escrow
        same: dict[int, object] = {id(mine._holder): its._holder, id(mine._clock): its._clock}
        child.ledger._escrow = copy.deepcopy(mine, same)
        child.ledger._unsent = list(self.ledger._unsent)
        child.ledger.forget()
        child._watch()
        return child


def _is_held(answer: Refusal | Busy | None) -> bool:
    return answer is None or (isinstance(answer, Refusal) and answer.is_held)


def _brief(hold: Hold) -> list[tuple[str, int, int]]:
    return [(account.budget_id, account.limit, amount) for account, amount in hold.legs]
