"""Counts calls that are alike, for the policies that find loops, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

import msgspec

from .policies import Loop
from .violations import Scope

Likeness = tuple[str, Scope, bytes | None]
"""A policy's id, what calls have in common, and their last turn; None where it does not count."""


class Mark(msgspec.Struct, frozen=True):
    """What one call counts as, for one policy.

    Attributes:
        likeness: The calls that it is like.
        loop: How many of them there may be, and within what time.
        is_hard: One more is refused.
    """

    likeness: Likeness
    loop: Loop
    is_hard: bool


class Repeated(msgspec.Struct, frozen=True):
    """A call that there were too many like it.

    Attributes:
        mark: What it counts as.
        wait_seconds: How long until there is room for another one.
    """

    mark: Mark
    wait_seconds: float


class _Times(deque[float]):
    """When calls that are alike were made, oldest first, and within what time they count."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(maxlen=loop.repeats)
        self.within_seconds = loop.within_seconds


class Loops:
    """When calls were made that are alike. Safe for threads.

    Of each kind only as many are kept as there may be. Where there are more kinds or calls than are
    kept, those that were asked for longest ago are forgotten: then more may go through.

    Args:
        clock: Seconds, which no setting of a clock moves.
        most_kinds: So many kinds of calls are kept.
        most_calls: So many calls are kept, 40 bytes each.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        most_kinds: int = 10_000,
        most_calls: int = 250_000,
    ) -> None:
        self._clock = clock
        self._most_kinds = most_kinds
        self._most_calls = most_calls
        self.forget()

    def forget(self) -> None:
        """Begin anew, with a lock that nobody has: for a forked child."""
        self._lock = threading.Lock()
        self._kinds: OrderedDict[Likeness, _Times] = OrderedDict()
        self._count = 0

    def enter(
        self, marks: Iterable[Mark], *, is_counted: bool = True
    ) -> tuple[list[Repeated], Callable[[], None]]:
        """Count a call, unless a hard mark says that there were too many: then not at all.

        Args:
            marks: What it counts as.
            is_counted: False only to look.

        Returns:
            Of what there were too many, the hard marks if there are any, else the soft ones; and
            what takes the call back.
        """
        marks = tuple(marks)
        with self._lock:
            now = self._clock()
            found = [one for mark in marks if (one := self._look(mark, now)) is not None]
            hard = [one for one in found if one.mark.is_hard]
            if hard or not is_counted:
                return hard or found, _nothing
            for mark in marks:
                self._add(mark, now)
            self._bound(now)
        return found, lambda: self._take_back(marks, now)

    def __len__(self) -> int:
        """Return how many calls are kept in mind."""
        return self._count

    def _look(self, mark: Mark, now: float) -> Repeated | None:
        times = self._kinds.get(mark.likeness)
        loop = mark.loop
        if times is None or len(times) < loop.repeats:
            return None
        wait = times[-loop.repeats] + loop.within_seconds - now
        return Repeated(mark, wait) if wait > 0 else None

    def _add(self, mark: Mark, now: float) -> None:
        times = self._kinds.get(mark.likeness)
        if times is None or (times.maxlen, times.within_seconds) != (
            mark.loop.repeats,
            mark.loop.within_seconds,
        ):
            former = times or ()
            times = self._kinds[mark.likeness] = _Times(mark.loop)
            times.extend(former)
            self._count += len(times) - len(former)
        self._kinds.move_to_end(mark.likeness)
        self._count += len(times) < mark.loop.repeats
        times.append(now)

    def _take_back(self, marks: tuple[Mark, ...], at: float) -> None:
        with self._lock:
            for mark in marks:
                times = self._kinds.get(mark.likeness)
                if times is not None and at in times:
                    times.remove(at)
                    self._count -= 1

    def _bound(self, now: float) -> None:
        """Forget what is over; and what was asked for longest ago, when there is too much."""
        while self._kinds:
            times = next(iter(self._kinds.values()))
            is_over = not times or times[-1] + times.within_seconds <= now
            is_much = len(self._kinds) > self._most_kinds or self._count > self._most_calls
            if not is_over and not is_much:
                break
            self._kinds.popitem(last=False)
            self._count -= len(times)


def _nothing() -> None:
    """Take nothing back."""
