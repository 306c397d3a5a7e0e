"""The SQLite ledger: authority, books and event store of one host, in one file.

Every process of the host opens the same file. A caller's thread writes through one shared
connection under a short lock; an event loop tries once and hands over to the writer thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from decimal import Decimal
from pathlib import Path
from typing import Any

from tollspan.budget import (
    FOLD_AFTER_SECONDS,
    Account,
    Balance,
    Busy,
    DeferredHold,
    Folder,
    FoldLook,
    FoldOrder,
    GivenBack,
    Grant,
    Hold,
    Lease,
    Refusal,
    Touch,
    Unresolved,
    Want,
)
from tollspan.usage import Adjustment, DecisionEvent, Event, LedgerError, UsageEvent

from . import _files, _folding, _jobs, _processes
from ._idle import touch_in
from ._outbox import Outbox
from ._owner import alone, is_alive
from ._rescue import Rescue
from ._room import Room, RoomKeeper
from ._session import Session, ledger_error
from ._shared_session import SharedSession
from ._waiting import Waiting
from ._work import HoldWork, NoteWork, PostWork, ReleaseWork, SightWork
from ._writer import Work, Writer
from .reading import SETTLED, LedgerReader

LEDGER_FILE = "ledger.db"
JOB_HORIZON_SECONDS = 35 * 86_400.0
"""The default of `SQLiteLedger.job_horizon_seconds`: providers keep no results for longer."""
_SWEEP_EVERY_SECONDS = 5.0
_LAST_DRAIN_SECONDS = 5.0
_logger = logging.getLogger("tollspan.ledger")


class SQLiteLedger(SharedSession):
    """An authority and books on one file, for every thread and process of a host.

    Args:
        home: The folder that holds `ledger.db`; made when missing.
        wait_seconds: How long a hold may wait for other processes before it is given up.
        post_wait_seconds: The same for an event; longer, since the money is spent.
        is_durable: Survive power cuts too: every commit waits for the disk.
        clock: Unix time in nanoseconds, by which idle windows end.
        fold_after_seconds: How long an account is kept after the end of its period; None for ever.
    """

    def __init__(
        self,
        home: Path,
        *,
        wait_seconds: float = 0.25,
        post_wait_seconds: float = 2.0,
        is_durable: bool = False,
        clock: Callable[[], int] = time.time_ns,
        fold_after_seconds: int | None = FOLD_AFTER_SECONDS,
    ) -> None:
        super().__init__(
            home,
            home / LEDGER_FILE,
            post_wait_seconds=post_wait_seconds,
            is_durable=is_durable,
        )
        self._wait_seconds = wait_seconds
        self.job_horizon_seconds = JOB_HORIZON_SECONDS
        """After so long, what is held for a job whose end nobody has seen is unresolved."""
        self.room = Room()
        self._clock = clock
        self._fold_after_seconds = fold_after_seconds
        self._swept_at = 0.0
        self.on_unresolved: Callable[[Sequence[Unresolved]], None] | None = None
        """Is told what dead processes held, by whichever process turns it unresolved."""
        self._begin_life()
        _processes.tell(self)

    def _begin_life(self) -> None:
        """Set up what belongs to this process alone: at the start, and anew in a forked child."""
        self._begin_session()
        self._rescue = Rescue(self.home)
        self._folds = _folding.SessionFolds(self._clock)
        after = self._fold_after_seconds
        self._folder = None if after is None else Folder(self._folds, after_seconds=after)
        self._keeper = RoomKeeper(self.home, clock=self._clock)
        self._asker: Callable[[], str] = self._owner_name
        self._writer = Writer(
            self._open_for_writer,
            self._keep_house,
            self._retire,
            wait_seconds=self._post_wait_seconds,
            hasty_wait_seconds=self._wait_seconds,
        )

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
        work = HoldWork(hold, self._asker)
        self._enqueue(work)
        return work.future

    def release_soon(self, call_id: str) -> None:
        """Give back what the call holds, in the writer thread."""
        self._writer.put(ReleaseWork(call_id))

    def touch(self, touch: Touch) -> str:
        """Note that the owner of an account is active, and name its period.

        Raises:
            LedgerError: The ledger can't be used.
        """
        return self._run(touch_in, (touch, self._clock()), self._wait_seconds)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand; raises `LedgerError` when the file can't be read."""
        return self._run(Session.balances, accounts, self._wait_seconds)

    def is_first(self, account: Account, share: Decimal) -> bool:
        """Say whether no process has told yet that an account passed a share, and note it.

        Raises:
            LedgerError: The ledger can't be used.
        """
        return self._run(Session.is_first, (account, f"{share.normalize():f}"), self._wait_seconds)

    # -- leases --

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        """Grant in every account or in none; a lease lives as long as its process.

        Raises:
            LedgerError: The ledger can't answer; nothing was granted.
        """
        return self._run(self._grant_in, (lease, wants), self._wait_seconds)

    def grant_now(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal | Busy:
        """Grant if nobody else has the file this instant, else `BUSY`.

        Raises:
            LedgerError: As in `grant`.
        """
        return self._run_now(self._grant_in, (lease, wants))

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> None:
        """Take back what a lease does not need, all of it or nothing.

        Raises:
            LedgerError: The ledger can't answer; nothing went back.
        """
        self._run(_give_back_in, (lease, parts), self._post_wait_seconds)

    def _grant_in(self, session: Session, asked: tuple[Lease, Sequence[Want]]) -> Grant | Refusal:
        return session.grant(*asked, self._asker())

    def holder(self) -> str:
        """Name this process, whose leases become unresolved when it dies.

        Raises:
            LedgerUnavailableError: The home takes no file that proves that it is alive.
        """
        try:
            return self._owner_name()
        except OSError as error:
            raise ledger_error(error, self.home) from error

    # -- books --

    def post(self, event: UsageEvent, hold: Hold | None) -> None:  # noqa: ARG002 - the port's
        """Store the event once and settle its hold, in one transaction.

        Raises:
            LedgerError: Nothing was stored.
        """
        self._run(Session.post, event, self._post_wait_seconds)

    def post_now(
        self,
        event: UsageEvent,
        hold: Hold | None,  # noqa: ARG002 - the port's
    ) -> Busy | None:
        """Store if nobody else has the file this instant, else `BUSY`.

        Raises:
            LedgerError: Nothing was stored.
        """
        return self._run_now(Session.post, event)

    def post_soon(self, event: UsageEvent, hold: Hold | None) -> Future[None]:
        """Hand the event to the writer thread, which rescues it if it must."""
        work = PostWork(event, hold, self.rescue)
        self._enqueue(work)
        return work.future

    def rescue(self, event: UsageEvent, hold: Hold | None) -> None:  # noqa: ARG002 - the port's
        """Keep an event that can't be posted; the writer thread posts it when it can be."""
        self._keep_aside(event)

    def waiting(self) -> Waiting:
        """Count the events that wait outside the file, of every process of the home."""
        return self._rescue.waiting()

    def note(self, event: DecisionEvent) -> None:
        """Store a refusal, in the writer thread."""
        self._enqueue(NoteWork(event, self._keep_aside))

    def sight(self, kind: str, name: str) -> None:
        """Count something that should not happen, in the writer thread."""
        self._enqueue(SightWork(kind, name, time.time_ns()))

    def adjust(self, adjustment: Adjustment) -> None:
        """Store an adjustment once, and post it; what it settles is unresolved no more.

        Raises:
            LedgerError: Nothing was stored, or it is about a job whose end was told meanwhile.
        """
        step = Session.adjust if adjustment.call_id is None else _jobs.settle_by_hand
        self._run(step, adjustment, self._post_wait_seconds)

    # -- jobs --

    def defer(self, deferred: DeferredHold) -> bool:
        """Keep what a call holds until its job's end is seen, by any process of this host.

        Raises:
            LedgerError: Nothing was kept.
        """
        return self._run(_jobs.defer, deferred, self._post_wait_seconds)

    def remember(self, deferred: DeferredHold) -> bool:
        """Keep a call for its job while another authority has its money.

        Raises:
            LedgerError: Nothing was kept.
        """
        return self._run(_jobs.remember, deferred, self._post_wait_seconds)

    def deferred(self, provider: str, job_id: str) -> tuple[DeferredHold, ...]:
        """Return the calls that are a job, by their parts.

        Raises:
            LedgerError: The ledger can't be read.
        """
        return self._run(_jobs.find, (provider, job_id), self._post_wait_seconds)

    # -- what is sent, and told --

    @property
    def outbox(self) -> Outbox:
        """What is sent to servers, and what they would not take."""
        return Outbox(LedgerReader(self.path), self._patiently, self.inode)

    def _patiently(self, step: Callable[[Session, Any], Any], argument: Any, /) -> Any:
        return self._run(step, argument, self._post_wait_seconds)

    def inode(self) -> int:
        """Return the inode of the file at the path; 0 while there is none."""
        return _files.inode(self.path)

    def note_settled(self, authority: str, number: int, inode: int) -> None:
        """Note up to which number events were settled with a shared authority.

        Args:
            authority: Its name.
            number: The last event's number, in the file of this inode: another file, that was put
                in its place meanwhile, counts anew.
            inode: That file's.

        Raises:
            LedgerError: The ledger can't be used.
        """
        if self.inode() != inode:
            return
        note = (f"{SETTLED}{authority}", str(number))
        self._run(Session.keep, note, self._post_wait_seconds)

    @contextlib.contextmanager
    def alone(self, what: str) -> Generator[bool]:
        """Say whether no other process of the home does this; none may until the block ends.

        Raises:
            LedgerUnavailableError: The home takes no file.
        """
        try:
            with alone(self.home, what) as is_alone:
                yield is_alone
        except OSError as error:
            raise ledger_error(error, self.home) from error

    # -- folding --

    def look(self, most: int) -> FoldLook:
        """Show accounts to whoever folds them; raises `LedgerError` when the file can't be read."""
        return self._run(_folding.look, most, self._wait_seconds)

    def fold(self, order: FoldOrder) -> bool:
        """Fold accounts; raises `LedgerError` when the file can't be written."""
        return self._run(_folding.fold, (order, self._clock()), self._wait_seconds)

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
        self._take_last_things()
        has_lock = self._lock.acquire(timeout=_LAST_DRAIN_SECONDS)
        if has_lock:
            self._drop_session()
            owner, self._owner = self._owner, None
            if owner is not None:
                owner.leave()
            self._lock.release()
        self._writer.resume()
        self._rescue.last_words()

    def sweep(self) -> int:
        """Turn holds of dead processes into unresolved ones; return how many calls.

        So are those of jobs whose end nobody has seen for too long.

        Raises:
            LedgerError: The ledger can't be used.
        """
        own = self._owner.name if self._owner else ""
        wait = self._post_wait_seconds
        horizon_ns = int(self.job_horizon_seconds * 1e9)
        found = self._run(_jobs.give_up, time.time_ns() - horizon_ns, wait)
        for name in self._run(_owners, None, wait):
            if name != own and not is_alive(self.home, name):
                found += self._run(Session.orphan, name, wait)
        tell = self.on_unresolved
        left = [one for one in found if one.amount]
        if left and tell is not None:
            tell(left)
        return len({one.lease_id for one in found})

    def take_rescued(self) -> int:
        """Post what was put aside, by this process or a dead one; return how many events.

        Raises:
            LedgerError: The ledger can't take them; they stay where they are.
        """
        try:
            owner = self._owner_name()
        except OSError as error:
            raise ledger_error(error, self.home) from error
        return self._rescue.hand_over(owner, self._store_all)

    def before_fork(self) -> None:
        """Close the file: SQLite's locks do not survive a fork. Both sides open it again."""
        self._writer.stop(_LAST_DRAIN_SECONDS)
        # A signal handler may fork in the middle of a call of ours: then the lock is not to be had.
        self._has_lock_to_fork = self._lock.acquire(timeout=_LAST_DRAIN_SECONDS)
        if self._has_lock_to_fork:
            self._drop_session()

    def after_fork_in_parent(self) -> None:
        """Go on: the file opens with the next call."""
        self._writer.resume()
        if self._has_lock_to_fork:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Start anew, as an owner of its own; the parent's holds stay the parent's."""
        if self._owner is not None:
            self._owner.forget()
        for session in (self._session, *self._lost):
            if session is not None:
                session.abandon()
        self._begin_life()

    # -- inside --

    def _hold_in(self, session: Session, hold: Hold) -> Refusal | None:
        return session.hold(hold, self._asker())

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

    def _keep_house(self, session: Session) -> bool:
        """Do what is due twice a second, in the writer thread; False when the file was lost."""
        main = self._session
        if session.has_lost_its_file() or (main is not None and main.has_lost_its_file()):
            _logger.error(
                "tollspan's ledger %s was deleted or replaced; carrying it over", self.path
            )
            self._retire(session)
            return False
        if self._lost:
            self._retire(session)
            return False
        if main is None:
            with contextlib.suppress(LedgerError):
                self._run(_nothing, None, self._wait_seconds)
        owner = self._owner_name_or_pid()
        if not self._rescue.is_empty(owner):
            self._rescue.hand_over(owner, self._store_all)
        now = time.monotonic()
        if now - self._swept_at >= _SWEEP_EVERY_SECONDS:
            self._swept_at = now
            self.sweep()
        if self._folder is not None:
            self._folds.session = session
            self._folder.step()
        self._keeper.tick(session, self.room)
        self._asker = self._keeper.asker(self._owner_name)
        return True

    def _store_all(self, events: list[Event]) -> None:
        """Store rescued events; those that are there already change nothing.

        Raises:
            LedgerError: Some were not stored.
        """
        for event in events:
            self._run(Session.store, event, self._wait_seconds)

    def _take_last_things(self) -> None:
        """Before the file is closed for good: bring what no later process could find."""
        session = self._session
        self._closed_until = 0.0
        try:
            if self._lost or (session is not None and session.has_lost_its_file()):
                self._open_for_writer().close()
            if self._rescue.is_in_memory:
                self.take_rescued()
        except (sqlite3.Error, OSError, LedgerError) as error:
            self._shout(str(error))


def _owners(session: Session, _: None) -> list[str]:
    return session.owners()


def _give_back_in(session: Session, asked: tuple[Lease, Sequence[GivenBack]]) -> None:
    session.give_back(*asked)


def _nothing(session: Session, _: None) -> None:
    """Touch nothing: to see whether the file opens."""
