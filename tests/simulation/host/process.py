"""A process of a host: it asks the ledger before each call, and stores an event after it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Protocol

from tests.contract.ledger.making import charge, event
from tests.simulation.host.auditor import Auditor, Doing, key_of
from tests.simulation.host.ground import Actor, Disk, SimulatedLedger
from tests.simulation.host.jobs import Jobs
from tests.simulation.host.plan import Plan
from tests.simulation.process import Admissions
from tests.simulation.rules import Rules
from tests.simulation.world import Changed, Clock, Killed, World
from tollspan.budget import Busy, Hold, LeasedLedger, Refusal
from tollspan.usage import LedgerError, UsageEvent


class Wrongs(Protocol):
    """What may go wrong just before a statement."""

    def take_the_file(self) -> None:
        """Have the file for a while, as another program."""
        ...

    def crash(self, process: Process) -> None:
        """Kill a process, and start another."""
        ...

    def see_soon(self, call_id: str) -> None:
        """Have some process ask about a job."""
        ...


class Process:
    """One process.

    Args:
        world, plan, auditor, home, disk: What it lives in.
        running: Who runs just now, the innermost last.
        rules: The limits that it has read last.
        name: That no other process has.
        ledger: The one that it has from its parent; None to open its own.
    """

    def __init__(
        self,
        world: World,
        plan: Plan,
        auditor: Auditor,
        home: Path,
        disk: Disk,
        running: list[Actor],
        rules: Rules,
        *,
        name: str,
        ledger: SimulatedLedger | None = None,
    ) -> None:
        self._world, self._plan, self._auditor = world, plan, auditor
        self._home, self._disk, self._running = home, disk, running
        self.rules = rules
        self.name = name
        self.is_alive = True
        self._wrong: Wrongs | None = None
        self.is_ending = self.is_leaving = False
        self.doing: dict[str, Doing] = {}
        self._clock = Clock(world, rate=1.0)
        self._awaited: dict[str, Future[Refusal | None]] = {}
        self._made = self._asks = 0
        self._busy = 0
        self._is_in_a_step = False
        self.ledger = ledger or SimulatedLedger(home, world, self, auditor)
        self.leases = LeasedLedger(
            self.ledger,
            self.ledger,
            self.ledger,
            holder=self.ledger.holder,
            settings=plan.settings,
            clock=self._clock,
            run_soon=self._soon,
        )
        self._watch()
        self._decide()
        self.jobs = Jobs(world, auditor, lambda: self._door, self._ends_at_once)
        if plan.jobs:
            self.ledger.job_horizon_seconds = plan.job_horizon_seconds

    def begin(self, wrongs: Wrongs) -> None:
        """Open the ledger, make calls, and have things go wrong."""
        self.run(self.ledger.open)
        self._wrong = wrongs
        chance = self._world.chance
        self._world.at(chance.uniform(0, 0.5), self._call)
        self._world.at(chance.uniform(0, 0.5), self._tick)

    def _watch(self) -> None:
        """Have the leases wait in this world's time, and see each call at its very admission."""
        self.leases._changed = Changed(self._world, self.leases._lock)
        self.leases._escrow._open = Admissions(self._auditor.is_admitted)

    def _decide(self) -> None:
        """Decide by single holds or by leases, as a program's books do."""
        self._door: SimulatedLedger | LeasedLedger = self.ledger
        self.ledger.on_contention = None
        if self._plan.leases == "always":
            self._lease()
        elif self._plan.leases == "auto":
            self.ledger.on_contention = self._lease

    def _lease(self) -> None:
        self._door = self.leases

    # -- turns --

    def run(self, work: Callable[[], object]) -> None:
        """Do some work in this process, unless it is dead or dies of it.

        Between the statements of a step no other thread of it has its turn: it has the lock.
        """
        if not self.is_alive:
            return
        if self._is_in_a_step:
            self._world.at(0.002, partial(self.run, work))
            return
        self._running.append(self)
        self._busy += 1
        try:
            with contextlib.suppress(Killed):
                work()
        finally:
            self._busy -= 1
            self._running.pop()

    def interrupt(self, statement: str) -> None:
        """Give way to others before a statement, now and then; a full disk takes nothing.

        Raises:
            Killed: It was killed meanwhile.
            sqlite3.OperationalError: The disk is full.
        """
        if not self._is_in_a_step:
            self._is_in_a_step = True
            try:
                self._give_way()
            finally:
                self._is_in_a_step = False
            if not self.is_alive:
                raise Killed
        self._disk.take(statement)

    def _give_way(self) -> None:
        world, plan = self._world, self._plan
        if world.is_likely(plan.pauses):
            world.wait(world.chance.choice([0.0, 0.001, 0.02]))
        if self.is_alive and self._wrong is not None:
            if world.is_likely(plan.locks / 100):
                self._wrong.take_the_file()
            if world.is_likely(plan.crashes / 100):
                self._wrong.crash(self)

    def _soon(self, errand: Callable[[], None]) -> None:
        self._asks += 1
        work = partial(self.run, partial(self._errand, errand))
        self._world.at(self._world.chance.uniform(0, 0.02), work)

    def _errand(self, errand: Callable[[], None]) -> None:
        """Run what `leave` waits for; an error ends its thread's errand, as the guard has it."""
        try:
            with contextlib.suppress(LedgerError):
                errand()
        finally:
            self._asks -= 1

    # -- calls --

    def _call(self) -> None:
        if self.is_ending or not self.is_alive:
            return
        self._world.at(self._world.chance.expovariate(self._plan.rate), self._call)
        self._made += 1
        hold = self.rules.hold(self._world, f"{self.name}.c{self._made}")
        self.run(partial(self._ask, hold))

    def _ask(self, hold: Hold) -> None:
        self._asks += 1
        self._errand(partial(self._ask_for, hold))

    def _ask_for(self, hold: Hold) -> None:
        way = self._world.chance.choice(["hold", "hold", "hold_now", "hold_soon"])
        door = self._door
        self._world.happens("%s asks for %s: %s %s", self.name, hold.call_id, way, _brief(hold))
        if way == "hold_soon":
            future = door.hold_soon(hold)
            self._awaited[hold.call_id] = future
            hear = partial(self.run, partial(self._hear, hold, door))
            self._world.at(self._world.chance.uniform(0.01, 0.5), hear)
            return
        answer = door.hold(hold) if way == "hold" else door.hold_now(hold)
        if isinstance(answer, Busy):
            self._world.at(0.02, partial(self.run, partial(self._ask, hold)))
        else:
            self._go_on(hold, answer)

    def _hear(self, hold: Hold, door: SimulatedLedger | LeasedLedger) -> None:
        """Go on when the answer is there; else, or at a whim, let it be."""
        future = self._awaited.pop(hold.call_id, None)
        if future is None:
            return
        if not future.done() or self._world.is_likely(0.1):
            future.cancel()
            door.release_soon(hold.call_id)
        elif future.exception() is None:
            self._go_on(hold, future.result())

    def _go_on(self, hold: Hold, answer: Refusal | None) -> None:
        """Have the provider work on a call that is held: from now on it costs what it costs."""
        self._world.happens("  %s: %s", hold.call_id, "held" if _is_held(answer) else "refused")
        if not _is_held(answer):
            return
        chance = self._world.chance
        if self._world.is_likely(0.05):
            self._door.release_soon(hold.call_id)  # it is never made
            return
        share = chance.choice([0.0, chance.random(), chance.random(), 1.0])
        if self._world.is_likely(self._plan.overruns):
            share = 1.0 + chance.random()
        opened = self.leases._escrow._open.get(hold.call_id)
        lease_id = opened.lease.id if opened is not None else None
        doing = Doing(hold, lease_id, [int(amount * share) for _, amount in hold.legs])
        self.doing[hold.call_id] = doing
        self._auditor.is_made(doing)
        seconds = chance.choice([0.0, chance.uniform(0, 1), chance.uniform(0, 6)])
        self._world.at(seconds, partial(self.run, partial(self._finish, hold.call_id)))

    def _finish(self, call_id: str) -> None:
        """Store what a call cost; where the answer was cut off, what it may have cost too."""
        done = self.doing.get(call_id)
        if done is None or done.is_finishing:
            return
        done.is_finishing = True
        self._asks += 1
        try:
            if self._world.is_likely(self._plan.jobs) and self.jobs.is_kept(done):
                self.doing.pop(call_id)
                return
        finally:
            self._asks -= 1
        is_cut_off = self._world.is_likely(0.05)
        charges = [
            charge(account, posted=cost, unresolved=max(0, amount - cost) if is_cut_off else 0)
            for (account, amount), cost in zip(done.hold.legs, done.costs, strict=True)
        ]
        made = event(call_id, *charges)
        way = self._world.chance.choice(["post", "post_now", "post_soon"])
        self._world.happens("%s finishes %s: %s %s", self.name, call_id, way, done.costs)
        self._asks += 1
        try:
            self._store(made, done.hold, way)
        finally:
            self._asks -= 1
        self.doing.pop(call_id)

    def _store(self, made: UsageEvent, hold: Hold, way: str) -> None:
        """Store an event as the closer does, and note when its call may return."""
        door = self._door
        try:
            if way == "post":
                door.post(made, hold)
            elif way == "post_soon" or isinstance(door.post_now(made, hold), Busy):
                future = door.post_soon(made, hold)
                future.add_done_callback(lambda _: self._auditor.is_kept(made.call.id))
                return
        except LedgerError:
            door.rescue(made, hold)
        self._auditor.is_kept(made.call.id)

    # -- life --

    def _tick(self) -> None:
        if self.is_alive:
            self._world.at(self._world.chance.uniform(0.1, 0.6), self._tick)
            self.run(partial(self._errands_of, self.leases.tick))

    def _errands_of(self, work: Callable[[], None]) -> None:
        self._asks += 1
        self._errand(work)

    @property
    def settling(self) -> set[str]:
        """Jobs whose end it is just telling."""
        return self.jobs.settling

    def _ends_at_once(self, call_id: str) -> None:
        if self._wrong is not None:
            self._wrong.see_soon(call_id)

    def see_end(self, call_id: str) -> None:
        """Ask the provider about a job, whoever has begun it."""
        self.run(partial(self._errands_of, partial(self.jobs.see_end, call_id)))

    def die(self) -> None:
        """End at once: what was in flight is only known to the provider."""
        self._world.happens("%s is killed", self.name)
        self.is_alive = False
        self.ledger.die()
        self._auditor.is_gone(self)

    def leave(self) -> None:
        """End in good order: calls first, then their events, then what is left."""
        self.is_ending = self.is_leaving = True
        self._wrong = None
        for call_id, future in list(self._awaited.items()):
            del self._awaited[call_id]
            future.cancel()
            self._door.release_soon(call_id)
        for call_id in list(self.doing):
            self._finish(call_id)
        if self._asks or self._busy > 1 or self.leases._is_sending:
            self._world.at(0.1, partial(self.run, self.leave))
            return
        self.leases.close()
        self.ledger.close()
        self._world.happens("%s has ended", self.name)
        self.is_alive = False
        self._auditor.is_gone(self)

    @property
    def may_fork(self) -> bool:
        """No thread of it is in the middle of something, for which a fork would wait."""
        return not (self._busy or self._asks)

    def fork(self, name: str) -> Process:
        """Make a child as the system does: with a copy of all that this process has in memory."""
        self._world.happens("%s forks %s", self.name, name)
        child = Process.__new__(Process)
        ledger = self.ledger.fork(child)
        child.__init__(  # type: ignore[misc]  # its ledger must know it first
            self._world,
            self._plan,
            self._auditor,
            self._home,
            self._disk,
            self._running,
            self.rules,
            name=name,
            ledger=ledger,
        )
        mine, its = self.leases._escrow, child.leases._escrow
        same: dict[int, object] = {id(mine._holder): its._holder, id(mine._clock): its._clock}
        child.leases._escrow = copy.deepcopy(mine, same)
        child.leases._unsent = list(self.leases._unsent)
        child.leases.forget()
        child._watch()
        return child


def _is_held(answer: Refusal | None) -> bool:
    return answer is None or answer.is_held


def _brief(hold: Hold) -> list[tuple[str, int, int]]:
    return [(account.budget_id, account.limit, amount) for account, amount in hold.legs]


__all__ = ["Process", "key_of"]
