"""One simulated host from its seed to its end: the real SQLite ledger, a file, and processes."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from functools import partial
from pathlib import Path

from tests.simulation.course import Course, failure
from tests.simulation.host.auditor import Auditor
from tests.simulation.host.ground import Actor, Disk, standing_on
from tests.simulation.host.operator import Operator
from tests.simulation.host.plan import NEVER, Plan, plan
from tests.simulation.host.process import Process
from tests.simulation.rules import SOFT
from tests.simulation.world import Killed, World
from tollspan.ledger import LEDGER_FILE, _processes

_MEMORY = Path("/dev/shm")


class Simulation(Course):
    """A host.

    Args:
        seed: Names it: the same seed is the same host to the last step.
        home: An empty folder for the ledger.
    """

    def __init__(self, seed: int, home: Path) -> None:
        self.plan: Plan = plan(seed)
        super().__init__(World(seed), mean=self.plan.mean, calls_that_fit=self.plan.calls_that_fit)
        self.home = home
        self.auditor = Auditor(self.world, home, SOFT)
        self.auditor.may_give_up = self.plan.job_horizon_seconds < NEVER
        self.disk = Disk()
        self._running: list[Actor] = []
        self._names = 0
        self._everybody: list[Process | Operator] = []
        self._operators = 0
        self._taker: sqlite3.Connection | None = None

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
        try:
            with standing_on(self.world, self._running):
                self._live()
                self._end()
        finally:
            for one in self._everybody:
                _processes._ledgers.discard(one.ledger)  # nobody closes it at the interpreter's end
                for session in (one.ledger._session, one.ledger._writer._session):
                    if session is not None:
                        session.close()
            self.auditor.close()
            if self._taker is not None:
                self._taker.close()

    def _live(self) -> None:
        world = self.world
        self.announce(self.rules)
        for _ in range(self.plan.processes):
            self._start()
        world.after_each = self.auditor.check
        for rate, fault in (
            (self.plan.locks, self.take_the_file),
            (self.plan.crashes, self._crash_one),
            (self.plan.forks, self._fork),
            (self.plan.changes, self.change_a_limit),
            (self.plan.disks, self._fill_the_disk),
            (self.plan.jobs * 8, self._see_a_job),
            (self.plan.operators, self._have_an_operator_act),
            (0.2, self._end_one),
        ):
            if rate:
                self.again_and_again(rate, fault)
        self.live(self.plan.seconds)

    def _start(self) -> None:
        self._names += 1
        process = Process(
            self.world,
            self.plan,
            self.auditor,
            self.home,
            self.disk,
            self._running,
            self.rules,
            name=f"p{self._names}",
        )
        self._let_live(process)

    def _let_live(self, process: Process) -> None:
        self._everybody.append(process)
        self.auditor.holders.append(process)
        process.begin(self)

    # -- what goes wrong --

    def take_the_file(self) -> None:
        """Have the file for a while, as a program that copies or repairs it."""
        if self._taker is None:
            self._taker = sqlite3.connect(self.home / LEDGER_FILE, timeout=0, isolation_level=None)
        if self._taker.in_transaction or self.is_ending:
            return
        self._taker.execute("BEGIN IMMEDIATE")
        self.world.happens("the file is taken")
        seconds = self.world.chance.choice([0.001, 0.03, 0.2, 0.6, 3.0])
        self.world.at(seconds, self._give_the_file_back)

    def _give_the_file_back(self) -> None:
        if self._taker is not None and self._taker.in_transaction:
            self.world.happens("the file is given back")
            self._taker.execute("ROLLBACK")

    def _crash_one(self) -> None:
        if self.processes:
            self.crash(self.world.chance.choice(self.processes))

    def crash(self, process: Process) -> None:
        """Kill a process, and start another."""
        if not self.is_ending:
            process.die()
            self._start()

    def _end_one(self) -> None:
        if self.processes:
            process = self.world.chance.choice(self.processes)
            self._start()
            process.run(process.leave)

    def _fork(self) -> None:
        able = [one for one in self.processes if one.may_fork]
        if able and len(self.processes) < 6:
            self._names += 1
            with contextlib.suppress(Killed):  # it may die of it
                self._let_live(self.world.chance.choice(able).fork(f"p{self._names}"))

    def _fill_the_disk(self) -> None:
        self.world.happens("the disk is full")
        self.disk.is_full = True
        self.world.at(self.world.chance.choice([0.1, 0.7]), self._clean_the_disk)

    def _clean_the_disk(self) -> None:
        self.world.happens("the disk has room again")
        self.disk.is_full = False

    # -- jobs, and people --

    def _see_a_job(self) -> None:
        """Have some process ask about a job, now and then two at once."""
        waiting = sorted(set(self.auditor.accepted) - set(self.auditor.stored))
        if not (waiting and self.processes):
            return
        call_id = self.world.chance.choice(waiting)
        for _ in range(2 if self.world.is_likely(0.2) else 1):
            self.see_soon(call_id)

    def see_soon(self, call_id: str) -> None:
        """Have some process ask about a job within an instant."""
        if self.processes:
            process = self.world.chance.choice(self.processes)
            self.world.at(self.world.chance.uniform(0, 0.02), partial(process.see_end, call_id))

    def _have_an_operator_act(self) -> None:
        self._operators += 1
        operator = Operator(
            self.world,
            self.plan,
            self.auditor,
            self.home,
            self.disk,
            self._running,
            name=f"operator{self._operators}",
        )
        self._everybody.append(operator)
        operator.act(self.rules)

    # -- the end --

    def _end(self) -> None:
        """Let everything come to its end, and check that it adds up."""
        self.world.wait(9.0)
        self._give_the_file_back()
        self.disk.is_full = False
        self.until(lambda: not self.auditor.holders, self._send_all_home)
        self._start()
        (last,) = self.processes
        last.is_ending = True
        self.world.wait(1.5)
        last.run(last.ledger.take_rescued)
        self._see_all_jobs(last)
        last.run(last.ledger.sweep)
        self.until(lambda: not self.auditor.holders, self._send_all_home)
        self.auditor.check_the_end(is_calm=self.plan.is_calm)

    def _see_all_jobs(self, last: Process) -> None:
        """See how all jobs have ended, or almost all: the rest is given up."""
        for call_id in sorted(self.auditor.jobs):
            if self.plan.is_calm or self.world.is_likely(0.8):
                last.see_end(call_id)
        if self.auditor.jobs:
            self.auditor.may_give_up = True
            last.ledger.job_horizon_seconds = 0.0

    def _send_all_home(self) -> None:
        for process in self.processes:
            process.run(process.leave)


def simulate(seed: int) -> Simulation:
    """Live through the host of a seed, in a folder that is gone afterwards.

    Raises:
        AssertionError: A law was broken; the text is the end of the trace, and says how to replay.
    """
    home = Path(
        tempfile.mkdtemp(prefix="tollspan-host-", dir=_MEMORY if _MEMORY.is_dir() else None)
    )
    simulation = Simulation(seed, home)
    try:
        simulation.run()
    except Exception as error:
        text = failure(
            simulation, error, seed=seed, plan=simulation.plan, module="tests.simulation.host"
        )
        raise AssertionError(text) from error
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(home)
    return simulation
