"""One connection of a process to the ledger's file, for all of its threads.

It is opened when it is needed, closed for a while when it fails, and carried over when its file was
deleted or replaced.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tollspan.budget import BUSY, Busy
from tollspan.usage import LedgerError, LedgerUnavailableError

from ._files import is_busy, patiently
from ._home import check_home
from ._owner import Owner
from ._repair import carry_over
from ._session import Session, ledger_error
from ._writer import Writer

_REOPEN_AFTER_SECONDS = 1.0
_SHOUT_EVERY_SECONDS = 60.0
# Who finds the file taken tries a few times at once, then lets SQLite wait inside one statement.
# That needs Python's lock for nothing; a loop of our own takes it from the program at every try.
_SHORT_PAUSES_SECONDS = (20e-6, 40e-6, 80e-6, 160e-6)
_INSIDE_MILLISECONDS = 10
# Threads ahead of us never wait for anything but their turn to run: that is no outage.
_THREADS_WAIT_SECONDS = 5.0
# So often another process had the file, in so short a time: it is no accident.
_CONTENDED_TIMES = 3
_CONTENDED_SECONDS = 10.0
_logger = logging.getLogger("tollspan.ledger")
_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


class SharedSession:
    """Does steps on the file, each in a transaction of its own.

    Args:
        home: The folder that holds the file; made when missing.
        path: The file.
        post_wait_seconds: How long the writer may wait for other processes.
        is_durable: Every commit waits for the disk.
    """

    _writer: Writer

    def __init__(
        self, home: Path, path: Path, *, post_wait_seconds: float, is_durable: bool
    ) -> None:
        self.home = home
        self.path = path
        self.on_contention: Callable[[], None] | None = None
        """Is called once, in a caller's thread, when other processes often have the file."""
        self._post_wait_seconds = post_wait_seconds
        self._is_durable = is_durable
        self._shouted_at = -_SHOUT_EVERY_SECONDS

    def _begin_session(self) -> None:
        """Set up what belongs to this process alone: at the start, and anew in a forked child."""
        self._lock = threading.Lock()
        self._has_lock_to_fork = False
        self._session: Session | None = None
        self._owner_lock = threading.Lock()
        self._owner: Owner | None = None
        self._lost: list[Session] = []
        self._closed_until = 0.0
        self._contended_at = 0.0
        self._contended = 0

    def _run(
        self, step: Callable[[Session, _Argument], _Result], argument: _Argument, wait: float
    ) -> _Result:
        """Do one step, waiting for threads and processes a bounded time."""
        try:
            return self._once(step, argument, wait)
        except sqlite3.OperationalError:  # somebody else has the file this instant
            self._note_contention()
            for pause in _SHORT_PAUSES_SECONDS:
                time.sleep(pause)
                with contextlib.suppress(sqlite3.OperationalError):
                    return self._once(step, argument, wait)

        def wait_inside(session: Session, argument: _Argument) -> _Result:
            session.wait_inside(_INSIDE_MILLISECONDS)
            try:
                return step(session, argument)
            finally:
                session.wait_inside(0)

        return patiently(lambda: self._once(wait_inside, argument, wait), wait, self.path)

    def _once(
        self, step: Callable[[Session, _Argument], _Result], argument: _Argument, wait: float
    ) -> _Result:
        """Do one step, waiting for threads only.

        Raises:
            sqlite3.OperationalError: Another process has the file.
            LedgerError: The ledger can't be used.
        """
        if not self._lock.acquire(timeout=_THREADS_WAIT_SECONDS):
            raise LedgerUnavailableError(f"other threads kept it for {_THREADS_WAIT_SECONDS} s")
        try:
            return step(self._session or self._open_own(wait), argument)
        except (sqlite3.Error, OSError) as error:
            if is_busy(error):
                raise
            raise self._trouble(error) from error
        finally:
            self._lock.release()

    def _run_now(
        self, step: Callable[[Session, _Argument], _Result], argument: _Argument
    ) -> _Result | Busy:
        """Do one step if that needs no waiting at all."""
        if self._is_durable or not self._lock.acquire(blocking=False):
            return BUSY
        try:
            session = self._session
            if session is None:  # the writer opens its own at once, and this one soon
                return BUSY
            return step(session, argument)
        except (sqlite3.Error, OSError) as error:
            if is_busy(error):
                self._note_contention()
                return BUSY
            raise self._trouble(error) from error
        finally:
            self._lock.release()

    def _owner_name(self) -> str:
        owner = self._owner
        if owner is None:
            with self._owner_lock:
                owner = self._owner = self._owner or Owner(self.home)
        return owner.name

    def _note_contention(self) -> None:
        """Count that another process had the file; tell it once when that happens often."""
        now = time.monotonic()
        if now - self._contended_at > _CONTENDED_SECONDS:
            self._contended_at, self._contended = now, 0
        self._contended += 1
        tell = self.on_contention
        if self._contended >= _CONTENDED_TIMES and tell is not None:
            self.on_contention = None
            tell()

    def _open_own(self, wait: float) -> Session:
        """Open the shared connection; the caller has the lock."""
        self._writer.start()
        if self._lost:
            raise LedgerUnavailableError(f"{self.path} is being carried over to a new file")
        if time.monotonic() < self._closed_until:
            raise LedgerUnavailableError(
                f"{self.path} was out of order a moment ago; trying again soon"
            )
        session = self._open(wait)
        if self._writer.has_lost_its_file() or self._lost:  # it would not carry what we hold
            session.close()
            raise LedgerUnavailableError(f"{self.path} is being carried over to a new file")
        self._session = session
        return session

    def _open(self, wait: float) -> Session:
        check_home(self.home)
        return Session(self.path, is_durable=self._is_durable, wait_seconds=wait)

    def _open_for_writer(self) -> Session:
        """Open the file; if it is there in place of one that was lost, carry that over first."""
        wait = self._post_wait_seconds
        main = self._session
        if not self._lost and (main is None or not main.has_lost_its_file()):
            session = self._open(wait)
            session.wait_inside(_INSIDE_MILLISECONDS)
            return session
        if not self._lock.acquire(timeout=_THREADS_WAIT_SECONDS):
            raise LedgerUnavailableError(f"other threads kept it for {_THREADS_WAIT_SECONDS} s")
        try:
            self._drop_session()
            for lost in self._lost:
                lost.take_log_away()
            session = self._open(wait)
            try:
                for lost in self._lost:
                    _carry_over(session, lost, self._owner_name(), wait)
            except BaseException:
                session.close()
                raise
            session.wait_inside(_INSIDE_MILLISECONDS)
            for lost in self._lost:
                lost.close()  # SQLite leaves the log of a file alone that is not at its path
            self._lost.clear()
            return session
        finally:
            self._lock.release()

    def _trouble(self, error: sqlite3.Error | OSError) -> LedgerError:
        """Put an error into our words, and close the file for a while."""
        translated = ledger_error(error, self.path)
        self._drop_session()
        self._closed_until = time.monotonic() + _REOPEN_AFTER_SECONDS
        self._shout(str(translated))
        return translated

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._retire(session)

    def _retire(self, session: Session) -> None:
        """Close a connection, or keep it when it is the only way to what a lost file holds."""
        if session.has_lost_its_file():
            self._lost.append(session)
        else:
            session.close()

    def _shout(self, text: str) -> None:
        now = time.monotonic()
        if now - self._shouted_at >= _SHOUT_EVERY_SECONDS:
            self._shouted_at = now
            _logger.error("tollspan's ledger is out of order: %s", text)


def _carry_over(target: Session, lost: Session, owner: str, wait: float) -> None:
    """Bring what a lost file holds into the new one, in one transaction."""
    target.begin(wait)
    try:
        carry_over(target, (lost.connection, owner))
        target.commit()
    except BaseException:
        target.rollback()
        raise
