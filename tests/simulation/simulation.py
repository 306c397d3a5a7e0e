"""One simulated world from its seed to its end."""

from __future__ import annotations

from collections import Counter
from functools import partial

from tests.simulation.auditor import Auditor, Key
from tests.simulation.course import Course, failure
from tests.simulation.jobs import end_of
from tests.simulation.plan import Plan, plan
from tests.simulation.process import Process
from tests.simulation.rules import SOFT
from tests.simulation.store import Store, settlement
from tests.simulation.world import NANO, NOON_UNIX_NS, Clock, LawBrokenError, World
from tollspan.budget import Account, MemoryAuthority
from tollspan.budget.shared_state import State
from tollspan.usage import BudgetUnit


class Simulation(Course):
    """A world with hosts, processes, one authority, and everything that goes wrong.

    Args:
        seed: Names it: the same seed is the same world to the last step.
    """

    def __init__(self, seed: int) -> None:
        self.plan: Plan = plan(seed)
        self.world = World(seed)
        self._jumped = 0.0
        self._rate = 1.0 + self._skew()
        super().__init__(self.world, mean=self.plan.mean, calls_that_fit=self.plan.calls_that_fit)
        self.authority = MemoryAuthority(
            self.plan.settings, clock=self.authority_clock, new_name=self._new_epoch
        )
        self.auditor = Auditor(
            self.world,
            self.authority,
            self.authority_clock,
            is_strict=self.plan.clocks != "wild",
        )
        self.stores = [Store(self.world, self.auditor.is_stored) for _ in range(self.plan.hosts)]
        self.auditor.stores = self.stores
        self.auditor.soft = set(SOFT)
        self._epochs = 0
        self._names = 0
        self._backup: State | None = None

    def authority_clock(self) -> int:
        """Tell the authority's time."""
        return NOON_UNIX_NS + int((self.world.now * self._rate + self._jumped) * NANO)

    def _skew(self) -> float:
        """Choose how wrong a clock runs: two of them within the drift margin over a life."""
        if self.plan.clocks == "true":
            return 0.0
        settings = self.plan.settings
        most = 0.45 * settings.drift_seconds / settings.life_seconds
        return self.world.chance.uniform(-most, most)

    def _new_epoch(self, unix_ns: int) -> str:
        self._epochs += 1
        return f"{unix_ns:020d}-{self._epochs}"

    @property
    def counting(self) -> Auditor:
        """Who hears of limits."""
        return self.auditor

    @property
    def processes(self) -> list[Process]:
        """Those that live, and don't just end."""
        return [
            one for one in self.auditor.holders if isinstance(one, Process) and not one.is_leaving
        ]

    # -- a life --

    def run(self) -> None:
        """Live to the end.

        Raises:
            LawBrokenError: A law did not hold.
        """
        world, chance = self.world, self.world.chance
        self.announce(self.rules)
        self.authority.open_epoch()
        world.after_each = self.auditor.check
        for _ in range(self.plan.processes):
            self._start(chance.choice(self.stores))
        for rate, fault in (
            (self.plan.cuts, self._cut),
            (self.plan.crashes, self._crash),
            (self.plan.forks, self._fork),
            (self.plan.changes, self.change_a_limit),
            (0.2, self._fill_a_disk),
            (0.2, self._end_one),
            (2.0, self.authority.expire),
            (self.plan.jobs * 10, self._see_a_job),
            (1.0 if self.plan.has_operator else 0.0, self._resolve),
            (0.2 if self.plan.clocks == "wild" else 0.0, self._disturb_a_clock),
        ):
            if rate:
                self.again_and_again(rate, fault)
        for _ in range(self.plan.restores):
            at = chance.uniform(0, self.plan.seconds)
            world.at(at, self._back_up)
            world.at(at + chance.choice([0.1, 1.0, 5.0]), self._restore)
        self.live(self.plan.seconds)
        self._end()

    def _start(self, store: Store) -> None:
        self._names += 1
        process = Process(
            self.world,
            self.plan,
            self.auditor,
            store,
            self.rules,
            name=f"p{self._names}",
            clock=Clock(self.world, rate=1.0 + self._skew()),
        )
        self.auditor.holders.append(process)

    # -- what goes wrong --

    def _cut(self) -> None:
        """Cut the network of some processes, one way or both, for a while."""
        chance = self.world.chance
        for process in chance.sample(self.processes, min(len(self.processes), 2)):
            way = chance.choice(["out", "in", "both"])
            self.world.happens("%s is cut off: %s", process.name, way)
            process.link.is_cut_out = way != "in"
            process.link.is_cut_in = way != "out"
            self.world.at(chance.choice([0.5, 2.0, 6.0]), partial(_reconnect, process))

    def _crash(self) -> None:
        """Kill a process, and start another on its host."""
        if self.processes:
            process = self.world.chance.choice(self.processes)
            process.die()
            self._start(process.store)

    def _end_one(self) -> None:
        if self.processes:
            process = self.world.chance.choice(self.processes)
            self._start(process.store)
            process._run(process.leave)

    def _fork(self) -> None:
        if 0 < len(self.processes) < 6:
            self._names += 1
            clock = Clock(self.world, rate=1.0 + self._skew())
            parent = self.world.chance.choice(self.processes)
            self.auditor.holders.append(parent.fork(f"p{self._names}", clock))

    def _fill_a_disk(self) -> None:
        store = self.world.chance.choice(self.stores)
        store.is_full = True
        self.world.at(0.5, partial(setattr, store, "is_full", False))

    def _see_a_job(self) -> None:
        """Have some process of a job's host ask about it."""
        if self.processes:
            process = self.world.chance.choice(self.processes)
            jobs = [one.call.id for one in process.store.jobs.values()]
            if jobs:
                process.see_end(self.world.chance.choice(jobs))

    def _disturb_a_clock(self) -> None:
        """Set the authority's clock, or suspend a machine."""
        chance = self.world.chance
        if self.world.is_likely(0.5):
            jump = chance.choice([-60.0, -1.0, 1.0, 5.0, 60.0])
            self.world.happens("the authority's clock jumps by %s", jump)
            self._jumped += jump
        elif self.processes:
            process = chance.choice(self.processes)
            self.world.happens("the clock of %s stands still", process.name)
            process.clock.stop()
            self.world.at(chance.uniform(0.5, 6), process.clock.go_on)

    def _resolve(self) -> None:
        """Have an operator look into a lease whose process is gone, and say what was spent."""
        auditor = self.auditor
        at_work = {
            one.ledger._escrow.lease.id for one in self.processes if one.ledger._escrow.lease
        }
        at_work |= {
            call.lease.id for one in self.processes for call in one.ledger._escrow._open.values()
        }
        at_work |= {lease_id for held in auditor.jobs.values() for lease_id, _ in held}
        for left in self.authority.unresolved():
            key = (
                left.account.budget_id,
                left.account.scope,
                left.account.period,
                left.account.unit,
            )
            place = (left.lease_id, key)
            if left.lease_id not in at_work and not auditor.owed[place] and auditor.is_true:
                spent = auditor.killed.pop(place, 0)
                self.world.happens("an operator says that %s spent %s", place, spent)
                self.authority.resolve(left.lease_id, left.account, spent=spent)
                auditor.resolved[key] += spent
                return

    # -- an old backup --

    def _back_up(self) -> None:
        self.world.happens("a backup is made")
        self._backup = self.authority.backup()

    def _restore(self) -> None:
        """Restore the backup; an operator sees to it in good time, told or not."""
        if self._backup is None or self.plan.has_operator:
            return
        self.world.happens("the backup is restored")
        auditor = self.auditor
        self.authority.restore(self._backup)
        auditor.restored()
        self.world.at(self.plan.settings.life_seconds * 2, self._reopen)

    def _reopen(self) -> None:
        """Wait until nobody works from an old lease; settle all events anew; open it."""
        if any(one.is_at_work() for one in self.auditor.holders):
            self.authority._shut()
            self.world.at(0.5, self._reopen)
            return
        for store in self.stores:
            self.auditor.settle([settlement(event) for event in store.events.values()])
        self.world.happens("an operator opens it anew")
        self.authority.open_epoch()
        self.auditor.forgives()

    # -- the end --

    def _end(self) -> None:
        """Let everything come to its end, and check that it adds up."""
        world, auditor = self.world, self.auditor
        for process in self.processes:
            process.link.mend()
        world.wait(9.0)  # late messages, the last calls
        self.until(lambda: auditor.is_true, lambda: None)
        self.until(lambda: not auditor.holders, self._send_all_home)
        everyone = Process(
            world,
            self.plan,
            auditor,
            self.stores[0],
            self.rules,
            name="last",
            clock=Clock(world, rate=1.0),
        )
        everyone.is_ending = True
        everyone.link.mend()
        self._see_all_jobs()
        for store in self.stores:
            self.until(partial(_is_told, store), partial(store.tell, everyone.link, most=100))
        auditor.check()
        if self.plan.is_calm:
            self._law_of_calm()
        ends = [one.expires_at for one in self.authority._state.open.values()]
        self._jumped += max(0, max(ends, default=0) - self.authority_clock()) / NANO + 1
        self.authority.expire()
        auditor.check()
        self._check_the_sums()

    def _see_all_jobs(self) -> None:
        """See how all jobs have ended, or almost all: nobody will ever tell of the rest."""
        for store in self.stores:
            for one in list(store.jobs.values()):
                call_id = one.call.id
                if call_id not in self.auditor.jobs:
                    continue
                if self.plan.is_calm or self.world.is_likely(0.8):
                    store.rescue(end_of(one, self.auditor.costs[call_id]), one.hold)
                    continue
                held, costs = self.auditor.jobs.pop(call_id), self.auditor.costs[call_id]
                for (place, amount), cost in zip(held.items(), costs, strict=True):
                    self.auditor.killed[place] += min(amount, cost)

    def _send_all_home(self) -> None:
        for process in self.processes:
            process._run(process.leave)

    def _law_of_calm(self) -> None:
        """Where nothing went wrong, nothing is held or unresolved that no event says.

        Unless a lease lapsed: a thread that waits for others may stand still for longer than that.
        """
        if self.auditor.has_lapsed:
            return
        state = self.authority._state
        for name, one in (state.open | state.ended).items():
            left = {key: part.amount for key, part in one.parts.items() if part.amount}
            if left:
                raise LawBrokenError(f"{left} is left in {name}, though nothing went wrong")

    def _check_the_sums(self) -> None:
        """Check that all that was counted is what the provider counted, to the last unit."""
        left: Counter[Key] = Counter()
        for one in self.authority._state.ended.values():
            for key, part in one.parts.items():
                left[key] += part.amount
        killed: Counter[Key] = Counter()
        for (_, key), amount in self.auditor.killed.items():
            killed[key] += amount
        stored: Counter[Key] = Counter()
        open_: Counter[Key] = Counter()
        for event in self.auditor.events():
            for charge in event.charges:
                key = (charge.budget_id, charge.scope, charge.period, charge.unit)
                stored[key] += charge.posted
                open_[key] += charge.unresolved
        for key, row in self.authority._state.rows.items():
            assert row.held == 0, "nothing is held at the end"
            (balance,) = self.authority.balances([_account(key)])
            counted = balance.posted + balance.unresolved - left[key]
            assert counted == stored[key] + self.auditor.resolved[key] + open_[key], (
                f"all events of {key} are counted, once"
            )
            assert killed[key] <= left[key], f"what was killed in {key} is counted as unresolved"


def _account(key: Key) -> Account:
    unit: BudgetUnit = "calls" if key[3] == "calls" else "usd"
    return Account(budget_id=key[0], scope=key[1], period=key[2], unit=unit, limit=0)


def _is_told(store: Store) -> bool:
    return not store.unsettled


def _reconnect(process: Process) -> None:
    process.link.is_cut_out = process.link.is_cut_in = False


def simulate(seed: int) -> Simulation:
    """Live through the world of a seed.

    Raises:
        AssertionError: A law was broken; the text is the end of the trace, and says how to replay.
    """
    simulation = Simulation(seed)
    try:
        simulation.run()
    except Exception as error:
        text = failure(
            simulation, error, seed=seed, plan=simulation.plan, module="tests.simulation"
        )
        raise AssertionError(text) from error
    return simulation
