"""Time and chance of a simulated world: one thread, one seed, everything in one order."""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable
from typing import Final, TypeVar

Kept = TypeVar("Kept")
NANO: Final = 1_000_000_000
NOON_UNIX_NS: Final = 1_795_348_800 * NANO
_DEEPEST: Final = 4
_MOST_STEPS: Final = 50_000
"""Far more than any life takes; without it, one that comes to no end would fill the memory."""


class LawBrokenError(AssertionError):
    """Something happened that must never happen."""


class Killed(BaseException):
    """The process in whose thread this runs was killed meanwhile."""


class World:
    """A virtual clock and what is to happen, in order of time, then of when it was planned.

    Attributes:
        chance: The only source of chance.
        now: Seconds since the beginning.
        trace: What happened: time, format and arguments.
        after_each: Called after each step in which something has happened.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.trace: list[tuple[float, str, tuple[object, ...]]] = []
        self.after_each: Callable[[], None] = lambda: None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0
        self._depth = 0
        self.steps = 0

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        """Plan something for so many seconds from now."""
        self._planned += 1
        heapq.heappush(self._queue, (self.now + seconds, self._planned, what))

    def happens(self, what: str, *about: object) -> None:
        """Keep what happened for the trace; `what` is a format of `%`."""
        self.trace.append((self.now, what, about))

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let others go on while somebody waits; True when what was waited for came.

        Raises:
            LawBrokenError: So much has happened that it would never end.
        """
        end = self.now + seconds
        if self._depth < _DEEPEST:
            self._depth += 1
            try:
                while self._queue and self._queue[0][0] <= end and not until():
                    self._step()
            finally:
                self._depth -= 1
        if until():
            return True
        self.now = max(self.now, end)
        return False

    def _step(self) -> None:
        time, _, what = heapq.heappop(self._queue)
        self.now = max(self.now, time)
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise LawBrokenError("it comes to no end")
        happened = len(self.trace)
        what()
        if len(self.trace) != happened:
            self.after_each()

    def is_likely(self, probability: float) -> bool:
        """Throw a die."""
        return probability > 0 and self.chance.random() < probability

    def told(self, last: int = 60) -> str:
        """Print the end of the trace."""
        return "\n".join(
            f"{time:9.3f}  {what % about if about else what}"
            for time, what, about in self.trace[-last:]
        )


class Changed(threading.Condition):
    """A condition on which the only thread there is waits by letting others go on."""

    def __init__(self, world: World, lock: threading.Lock) -> None:
        super().__init__(lock)
        self._world = world
        self._it = lock
        self._count = 0

    def wait(self, timeout: float | None = None) -> bool:
        before = self._count
        self._it.release()
        try:
            return self._world.wait(timeout or 0.0, lambda: self._count != before)
        finally:
            self._it.acquire()

    def wait_for(self, predicate: Callable[[], Kept], timeout: float | None = None) -> Kept:
        self._it.release()
        try:
            self._world.wait(timeout or 0.0, lambda: bool(predicate()))
        finally:
            self._it.acquire()
        return predicate()

    def notify_all(self) -> None:
        self._count += 1


class Clock:
    """A process's monotonic clock: it starts anywhere, runs a little wrong, and may stand still."""

    def __init__(self, world: World, *, rate: float) -> None:
        self._world = world
        self._rate = rate
        self._offset = world.chance.uniform(0, 1e6)
        self._lost = 0.0
        self._stopped_at: float | None = None

    def __call__(self) -> float:
        now = self._world.now if self._stopped_at is None else self._stopped_at
        return self._offset + (now - self._lost) * self._rate

    def stop(self) -> None:
        """Stand still, as in a machine that is suspended."""
        self._stopped_at = self._world.now

    def go_on(self) -> None:
        """Run again, not knowing how long it stood."""
        if self._stopped_at is not None:
            self._lost += self._world.now - self._stopped_at
            self._stopped_at = None
