"""A few connections for the threads of one process. Safe for threads and forks.

Connections are opened in threads of their own: names, hosts and handshakes can take longer than a
caller may wait, and what comes too late for one is there for the next.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final

from tollspan.usage import LedgerError, LedgerUnavailableError

from ._pg_link import Link

MOST: Final = 4
"""Connections of one process."""
_FRESH_SECONDS: Final = 60.0
"""A connection that nobody used for longer is not: what lies between may have forgotten it."""
_REST_SECONDS: Final = (0.02, 1.0)
"""After a connection failed, how long none is tried: at first, and at most."""


class Pool:
    """Lends connections.

    Args:
        connect: Opens one, slowly, or raises `LedgerError`.
        most: How many there are at once.
    """

    def __init__(self, connect: Callable[[], Link], *, most: int = MOST) -> None:
        self._connect = connect
        self._most = most
        self._begin()
        _ALIVE.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[tuple[Link, float]] = []
        self._lent: set[Link] = set()
        self._opening: deque[float] = deque()
        self._error: str | None = None
        self._rest_seconds = _REST_SECONDS[0]
        self._rests_until = 0.0
        self._generation = 0

    def take(self, ends_at: float) -> Link:
        """Lend a connection.

        An attempt to connect that takes longer already than the caller would wait is not waited
        for: while a host does not answer, few callers find that out by waiting.

        Args:
            ends_at: When to give up, by the monotonic clock.

        Raises:
            LedgerError: None can be had in time.
        """
        has_tried = False
        patience = ends_at - time.monotonic()
        with self._changed:
            while True:
                now = time.monotonic()
                while self._idle:
                    link, since = self._idle.pop()
                    if now - since < _FRESH_SECONDS and link.is_alive():
                        self._lent.add(link)
                        return link
                    link.close()
                if not has_tried and len(self._lent) + len(self._opening) < self._most:
                    has_tried = now >= self._rests_until
                    if has_tried:
                        self._open_soon(now)
                self._wait(now, ends_at, patience)

    def _wait(self, now: float, ends_at: float, patience: float) -> None:
        """Wait for a connection that somebody gives back, or that is opened.

        Raises:
            LedgerError: There is none to wait for, or no time left.
        """
        if not self._lent:
            if not self._opening:
                raise LedgerUnavailableError(self._error or "no connection to PostgreSQL")
            ends_at = min(ends_at, self._opening[-1] + patience)
        if now >= ends_at:
            raise LedgerUnavailableError("no connection to PostgreSQL in time")
        self._changed.wait(ends_at - now)

    def give(self, link: Link) -> None:
        """Take back a connection that can be used again."""
        with self._changed:
            if link in self._lent:
                self._lent.discard(link)
                self._idle.append((link, time.monotonic()))
                self._changed.notify()
                return
        link.close()  # the pool was closed meanwhile

    def drop(self, link: Link) -> None:
        """Take back a connection of no use."""
        link.close()
        with self._changed:
            self._lent.discard(link)
            self._changed.notify()

    def close(self) -> None:
        """Close what is idle now, and what is lent or being opened as soon as it comes back."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._lent.clear()
            self._opening.clear()
            self._generation += 1
            self._changed.notify_all()
        for link, _ in idle:
            link.close()

    def begin_in_child(self) -> None:
        """Leave the parent its connections, and begin anew: this thread is alone in the child."""
        for link in [*(link for link, _ in self._idle), *self._lent]:
            link.abandon()
        self._begin()

    def _open_soon(self, now: float) -> None:
        self._opening.append(now)
        generation = self._generation
        try:
            threading.Thread(
                target=self._open, args=(now, generation), name="tollspan-postgres", daemon=True
            ).start()
        except RuntimeError as error:  # the interpreter ends, or there are no more threads
            self._opening.remove(now)
            raise LedgerUnavailableError(f"no connection to PostgreSQL: {error}") from error

    def _open(self, since: float, generation: int) -> None:
        """Open a connection, and hand it over or say why there is none."""
        link: Link | None = None
        error: LedgerError | None = None
        try:
            link = self._connect()
        except LedgerError as failure:
            error = failure
        finally:
            with self._changed:
                is_wanted = generation == self._generation
                if is_wanted:
                    self._opening.remove(since)
                    self._note(error)
                    if link is not None:
                        self._idle.append((link, time.monotonic()))
                    self._changed.notify_all()
        if link is not None and not is_wanted:
            link.close()

    def _note(self, error: LedgerError | None) -> None:
        """Remember a failure, and rest the longer the more there were."""
        self._error = None if error is None else str(error)
        if error is None:
            self._rest_seconds = _REST_SECONDS[0]
            self._rests_until = 0.0
        else:
            self._rests_until = time.monotonic() + self._rest_seconds
            self._rest_seconds = min(self._rest_seconds * 2, _REST_SECONDS[1])


_ALIVE: Final = weakref.WeakSet[Pool]()


def _begin_in_child() -> None:
    for pool in list(_ALIVE):
        pool.begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
