"""The ledger's own thread: does what callers must not wait for, and keeps the file in order.

It works on its own connection. Putting work in takes no lock, so finalisers may do it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tollspan.safety import Guard
from tollspan.usage import LedgerError

from ._files import patiently
from ._session import Session, ledger_error

_TICK_SECONDS = 0.5
_REOPEN_AFTER_SECONDS = 1.0
_CHECKPOINT_BYTES = 4 << 20
_VALVE_BYTES = 16 << 20


class Work(Protocol):
    """One piece of work: applied, perhaps more than once, until it is done or has failed."""

    @property
    def is_hasty(self) -> bool:
        """Whether somebody waits who may not wait long."""
        ...

    def apply(self, session: Session) -> None:
        """Do it. When others have the file, SQLite says so, and it is asked again."""
        ...

    def done(self) -> None:
        """Hear that it was committed."""
        ...

    def failed(self, error: LedgerError) -> None:
        """Hear that nothing of it was done."""
        ...


class Writer:
    """A daemon thread that starts with the first piece of work and ends with `stop`.

    Args:
        open_session: Opens a connection for the thread.
        housekeeping: Is called twice a second; False when the connection is of no more use, and was
            retired.
        retire: Closes a connection.
        wait_seconds: How long work may wait for other processes.
        hasty_wait_seconds: The same for work that is hasty.
    """

    def __init__(
        self,
        open_session: Callable[[], Session],
        housekeeping: Callable[[Session], bool],
        retire: Callable[[Session], None],
        *,
        wait_seconds: float,
        hasty_wait_seconds: float,
    ) -> None:
        self._open_session = open_session
        self._housekeeping = housekeeping
        self._retire = retire
        self._wait_seconds = wait_seconds
        self._hasty_wait_seconds = hasty_wait_seconds
        self._starting = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[float, Work] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._session: Session | None = None
        self._closed_until = 0.0
        self._stopping = False
        self._guard = Guard("ledger.writer")

    def put(self, work: Work) -> None:
        """Hand work over. Takes no lock and never blocks."""
        self._queue.put((time.monotonic(), work))

    def has_lost_its_file(self) -> bool:
        """Say whether the thread still works on a file that was deleted or replaced."""
        session = self._session
        return session is not None and session.has_lost_its_file()

    def start(self) -> None:
        """Start the thread if it does not run; call it outside of finalisers."""
        while self._thread is None and not self._stopping:
            if not self._starting.acquire(blocking=False):
                return  # whoever has it looks at the queue once more
            try:
                self._start_or_drain()
            finally:
                self._starting.release()
            if self._queue.empty():
                return

    def _start_or_drain(self) -> None:
        """Start the thread; where there is none to be had, do what is queued here and now."""
        if self._thread is not None or self._stopping:
            return
        self._thread = threading.Thread(target=self._run, name="tollspan-ledger", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread to be had, or, from Python 3.12 on, the interpreter ends
            self._thread = None
            self._drain()

    def stop(self, wait_seconds: float) -> None:
        """Do what is queued, end the thread, close the file; `resume` takes it up again."""
        self._stopping = True
        # A thread that is being started is waited for; not for ever, by a signal handler in it.
        if self._starting.acquire(timeout=wait_seconds):
            self._starting.release()
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._queue.put(None)
            thread.join(wait_seconds)
            if thread.is_alive():
                self._leave(thread)
                return
        self._thread = None
        if not self._queue.empty():
            self._drain()
        self._drop_session()

    def _leave(self, thread: threading.Thread) -> None:
        """Give up a thread that does not end: it ends when it can, and keeps its connection.

        To close that under it would wait for its statement, which is what it is stuck in.
        """
        if self._thread is thread:
            self._thread = self._session = None
        self._give_up()

    def resume(self) -> None:
        """Work again after `stop`: the thread starts when there is work."""
        self._stopping = False
        if not self._queue.empty():
            self.start()

    def _run(self) -> None:
        """Work until `stop`, or until given up. None in the queue only wakes."""
        next_tick = time.monotonic()
        while self._thread is threading.current_thread():
            asked = None
            with contextlib.suppress(queue.Empty):
                asked = self._queue.get(timeout=max(0.0, next_tick - time.monotonic()))
            if asked is not None:
                self._do(*asked)
            elif self._stopping:
                self._drain()
                return
            if time.monotonic() >= next_tick:
                with self._guard:
                    self._tick()
                next_tick = time.monotonic() + _TICK_SECONDS

    def _drain(self) -> None:
        """Do what is queued, until nothing is."""
        with contextlib.suppress(queue.Empty):
            while True:
                asked = self._queue.get_nowait()
                if asked is not None:
                    self._do(*asked)

    def _give_up(self) -> None:
        """Tell whatever still waits that it will not be done: events are put aside then."""
        with contextlib.suppress(queue.Empty):
            while True:
                asked = self._queue.get_nowait()
                if asked is not None:
                    with self._guard:
                        asked[1].failed(LedgerError("the ledger's writer did not end in time"))

    def _do(self, asked_at: float, work: Work) -> None:
        """Do one piece of work and tell it how it ended, whatever happens.

        Patience counts from when it was asked for: a queue behind a file that others keep does not
        add up to minutes.
        """
        failure = LedgerError("the ledger's writer failed; see the log")
        is_done = False
        with self._guard:
            try:
                session = self._ready_session()
                wait = self._hasty_wait_seconds if work.is_hasty else self._wait_seconds
                left = max(0.0, asked_at + wait - time.monotonic())
                patiently(lambda: work.apply(session), left, session.path)
                is_done = True
            except (sqlite3.Error, OSError, LedgerError) as error:
                failure = self._trouble(error)
        with self._guard:
            if is_done:
                work.done()
            else:
                work.failed(failure)

    def _tick(self) -> None:
        try:
            session = self._ready_session()
            self._checkpoint(session)
            if not self._housekeeping(session):
                self._session = None
                self._ready_session()
        except (sqlite3.Error, OSError, LedgerError) as error:
            self._trouble(error)

    def _ready_session(self) -> Session:
        if self._session is None:
            if time.monotonic() < self._closed_until:
                raise LedgerError("the ledger was out of order a moment ago; trying again soon")
            self._session = self._open_session()
        return self._session

    def _trouble(self, error: sqlite3.Error | OSError | LedgerError) -> LedgerError:
        session = self._session
        if isinstance(error, LedgerError):
            return error
        self._drop_session()
        self._closed_until = time.monotonic() + _REOPEN_AFTER_SECONDS
        return ledger_error(error, session.path if session else Path("the ledger"))

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._retire(session)

    def _checkpoint(self, session: Session) -> None:
        """Move the log into the file here, not in a caller; past the valve, make writers wait."""
        try:
            size = os.stat(f"{session.path}-wal").st_size
        except OSError:
            return
        if size <= _CHECKPOINT_BYTES:
            return
        is_empty = session.checkpoint()
        if size > _VALVE_BYTES:  # writers wait, but only for what came since the line before
            is_empty = session.checkpoint(wait_seconds=self._hasty_wait_seconds)
        if is_empty:
            # Whoever writes next begins the log anew and waits for the disk: us, not an event loop.
            session.touch()
