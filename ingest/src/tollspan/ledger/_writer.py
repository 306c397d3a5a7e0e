"""The ledger's own thread: does what callers must not wait for, and keeps the file in order.

It works on its own connection, several pieces of work in one transaction. Putting work in takes
no lock, so finalisers and event loops may do it.
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

from ._session import Session, ledger_error

_LARGEST_BATCH = 64
_TICK_SECONDS = 0.5
_REOPEN_AFTER_SECONDS = 1.0
_CHECKPOINT_BYTES = 1 << 20
_VALVE_BYTES = 64 << 20


class Work(Protocol):
    """One piece of work: applied in a transaction, told of its end outside of it."""

    def apply(self, session: Session) -> None:
        """Do it; runs inside the transaction."""
        ...

    def done(self) -> None:
        """Hear that the transaction was committed."""
        ...

    def failed(self, error: LedgerError) -> None:
        """Hear that nothing of it was done."""
        ...


class Writer:
    """A daemon thread that starts with the first piece of work and ends with `stop`."""

    def __init__(
        self,
        open_session: Callable[[], Session],
        housekeeping: Callable[[Session], None],
        *,
        wait_seconds: float,
    ) -> None:
        self._open_session = open_session
        self._housekeeping = housekeeping
        self._wait_seconds = wait_seconds
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._session: Session | None = None
        self._closed_until = 0.0
        self._stopping = False
        self._guard = Guard("ledger.writer")

    def put(self, work: Work) -> None:
        """Hand work over. Takes no lock and never blocks."""
        self._queue.put(work)

    def start(self) -> None:
        """Start the thread if it does not run; call it outside of finalisers."""
        if self._thread is None and not self._stopping:
            self._thread = threading.Thread(target=self._run, name="tollspan-ledger", daemon=True)
            self._thread.start()

    def stop(self, wait_seconds: float) -> None:
        """Do what is queued, end the thread, close the file; `resume` takes it up again."""
        self._stopping = True
        thread = self._thread
        if thread is None:
            if not self._queue.empty():
                self._drain([])
        else:
            self._queue.put(None)
            thread.join(wait_seconds)
        self._thread = None
        self._drop_session()

    def resume(self) -> None:
        """Work again after `stop`: the thread starts with the next piece of work."""
        self._stopping = False

    def _run(self) -> None:
        next_tick = time.monotonic()
        while True:
            batch: list[Work] = []
            with contextlib.suppress(queue.Empty):
                first = self._queue.get(timeout=max(0.0, next_tick - time.monotonic()))
                if first is None:
                    self._drain([])
                    return
                batch.append(first)
            if batch:
                self._drain(batch)
            if time.monotonic() >= next_tick:
                with self._guard:
                    self._tick()
                next_tick = time.monotonic() + _TICK_SECONDS

    def _drain(self, batch: list[Work]) -> None:
        """Do a batch, filled up with what else waits, until nothing waits."""
        while True:
            with contextlib.suppress(queue.Empty):
                while len(batch) < _LARGEST_BATCH:
                    work = self._queue.get_nowait()
                    if work is None:
                        self._queue.put(None)
                        break
                    batch.append(work)
            if not batch:
                return
            told = False
            with self._guard:
                told = self._do(batch)
            if not told:
                for work in batch:
                    with self._guard:
                        work.failed(LedgerError("the ledger's writer failed; see the log"))
            if len(batch) < _LARGEST_BATCH:
                return
            batch = []

    def _do(self, batch: list[Work]) -> bool:
        """Do a batch in one transaction; True when each piece was told how it ended."""
        try:
            session = self._ready_session()
            session.begin(self._wait_seconds)
            try:
                for work in batch:
                    work.apply(session)
                session.commit()
            except BaseException:
                session.rollback()
                session.forget_accounts()
                raise
        except (sqlite3.Error, OSError, LedgerError) as error:
            trouble = self._trouble(error)
            for work in batch:
                with self._guard:
                    work.failed(trouble)
            return True
        for work in batch:
            with self._guard:
                work.done()
        return True

    def _tick(self) -> None:
        try:
            session = self._ready_session()
            self._checkpoint(session)
            self._housekeeping(session)
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
        if self._session is not None:
            self._session.close()
            self._session = None

    def _checkpoint(self, session: Session) -> None:
        """Move the log into the file here, not in a caller; past the valve, make writers wait."""
        try:
            size = os.stat(f"{session.path}-wal").st_size
        except OSError:
            return
        if size > _VALVE_BYTES:
            session.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        elif size > _CHECKPOINT_BYTES:
            session.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
