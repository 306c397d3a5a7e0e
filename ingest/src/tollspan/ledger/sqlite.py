"""The SQLite ledger: authority, books and event store of one host, in one file.

Every process of the host opens the same file. A caller's thread writes through one shared
connection under a short lock; an event loop tries once and hands over to the writer thread.
"""

from __future__ import annotations

import atexit
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from tollspan.budget import BUSY, Busy, Hold, Refusal
from tollspan.usage import DecisionEvent, Event, LedgerError, LedgerUnavailableError, UsageEvent

from ._home import check_home
from ._owner import Owner, is_alive
from ._repair import carry_over
from ._rescue import Rescue
from ._session import Session, is_busy, ledger_error
from ._work import HoldWork, NoteWork, PostWork, ReleaseWork, SightWork
from ._writer import Work, Writer

LEDGER_FILE = "ledger.db"
_SWEEP_EVERY_SECONDS = 5.0
_REOPEN_AFTER_SECONDS = 1.0
_SHOUT_EVERY_SECONDS = 60.0
_LAST_DRAIN_SECONDS = 5.0
_logger = logging.getLogger("tollspan.ledger")
_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


class SQLiteLedger:
    """An authority and books on one file, for every thread and process of a host.

    Args:
        home: The folder that holds `ledger.db`; made when missing.
        wait_seconds: How long a hold may wait for other writers before it is given up.
        post_wait_seconds: The same for an event; longer, since the money is spent.
        is_durable: Survive power cuts too: every commit waits for the disk.
    """

    def __init__(
        self,
        home: Path,
        *,
        wait_seconds: float = 0.25,
        post_wait_seconds: float = 2.0,
        is_durable: bool = False,
    ) -> None:
        self.home = home
        self.path = home / LEDGER_FILE
        self._wait_seconds = wait_seconds
        self._post_wait_seconds = post_wait_seconds
        self._is_durable = is_durable
        self._rescue = Rescue(home)
        self._shouted_at = -_SHOUT_EVERY_SECONDS
        self._swept_at = 0.0
        self._begin_life()
        _ledgers.add(self)

    def _begin_life(self) -> None:
        """Set up what belongs to this process alone: at the start, and anew in a forked child."""
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._owner: Owner | None = None
        self._closed_until = 0.0
        self._writer = Writer(self._open, self._keep_house, wait_seconds=self._post_wait_seconds)

    # -- authority --

    def hold(self, hold: Hold) -> Refusal | None:
        """Hold in every account of it or in none, waiting for other writers a bounded time.

        Raises:
            LedgerError: The ledger can't answer; nothing is held.
        """
        return self._run(self._hold_in, hold, self._wait_seconds)

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:
        """Hold if nobody else has the file this instant, else `BUSY`.

        Raises:
            LedgerError: As in `hold`.
        """
        return self._run_now(self._hold_in, hold)

    def hold_soon(self, hold: Hold) -> Future[Refusal | None]:
        """Hand the hold to the writer thread; a future cancelled before its turn holds nothing."""
        work = HoldWork(hold, self._owner_name)
        self._enqueue(work)
        return work.future

    def release_soon(self, call_id: str) -> None:
        """Give back what the call holds, in the writer thread."""
        self._writer.put(ReleaseWork(call_id))

    # -- books --

    def post(self, event: UsageEvent, hold: Hold | None) -> None:
        """Store the event once and settle its hold, in one transaction.

        Raises:
            LedgerError: Nothing was stored.
        """
        self._run(_post, (event, hold), self._post_wait_seconds)

    def post_now(self, event: UsageEvent, hold: Hold | None) -> Busy | None:
        """Store if nobody else has the file this instant, else `BUSY`.

        Raises:
            LedgerError: Nothing was stored.
        """
        return self._run_now(_post, (event, hold))

    def post_soon(self, event: UsageEvent, hold: Hold | None) -> Future[None]:
        """Hand the event to the writer thread, which rescues it if it must. Takes no lock."""
        work = PostWork(event, hold, self.rescue)
        self._writer.put(work)
        return work.future

    def rescue(self, event: UsageEvent, hold: Hold | None) -> None:  # noqa: ARG002 - the port's
        """Keep an event that can't be posted; the writer thread posts it when it can be."""
        self._keep_aside(event)

    def note(self, event: DecisionEvent) -> None:
        """Store a refusal, in the writer thread."""
        self._enqueue(NoteWork(event, self._keep_aside))

    def sight(self, kind: str, name: str) -> None:
        """Count something that should not happen, in the writer thread."""
        self._enqueue(SightWork(kind, name, time.time_ns()))

    # -- life --

    def open(self) -> None:
        """Open the file now, so that the first call does not have to.

        Raises:
            LedgerError: It can't be used.
        """
        self._run(_nothing, None, self._post_wait_seconds)

    def close(self) -> None:
        """Do what is queued, close the file, leave. A later call opens it again."""
        self._writer.stop(_LAST_DRAIN_SECONDS)
        with self._lock:
            self._drop_session()
            owner, self._owner = self._owner, None
            if owner is not None:
                owner.leave()
        self._writer.resume()
        self._rescue.last_words()

    def sweep(self) -> int:
        """Turn holds of dead processes into unresolved ones; return how many calls.

        Raises:
            LedgerError: The ledger can't be used.
        """
        return self._run(self._sweep_in, None, self._post_wait_seconds)

    def take_rescued(self) -> int:
        """Post what was put aside, by this process or a dead one; return how many events.

        Raises:
            LedgerError: The ledger can't take them; they stay where they are.
        """
        with self._lock:
            session = self._session or self._open_own()
            return self._rescue.hand_over(
                self._owner_name(), lambda events: _store_all(session, events)
            )

    def before_fork(self) -> None:
        """Close the file: SQLite's locks do not survive a fork. Both sides open it again."""
        self._writer.stop(_LAST_DRAIN_SECONDS)
        self._lock.acquire()
        self._drop_session()

    def after_fork_in_parent(self) -> None:
        """Go on: the file opens with the next call."""
        self._writer.resume()
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Start anew, as an owner of its own; the parent's holds stay the parent's."""
        if self._owner is not None:
            self._owner.forget()
        self._begin_life()

    # -- inside --

    def _run(
        self, step: Callable[[Session, _Argument], _Result], argument: _Argument, wait: float
    ) -> _Result:
        """Do one step in a transaction, waiting for threads and processes a bounded time."""
        if not self._lock.acquire(timeout=wait):
            raise LedgerUnavailableError(f"other threads kept the ledger for {wait} s")
        try:
            session = self._session or self._open_own()
            session.begin(wait)
            return _finish(session, step, argument)
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error
        finally:
            self._lock.release()

    def _run_now(
        self, step: Callable[[Session, _Argument], _Result], argument: _Argument
    ) -> _Result | Busy:
        """Do one step in a transaction if that needs no waiting at all."""
        if not self._lock.acquire(blocking=False):
            return BUSY
        try:
            session = self._session or self._open_own()
            if not session.begin_now():
                return BUSY
            return _finish(session, step, argument)
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error
        finally:
            self._lock.release()

    def _hold_in(self, session: Session, hold: Hold) -> Refusal | None:
        return session.hold(hold, self._owner_name())

    def _sweep_in(self, session: Session, _: None) -> int:
        own = self._owner.name if self._owner else ""
        return sum(
            session.orphan(name)
            for name in session.owners()
            if name != own and not is_alive(self.home, name)
        )

    def _owner_name(self) -> str:
        owner = self._owner
        if owner is None:
            owner = self._owner = Owner(self.home)
        return owner.name

    def _open_own(self) -> Session:
        """Open the shared connection; the caller has the lock."""
        if time.monotonic() < self._closed_until:
            raise LedgerUnavailableError(
                f"{self.path} was out of order a moment ago; trying again soon"
            )
        self._session = self._open()
        self._writer.start()
        return self._session

    def _open(self) -> Session:
        check_home(self.home)
        return Session(self.path, is_durable=self._is_durable)

    def _trouble(self, error: sqlite3.Error | OSError) -> LedgerError:
        """Put an error into our words, and close the file for a while unless it was just busy."""
        translated = ledger_error(error, self.path)
        if not (isinstance(error, sqlite3.Error) and is_busy(error)):
            self._drop_session()
            self._closed_until = time.monotonic() + _REOPEN_AFTER_SECONDS
            self._shout(str(translated))
        return translated

    def _drop_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _enqueue(self, work: Work) -> None:
        self._writer.put(work)
        self._writer.start()

    def _keep_aside(self, event: Event) -> None:
        self._shout("events are put aside until the ledger can be used again")
        self._rescue.keep(event, self._owner_name_or_pid())

    def _owner_name_or_pid(self) -> str:
        """Name this process for its rescue file, even where no lock file can be made."""
        try:
            return self._owner_name()
        except OSError:
            return f"pid{os.getpid()}"

    def _shout(self, text: str) -> None:
        now = time.monotonic()
        if now - self._shouted_at >= _SHOUT_EVERY_SECONDS:
            self._shouted_at = now
            _logger.error("tollspan's ledger is out of order: %s", text)

    def _keep_house(self, session: Session) -> None:
        """Do what is due twice a second, in the writer thread, outside a transaction."""
        if session.has_lost_its_file():
            self._move_to_new_file(session)
            return
        owner = self._owner_name_or_pid()
        if not self._rescue.is_empty(owner):
            self._rescue.hand_over(owner, lambda events: _store_all(session, events))
        now = time.monotonic()
        if now - self._swept_at >= _SWEEP_EVERY_SECONDS:
            self._swept_at = now
            session.begin(self._wait_seconds)
            _finish(session, self._sweep_in, None)

    def _move_to_new_file(self, lost: Session) -> None:
        """Carry everything over to the file at the path: ours was deleted or replaced."""
        if not self._lock.acquire(timeout=self._post_wait_seconds):
            return
        try:
            _logger.error(
                "tollspan's ledger %s was deleted or replaced; carrying it over", self.path
            )
            found = self._open()
            try:
                found.begin(self._post_wait_seconds)
                _finish(found, carry_over, (lost.connection, self._owner_name()))
            finally:
                found.close()
            self._drop_session()
        finally:
            self._lock.release()
        raise LedgerUnavailableError("the ledger moved to a new file")


def _finish(
    session: Session, step: Callable[[Session, _Argument], _Result], argument: _Argument
) -> _Result:
    """Do a step in the transaction that has begun, and end it either way."""
    try:
        result = step(session, argument)
        session.commit()
    except BaseException:
        session.rollback()
        session.forget_accounts()
        raise
    return result


def _post(session: Session, entry: tuple[UsageEvent, Hold | None]) -> None:
    session.post(entry[0], entry[1])


def _nothing(session: Session, _: None) -> None:
    """Touch nothing: to see whether the file opens."""


def _store_all(session: Session, events: list[Event]) -> None:
    """Store rescued events in one transaction.

    Raises:
        LedgerError: None was stored.
    """

    def step(session: Session, events: list[Event]) -> None:
        for event in events:
            session.store(event)

    try:
        session.begin(1.0)
        _finish(session, step, events)
    except (sqlite3.Error, OSError) as error:
        raise ledger_error(error, session.path) from error


_ledgers: weakref.WeakSet[SQLiteLedger] = weakref.WeakSet()


def _for_each(action: Callable[[SQLiteLedger], None]) -> Callable[[], None]:
    def run() -> None:
        for ledger in list(_ledgers):
            action(ledger)

    return run


os.register_at_fork(
    before=_for_each(SQLiteLedger.before_fork),
    after_in_parent=_for_each(SQLiteLedger.after_fork_in_parent),
    after_in_child=_for_each(SQLiteLedger.after_fork_in_child),
)
atexit.register(_for_each(SQLiteLedger.close))
