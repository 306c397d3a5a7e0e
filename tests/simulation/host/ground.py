"""What a simulated host stands on: the ledger's modules see its clock, its chance and its threads.

The ledger's own code runs unchanged. It is given another `time` and another source of chance, a
writer without a thread, and sessions between whose statements other processes get their turn.
"""

from __future__ import annotations

import contextlib
import copy
import os
import queue
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tests.simulation.world import NANO, NOON_UNIX_NS, Killed, World
from tollspan.budget import Account, Folder, GivenBack, Hold, Lease, Leg, Refusal, Want
from tollspan.ledger import (
    SQLiteLedger,
    _files,
    _folding,
    _jobs,
    _owner,
    _rescue,
    _session,
    _shared_session,
)
from tollspan.ledger import _writer as writer_module
from tollspan.ledger import sqlite as ledger_module
from tollspan.ledger._owner import Owner
from tollspan.ledger._session import Session
from tollspan.ledger._writer import Writer
from tollspan.usage import UsageEvent

_TIMED = (_files, _folding, _jobs, _rescue, _session, _shared_session, writer_module, ledger_module)
_TURN_SECONDS = 0.02
_LEAST_SLEEP_SECONDS = 0.01


_DISK_FULL = "database or disk is full"


class Disk:
    """The disk of the host.

    Attributes:
        is_full: It takes nothing more just now.
    """

    is_full = False

    def take(self, statement: str) -> None:
        """Take what a statement writes.

        Raises:
            sqlite3.OperationalError: It is full.
        """
        if self.is_full and not statement.startswith(("SELECT", "PRAGMA")):
            error = sqlite3.OperationalError(_DISK_FULL)
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error


class Actor(Protocol):
    """Who runs just now: a process that may be killed while it waits."""

    is_alive: bool


class Time:
    """What the ledger's modules take for `time`."""

    def __init__(self, world: World, running: list[Actor]) -> None:
        self._world = world
        self._running = running

    def monotonic(self) -> float:
        return 1_000.0 + self._world.now

    def time_ns(self) -> int:
        return NOON_UNIX_NS + int(self._world.now * NANO)

    def sleep(self, seconds: float) -> None:
        """Let others go on meanwhile: for a while at least, as where the CPU is short.

        Raises:
            Killed: The process that slept was killed.
        """
        who = self._running[-1]
        self._world.wait(max(seconds, _LEAST_SLEEP_SECONDS))
        if not who.is_alive:
            raise Killed


class Secrets:
    """Names that are random, and the same for the same seed."""

    def __init__(self, world: World) -> None:
        self._chance = world.chance

    def token_hex(self, count: int) -> str:
        return f"{self._chance.getrandbits(8 * count):0{2 * count}x}"


@contextmanager
def standing_on(world: World, running: list[Actor]) -> Generator[None]:
    """Give the ledger's modules this world's time and chance, for as long as it lives."""
    given: list[tuple[Any, str, object]] = [
        (module, "time", Time(world, running)) for module in _TIMED
    ]
    given += [(module, "secrets", Secrets(world)) for module in (_owner, _rescue)]
    given.append((_files, "random", world.chance))
    real = [(module, name, getattr(module, name)) for module, name, _ in given]
    for module, name, ours in given:
        setattr(module, name, ours)
    try:
        yield
    finally:
        for module, name, theirs in real:
            setattr(module, name, theirs)


class Watcher(Protocol):
    """Who is told of what the ledger does."""

    def held(self, hold: Hold, legs: Sequence[Leg]) -> None:
        """Hear that a statement has just held for a call."""
        ...

    def granted(self, lease: Lease, accounts: Sequence[Account]) -> None:
        """Hear that a statement has just granted something."""
        ...

    def given_back(self, lease: Lease, parts: Sequence[GivenBack]) -> None:
        """Hear that something goes back."""
        ...

    def refused(self, call_id: str) -> None:
        """Hear that a call was refused."""
        ...

    def handed_over(self, event: UsageEvent) -> None:
        """Hear of an event that is to be stored."""
        ...


class Host(Protocol):
    """What a ledger's process is to its ledger."""

    is_alive: bool

    def run(self, work: Callable[[], object]) -> None:
        """Do some work as this process."""
        ...

    def interrupt(self, statement: str) -> None:
        """Let others go on before a statement; may raise what SQLite raises."""
        ...


class Interrupted:
    """A connection whose statements are interrupted, as those of its session are."""

    def __init__(
        self, connection: sqlite3.Connection, execute: Callable[..., sqlite3.Cursor]
    ) -> None:
        self._connection = connection
        self.execute = execute

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class WatchedSession(Session):
    """A session that is interrupted between its statements, and watched at them."""

    def __init__(self, path: Path, host: Host, watcher: Watcher, **options: Any) -> None:
        super().__init__(path, **options)
        self._watcher = watcher
        execute = self._execute

        def interrupted(statement: str, *values: Any) -> sqlite3.Cursor:
            host.interrupt(statement)
            return execute(statement, *values)

        self._execute = interrupted

    @property
    def connection(self) -> Any:
        """The connection, for those whose statements are not the session's own."""
        return Interrupted(self._connection, self._execute)

    def wait_inside(self, milliseconds: int) -> None:
        """Wait outside: while SQLite itself waits, nobody here could give the file back."""

    def _holds(self, hold: Hold, legs: tuple[Leg, ...], owner: str) -> bool:
        is_held = super()._holds(hold, legs, owner)
        if is_held:
            self._watcher.held(hold, legs)
        return is_held

    def _grants(
        self, asked: Hold, legs: tuple[Leg, ...], wants: Sequence[Want], owner: str
    ) -> tuple[int, ...] | None:
        totals = super()._grants(asked, legs, wants, owner)
        if totals is not None:
            holder, _, fence = asked.call_id.rpartition("/")
            lease = Lease(holder=holder, fence=int(fence))
            self._watcher.granted(lease, [account for account, _ in legs])
        return totals

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> None:
        self._watcher.given_back(lease, parts)
        super().give_back(lease, parts)

    def hold(self, hold: Hold, owner: str) -> Refusal | None:
        answer = super().hold(hold, owner)
        if answer is not None and not answer.is_held:
            self._watcher.refused(hold.call_id)
        return answer


class ThreadlessWriter(Writer):
    """The writer, whose thread gets its turns from the world."""

    def be_of(self, world: World, host: Host) -> None:
        """Take up work in a process."""
        self._world = world
        self._host = host
        self._is_planned = self._is_at_it = self._is_over = False
        world.at(world.chance.uniform(0, 0.5), self._tick_on)

    def start(self) -> None:
        if not (self._is_planned or self._stopping or self._is_over):
            self._is_planned = True
            delay = self._world.chance.uniform(0, _TURN_SECONDS)
            self._world.at(delay, lambda: self._host.run(self._turn))

    def end(self) -> None:
        """Have no turn any more: its process is gone, or has another writer."""
        self._is_over = True

    def _turn(self) -> None:
        self._is_planned = False
        if self._stopping or self._is_over:
            return
        if not self._is_at_it:
            with self._alone(), contextlib.suppress(queue.Empty):
                asked = self._queue.get_nowait()
                if asked is not None:
                    self._do(*asked)
        if not self._queue.empty():
            self.start()

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Do one thing at a time, as one thread does."""
        self._is_at_it = True
        try:
            yield
        finally:
            self._is_at_it = False

    def _tick_on(self) -> None:
        if self._is_over or not self._host.is_alive:
            return
        self._world.at(0.5, self._tick_on)
        self._host.run(self._tick_once)

    def _tick_once(self) -> None:
        if not (self._stopping or self._is_over or self._is_at_it):
            with self._alone(), self._guard:
                self._tick()


class SimulatedLedger(SQLiteLedger):
    """The SQLite ledger of one simulated process."""

    def __init__(self, home: Path, world: World, host: Host, watcher: Watcher) -> None:
        self._world, self._host, self._watcher = world, host, watcher
        super().__init__(home)

    def _begin_life(self) -> None:
        super()._begin_life()
        clock = Time(self._world, []).monotonic
        self._folder = Folder(self._folds, clock=clock, chance=self._world.chance.random)
        self._writer = ThreadlessWriter(
            self._open_for_writer,
            self._keep_house,
            self._retire,
            wait_seconds=self._post_wait_seconds,
            hasty_wait_seconds=self._wait_seconds,
        )
        self._writer.be_of(self._world, self._host)

    def _open(self, wait: float) -> Session:
        return WatchedSession(
            self.path,
            self._host,
            self._watcher,
            is_durable=self._is_durable,
            wait_seconds=wait,
        )

    def post_soon(self, event: UsageEvent, hold: Hold | None) -> Any:
        self._watcher.handed_over(event)
        return super().post_soon(event, hold)

    def rescue(self, event: UsageEvent, hold: Hold | None) -> None:
        self._watcher.handed_over(event)
        super().rescue(event, hold)

    def die(self) -> None:
        """Let go of what the system takes from a process that is killed."""
        self._end_writer()
        if self._owner is not None:
            self._owner.forget()

    def fork(self, host: Host) -> SimulatedLedger:
        """Make the child's ledger as the system does: a copy of all that is in memory."""
        self.before_fork()
        child = copy.copy(self)
        child._host = host
        if self._owner is not None:
            child._owner = _inherited(self._owner)
        child.after_fork_in_child()
        self.after_fork_in_parent()
        return child

    def close(self) -> None:
        super().close()
        self._end_writer()

    def _end_writer(self) -> None:
        if isinstance(self._writer, ThreadlessWriter):
            self._writer.end()


def _inherited(owner: Owner) -> Owner:
    child = copy.copy(owner)
    child._descriptor = os.dup(owner._descriptor)
    return child
