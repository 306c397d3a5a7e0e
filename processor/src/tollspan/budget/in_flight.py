"""Counts the calls in flight of this process, for the policies that limit them."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from .violations import Scope

Place = tuple[str, Scope]
"""A policy's id, and whose calls it counts together."""


class InFlight:
    """How many calls are under way in each place. Safe for threads.

    A call is counted from `enter` until the first `leave`. In a forked child nothing is under way,
    once it has called `forget`: what its parent began ends in the parent.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, with a lock that nobody has: for a forked child."""
        self._lock = threading.Lock()
        self._counts: dict[Place, int] = {}
        self._calls: dict[str, tuple[Place, ...]] = {}

    def enter(
        self, call_id: str, hard: Iterable[tuple[Place, int]], soft: Iterable[tuple[Place, int]]
    ) -> list[Place]:
        """Count a call in every place, unless a hard one is full: then in none.

        Args:
            call_id: The call, which is not counted yet.
            hard: Places, each with the most calls that may be in it.
            soft: The same, of places that may be overcrowded.

        Returns:
            The places that are full: the hard ones if there are any, else the soft ones.
        """
        hard, soft = tuple(hard), tuple(soft)
        with self._lock:
            full = self._full(hard)
            if full:
                return full
            over = self._full(soft)
            places = tuple([place for place, _ in (*hard, *soft)])
            for place in places:
                self._counts[place] = self._counts.get(place, 0) + 1
            self._calls[call_id] = places
            return over

    def look(
        self, hard: Iterable[tuple[Place, int]], soft: Iterable[tuple[Place, int]]
    ) -> list[Place]:
        """Return what `enter` would return now, and count nothing."""
        with self._lock:
            return self._full(tuple(hard)) or self._full(tuple(soft))

    def leave(self, call_id: str) -> None:
        """Count a call no more; nothing where it is not counted."""
        with self._lock:
            for place in self._calls.pop(call_id, ()):
                count = self._counts[place] - 1
                if count:
                    self._counts[place] = count
                else:
                    del self._counts[place]

    def __len__(self) -> int:
        """Return how many calls are counted."""
        return len(self._calls)

    def _full(self, places: tuple[tuple[Place, int], ...]) -> list[Place]:
        return [place for place, most in places if self._counts.get(place, 0) >= most]
