"""Books for a shared authority: events are stored here first, and its accounts follow from them."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import Final

from tollspan.budget import (
    FOLD_AFTER_SECONDS,
    Busy,
    DeferredHold,
    Folder,
    Hold,
    Settlement,
    SettlementsRefusedError,
    SharedAuthority,
    Unresolved,
    lowers,
)
from tollspan.ledger import POSTING_REFUSED, POSTINGS_TOLD, LedgerReader, SQLiteLedger
from tollspan.safety import Guard
from tollspan.usage import Adjustment, DecisionEvent, Fact, LedgerError, UsageEvent

from ._leftovers import Leftovers

MEMORY_SECONDS: Final = 34 * 86_400
"""How far back events are told again. Authorities remember settled calls for longer."""
_BATCH_SECONDS: Final = 0.05
_LOOK_EVERY_SECONDS: Final = 1.0
_EXPIRE_EVERY_SECONDS: Final = 10.0
_MOST_AT_ONCE: Final = 500
_TURN_SECONDS: Final = 2.0
"""How long an operator's posting waits until nobody else of the host settles."""
_LONGEST_PAUSE_SECONDS: Final = 30.0
_LOG_EVERY_SECONDS: Final = 60.0
_logger = logging.getLogger("tollspan.exporter")


class SettlingBooks:
    """Keeps events in the host's ledger, and settles them with a shared authority soon after.

    An event is durable when `post` returns; what it charges reaches the authority within about a
    tenth of a second, in batches, from one process of the host at a time, in the order in which
    events were stored. What a process leaves unsettled another one settles, this or a later one;
    what is settled twice counts once there.

    Args:
        ledger: Stores.
        authority: Is told what is charged.
        name: Names the authority among those that this host has settled with; no secret in it.
        clock: Unix nanoseconds.
        fold_after_seconds: How long an account is kept there after the end of its period; None for
            ever.
    """

    def __init__(
        self,
        ledger: SQLiteLedger,
        authority: SharedAuthority,
        *,
        name: str,
        clock: Callable[[], int] = time.time_ns,
        fold_after_seconds: int | None = FOLD_AFTER_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._authority = authority
        self.name = name
        self._clock = clock
        self._fold_after_seconds = fold_after_seconds
        self._guard = Guard("exporter.settling")
        self._leftovers: Leftovers | None = None
        self.refused: tuple[str, ...] = ()
        """What the authority would not take of this client when it was told last, by id."""
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """Begin anew: the parent's thread is not here."""
        self._work = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._logged_at = -_LOG_EVERY_SECONDS
        self._failed_at = -math.inf
        self._expired_at = 0.0
        after = self._fold_after_seconds
        self._folder = None if after is None else Folder(self._authority, after_seconds=after)

    def watch(self, tell: Callable[[Sequence[Unresolved]], None]) -> None:
        """Have it told what ended leases leave unresolved: each by one process of all hosts."""
        self._leftovers = Leftovers(self._authority, tell, clock=self._clock)

    # -- books --

    def post(self, event: UsageEvent, hold: Hold | None) -> None:
        """Store the event once; it is settled soon.

        Raises:
            LedgerError: Nothing was stored.
        """
        self._ledger.post(event, hold)
        self._wake()

    def post_now(self, event: UsageEvent, hold: Hold | None) -> Busy | None:
        """Do as `post` does, but never wait."""
        answer = self._ledger.post_now(event, hold)
        self._wake()
        return answer

    def post_soon(self, event: UsageEvent, hold: Hold | None) -> Future[None]:
        """Hand the event to the ledger's thread."""
        future = self._ledger.post_soon(event, hold)
        self._wake()
        return future

    def rescue(self, event: UsageEvent, hold: Hold | None) -> None:
        """Keep an event that could not be stored: it is settled once it is."""
        self._ledger.rescue(event, hold)

    def note(self, event: DecisionEvent) -> None:
        """Store a refusal."""
        self._ledger.note(event)

    def defer(self, deferred: DeferredHold) -> bool:
        """Keep a call for its job here; its money stays in the lease that it was held from.

        Raises:
            LedgerError: Nothing was kept.
        """
        return self._ledger.remember(deferred)

    def deferred(self, provider: str, job_id: str) -> tuple[DeferredHold, ...]:
        """Return what this host keeps for a job.

        Raises:
            LedgerError: The ledger can't be read.
        """
        return self._ledger.deferred(provider, job_id)

    # -- settling --

    def settle(self, *, most_seconds: float = math.inf, with_totals: bool = False) -> int:
        """Settle what this host's processes have stored; return how many events that were.

        Another process that is at it does it for all; then nothing is done here.

        Args:
            most_seconds: After so long no further batch is begun.
            with_totals: Settle what events were folded to as well: their events were settled one by
                one before, which an authority that lost its state does not know.

        Raises:
            LedgerError: The ledger can't be read, or the authority can't answer.
        """
        with self._ledger.alone("settling") as is_alone:
            if not is_alone:
                return 0
            done = 0
            self.refused = ()
            ends_at = time.monotonic() + most_seconds
            inode = self._ledger.inode()
            while time.monotonic() < ends_at:
                batch = self._unsettled(with_totals=with_totals)
                if not batch:
                    break
                settlements = _settlements(batch, with_totals=with_totals)
                self._tell(settlements)
                self._ledger.note_settled(self.name, batch[-1][0], inode)
                done += len(settlements)
            if with_totals and not self.refused:
                self._ledger.sight(POSTINGS_TOLD, self.name)
            now = time.monotonic()
            if now < ends_at and now - self._expired_at >= _EXPIRE_EVERY_SECONDS:
                self._expired_at = now
                self._authority.expire()
                if self._leftovers is not None:
                    self._leftovers.look()
            return done

    def adjust(self, adjustment: Adjustment) -> None:
        """Store an operator's posting, and settle it: in force when this returns.

        What lowers what is counted is told before others of this host tell it: their keys may not.

        Raises:
            LedgerError: Nothing was stored, or the authority can't answer; then it is told later.
        """
        ends_at = time.monotonic() + _TURN_SECONDS
        while not self._adjusted(adjustment, must=time.monotonic() >= ends_at):
            time.sleep(_BATCH_SECONDS)
        refused = self.refused
        self.settle()
        self.refused = refused or self.refused

    def _adjusted(self, adjustment: Adjustment, *, must: bool) -> bool:
        """Store it while nobody else of this host settles, and tell it; False when that is so."""
        with self._ledger.alone("settling") as is_alone:
            if not (is_alone or must):
                return False
            self.refused = ()
            self._ledger.adjust(adjustment)
            if lowers(adjustment.charges):
                self._tell(_settlements([(0, adjustment)], with_totals=False))
            return True

    def _tell(self, settlements: Sequence[Settlement]) -> None:
        """Settle some; what is refused is refused for good, and others don't wait for it.

        Raises:
            LedgerError: The authority can't answer.
        """
        if not settlements:
            return
        try:
            self._authority.settle(settlements)
        except SettlementsRefusedError as error:
            self.refused += error.refused
            self._ledger.sight(POSTING_REFUSED, self.name)
            _logger.warning(
                "tollspan: %s postings of operators are not in force: %s; run `tollspan authority "
                "fill` with the key of an admin", len(error.refused), error,
            )  # fmt: skip

    def waiting(self) -> int:
        """Count the events of this host that were not settled yet.

        Raises:
            LedgerError: The ledger can't be read.
        """
        reader = LedgerReader(self._ledger.path)
        return max(0, reader.highest_number() - reader.settled(self.name))

    def close(self, wait_seconds: float) -> None:
        """Settle what is left, for a bounded time; the next process of this host does the rest."""
        began = time.monotonic()
        ends_at = began + wait_seconds
        self._ending.set()
        self._work.set()
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(wait_seconds)
        if self._failed_at >= began:
            return  # it has just waited in vain, for as long as it may take
        with self._guard:
            try:
                self.settle(most_seconds=ends_at - time.monotonic())
            except LedgerError as error:
                self._say(error)

    def _unsettled(self, *, with_totals: bool) -> list[tuple[int, Fact]]:
        reader = LedgerReader(self._ledger.path)
        since = self._clock() - MEMORY_SECONDS * 1_000_000_000
        after = reader.settled(self.name)
        facts = reader.numbered_facts(after=after, since_unix_ns=since, with_sent=with_totals)
        return list(islice(facts, _MOST_AT_ONCE))

    def _wake(self) -> None:
        if not self._work.is_set():
            self._work.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                ending = self._ending = threading.Event()
                thread = threading.Thread(
                    target=self._run, args=(ending,), name="tollspan-settling", daemon=True
                )
                with self._guard:  # where there is none to be had, the next event tries again
                    thread.start()
                    self._thread = thread

    def _run(self, ending: threading.Event) -> None:
        """Settle until told to end; a thread that was given up ends when it can."""
        pause = 0.0
        while not ending.is_set():
            self._work.wait(_LOOK_EVERY_SECONDS)
            self._work.clear()
            if ending.wait(_BATCH_SECONDS + pause):
                return  # whoever ends us settles the rest
            with self._guard:
                try:
                    self.settle()
                    pause = 0.0
                    self._fold_some()
                except LedgerError as error:
                    self._failed_at = time.monotonic()
                    self._say(error)
                    longer = max(0.5, pause * 2) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
                    pause = min(_LONGEST_PAUSE_SECONDS, longer)

    def _fold_some(self) -> None:
        """Fold a few accounts of closed periods; where that fails, nothing waits for it."""
        try:
            if self._folder is not None:
                self._folder.step()
        except LedgerError as error:
            self._say(error)

    def _say(self, error: LedgerError) -> None:
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at = now
            _logger.warning("tollspan can't settle with its authority yet: %s", error)


def _settlements(batch: Sequence[tuple[int, Fact]], *, with_totals: bool) -> list[Settlement]:
    found = [_settlement(fact, with_totals=with_totals) for _, fact in batch]
    return [one for one in found if one is not None]


def _settlement(fact: Fact, *, with_totals: bool) -> Settlement | None:
    """Return what an event or an adjustment puts into accounts; None for nothing."""
    if isinstance(fact, DecisionEvent) or not (fact.charges or fact.lease_id):
        return None
    if isinstance(fact, UsageEvent) and fact.folded is not None and not with_totals:
        return None
    named = fact.id if isinstance(fact, Adjustment) else fact.call.id
    return Settlement(call_id=named, lease_id=fact.lease_id, charges=fact.charges)
