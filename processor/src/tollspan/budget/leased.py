"""Decides from leases: holds are taken from what an authority granted to this process before.

The authority sees a grant and what is left of it, not each call. Calls are charged where they are
stored: their events name the lease, and what they cost is taken out of it there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial

import msgspec

from tollspan.usage import DecisionEvent, LedgerError, LedgerUnavailableError, UsageEvent

from .deferring import DeferredHold
from .errands import Errands
from .escrow import Ask, Escrow, by_lease
from .idle import Touch
from .lease_figures import LeaseState
from .leases import GivenBack, Grant, Lease, LeaseLostError, LeaseSettings, Lessor
from .ports import BUSY, Authority, Books, Busy
from .values import Account, Balance, Hold, Refusal

_DEFAULTS = LeaseSettings()
# While answers come, those who wait for theirs only wait for their turn: that is no outage.
_TURN_SECONDS = 5.0


class _Waiter:
    """A call that waits while others ask for what it needs too; they may have asked in vain."""

    __slots__ = ("accounts", "answers", "ends_at", "failure", "hold", "is_served")

    def __init__(self, hold: Hold) -> None:
        self.hold = hold
        self.accounts = frozenset([account for account, _ in hold.legs])
        self.is_served = False
        self.failure: LedgerError | None = None
        self.answers = -1
        self.ends_at = 0.0


class LeasedLedger:
    """An authority that decides from leases, and books that take calls out of them.

    Safe for threads and tasks; forked children call `forget`.

    Args:
        lessor: Grants.
        books: Store events and charge accounts.
        direct: Has the holds of calls that were made before there were leases.
        holder: Names this process; asked for once, and again after a fork.
        settings: Sizes and times.
        clock: Monotonic seconds.
        run_soon: Runs a function in another thread; None for threads of its own.
        is_open: Says whether the lessor grants at all; raises `LedgerError` as it does.
    """

    def __init__(
        self,
        lessor: Lessor,
        books: Books,
        direct: Authority | None = None,
        *,
        holder: Callable[[], str],
        settings: LeaseSettings = _DEFAULTS,
        clock: Callable[[], float] = time.monotonic,
        run_soon: Callable[[Callable[[], None]], None] | None = None,
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        self._is_open = is_open
        self._lessor = lessor
        self._books = books
        self._direct = direct
        self._holder = holder
        self._settings = settings
        self._clock = clock
        self._run_soon = run_soon
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a holder of its own: in a forked child the leases stay the parent's."""
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._errands = Errands()
        self._soon = self._run_soon or self._errands.run
        self._escrow = Escrow(self._holder, self._settings, self._clock)
        self._waiters: list[_Waiter] = []
        self._answers = 0
        self._asking: set[str] = set()
        self._given_up: set[str] = set()
        self._unsent: list[tuple[Lease, GivenBack]] = []
        self._is_sending = False

    # -- authority --

    def hold(self, hold: Hold) -> Refusal | None:
        """Hold from the lease; where it has too little, ask the authority for more, and wait.

        Raises:
            LedgerError: There is too little, and no answer in time; nothing is held.
        """
        if self._take(hold):
            return None
        return self._ask_until(hold)

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:
        """Hold from the lease, or from an authority that answers without any waiting.

        Raises:
            LedgerError: The authority can't answer; nothing is held.
        """
        if self._take(hold):
            return None
        with self._lock:
            ask = self._escrow.begin(hold)
            dry = self._escrow.dry()
        self._refill_soon(dry)
        if not isinstance(ask, Ask):
            return ask
        answer: Grant | Refusal | Busy | None = None
        try:
            answer = self._lessor.grant_now(ask.lease, ask.wants)
        except LeaseLostError:
            self._lose(ask.lease)
        finally:
            if answer is None or isinstance(answer, Busy):
                self._undo(ask)
        if answer is None or isinstance(answer, Busy):
            return BUSY
        return self._finish(hold, ask, answer)

    def hold_soon(self, hold: Hold) -> Future[Refusal | None]:
        """Hand the hold to another thread; a future cancelled in time holds nothing."""
        future: Future[Refusal | None] = Future()
        with self._lock:
            self._asking.add(hold.call_id)
        self._soon(partial(self._hold_for, future, hold))
        return future

    def _hold_for(self, future: Future[Refusal | None], hold: Hold) -> None:
        """Hold for somebody who waits; give back at once what he does not wait for any more."""
        try:
            if future.set_running_or_notify_cancel():
                future.set_result(self._ask_until(hold))
        except LedgerError as error:
            future.set_exception(error)
        finally:
            if not future.done():
                future.set_exception(LedgerError("a grant failed; see the log"))
            with self._lock:
                self._asking.discard(hold.call_id)
                is_given_up = hold.call_id in self._given_up
                self._given_up.discard(hold.call_id)
            if is_given_up:
                self.release_soon(hold.call_id)

    def release_soon(self, call_id: str) -> None:
        """Give back what the call holds."""
        with self._lock:
            if call_id in self._asking:
                self._given_up.add(call_id)
                return
            is_ours = self._escrow.settle(call_id)
        if is_ours:
            if self._settings.most == 1:
                self._soon(self.give_back)
        elif self._direct is not None:
            self._direct.release_soon(call_id)

    def state(self) -> LeaseState:
        """Return how the leases of this process stand."""
        with self._lock:
            return self._escrow.state()

    def has_room(self, hold: Hold) -> bool:
        """Say whether the lease alone has enough for a call; holds nothing, and asks nobody."""
        with self._lock:
            return self._escrow.has_room(hold)

    def touch(self, touch: Touch) -> str:
        """Ask the authority, which knows what all holders do."""
        return self._lessor.touch(touch)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand: what other processes have leased counts as held.

        Raises:
            LedgerError: The authority can't answer; or it would grant nothing, however they stand.
        """
        if not self._is_open():
            raise LedgerUnavailableError(
                "the authority is not open: it is new, or has lost what it knew; "
                "`tollspan authority open`"
            )
        balances = self._lessor.balances(accounts)
        with self._lock:
            return self._escrow.seen(balances)

    # -- books --

    def post(self, event: UsageEvent, hold: Hold | None) -> None:
        """Store the event and charge its accounts; what it held beyond that is the lease's again.

        Raises:
            LedgerError: Nothing was stored; the call holds what it held.
        """
        self._books.post(self._escrow.named(event), hold)
        self._settle(event)

    def post_now(self, event: UsageEvent, hold: Hold | None) -> Busy | None:
        """Do as `post` does, but never wait."""
        answer = self._books.post_now(self._escrow.named(event), hold)
        if answer is None:
            self._settle(event)
        return answer

    def post_soon(self, event: UsageEvent, hold: Hold | None) -> Future[None]:
        """Hand the event to another thread, which rescues it if it must."""
        future = self._books.post_soon(self._escrow.named(event), hold)
        self._settle(event)  # it will be charged, now or when it is rescued: the lease goes by that
        return future

    def rescue(self, event: UsageEvent, hold: Hold | None) -> None:
        """Keep an event that could not be stored."""
        self._books.rescue(self._escrow.named(event), hold)
        self._settle(event)

    def defer(self, deferred: DeferredHold) -> bool:
        """Keep what a call holds until its job's end is seen; it is the lease's no more.

        Raises:
            LedgerError: Nothing was kept; the call holds what it held.
        """
        call_id = deferred.call.id
        with self._lock:
            drawn = self._escrow.leaving(call_id)
        if drawn is not None:
            deferred = msgspec.structs.replace(deferred, lease_id=drawn[0], drawn=drawn[1])
        is_kept = self._books.defer(deferred)
        if is_kept:
            with self._lock:
                self._escrow.leave(call_id)
        return is_kept

    def deferred(self, provider: str, job_id: str) -> tuple[DeferredHold, ...]:
        """Return what is kept for a job.

        Raises:
            LedgerError: The books can't be read.
        """
        return self._books.deferred(provider, job_id)

    def note(self, event: DecisionEvent) -> None:
        """Store a refusal, later."""
        self._books.note(event)

    def _settle(self, event: UsageEvent) -> None:
        with self._lock:
            self._escrow.settle(event.call.id)

    # -- life --

    def tick(self) -> None:
        """Give back what lies unused, and keep the lease alive; call it about once a second."""
        self.give_back(idle_seconds=self._settings.idle_seconds)
        with self._lock:
            lease, renew_at = self._escrow.lease, self._escrow.renew_at
        if lease is not None and self._clock() >= renew_at:
            self._send(lease, [])

    def give_back(self, *, idle_seconds: float = 0.0) -> None:
        """Give back what no call holds, where nobody has asked for it so long.

        What can't be sent now is sent the next time.
        """
        with self._lock:
            lease = self._escrow.lease
            if lease is None or self._is_sending:
                return
            self._is_sending = True
            parts = self._escrow.collect(idle_seconds=idle_seconds)
            unsent, self._unsent = [*self._unsent, *((lease, part) for part in parts)], []
        try:
            for whose, those in by_lease(unsent).items():
                self._send(whose, those)
        finally:
            with self._lock:
                self._is_sending = False
                self._changed.notify_all()

    def close(self, wait_seconds: float = 5.0) -> None:
        """Give everything back that no call holds, and end the threads."""
        self._errands.end(wait_seconds)
        for _ in range(2):  # first what is left, then that nothing is
            with self._lock:  # another thread may just be at it, and not know of the last calls
                self._changed.wait_for(lambda: not self._is_sending, wait_seconds)
            self.give_back()

    # -- inside --

    def _take(self, hold: Hold) -> bool:
        """Hold from the lease alone; False when it has too little."""
        escrow = self._escrow
        with self._lock:
            is_taken = escrow.take(hold)
            dry = escrow.dry()
        self._refill_soon(dry)
        return is_taken

    def _ask_until(self, hold: Hold) -> Refusal | None:
        """Ask the authority for what is missing, or wait for another thread that does."""
        waiter = _Waiter(hold)
        with self._lock:
            self._escrow.figures.waits += 1
        ends_at = self._clock() + _TURN_SECONDS
        try:
            while True:
                with self._lock:
                    ask: Ask | Busy | None = None
                    if not waiter.is_served:
                        ask = BUSY if self._is_behind(waiter) else self._escrow.begin(hold)
                    if isinstance(ask, Busy):
                        self._wait(waiter, ends_at)
                        continue
                    if waiter in self._waiters:  # it asks by itself: others must not serve it too
                        self._waiters.remove(waiter)
                    dry = self._escrow.dry()
                self._refill_soon(dry)
                if ask is None:
                    return None
                answered = self._ask(hold, ask, ends_at)
                if not isinstance(answered, Busy):
                    return answered
        finally:
            with self._lock:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                    self._changed.notify_all()  # whoever stood behind it may be the first now

    def _is_behind(self, waiter: _Waiter) -> bool:
        """Say whether somebody waits for longer for what a call needs too; with the lock.

        Without turns, a thread that calls in a tight loop is back before one that waits has woken.
        """
        for one in self._waiters:
            if one is waiter:
                return False
            if not one.accounts.isdisjoint(waiter.accounts):
                return True
        return False

    def _ask(self, hold: Hold, ask: Ask, ends_at: float) -> Refusal | Busy | None:
        """Ask the authority; `BUSY` when the lease was lost, and all must begin anew."""
        answer: Grant | Refusal | None = None
        failure: LedgerError | None = None
        try:
            answer = self._lessor.grant(ask.lease, ask.wants)
        except LeaseLostError:
            self._lose(ask.lease)
            if self._clock() >= ends_at:
                raise
        except LedgerError as error:
            failure = error
            raise
        finally:
            if answer is None:
                self._undo(ask, failure)
        return BUSY if answer is None else self._finish(hold, ask, answer)

    def _wait(self, waiter: _Waiter, ends_at: float) -> None:
        """Wait until somebody's question is answered, and have it ask for us too; with the lock.

        Raises:
            LedgerUnavailableError: Nobody was answered for as long as a call may wait, or who asked
                was told that there is no answer: one after another they would wait without end.
        """
        if waiter not in self._waiters:
            self._waiters.append(waiter)
        now = self._clock()
        if waiter.answers != self._answers:  # while answers come, it is a matter of turns
            waiter.answers = self._answers
            waiter.ends_at = min(ends_at, now + self._settings.wait_seconds)
        seconds = waiter.ends_at - now
        waiting = self._escrow.waiting(waiter.hold)
        for part, amount in waiting:
            part.wanted += amount
        try:
            is_told = seconds > 0 and self._changed.wait(seconds)
        finally:
            for part, amount in waiting:
                part.wanted -= amount
        if waiter.failure is not None:
            raise LedgerUnavailableError(str(waiter.failure))
        if not is_told and not waiter.is_served:
            raise LedgerUnavailableError(f"no grant within {self._settings.wait_seconds} s")

    def _serve(self) -> None:
        """Serve those who wait, in turn, before anybody who comes later; with the lock."""
        for waiter in list(self._waiters):
            if self._escrow.take(waiter.hold):
                waiter.is_served, waiter.failure = True, None
                self._waiters.remove(waiter)
        self._changed.notify_all()

    def _finish(self, hold: Hold, ask: Ask, answer: Grant | Refusal) -> Refusal | Busy | None:
        """Take in an answer; `BUSY` when the lease was lost meanwhile, and all must begin anew."""
        with self._lock:
            self._answers += 1
            self._escrow.figures.answers += 1
            try:
                if isinstance(answer, Refusal):
                    self._escrow.undo(ask)
                    return self._escrow.in_calls_words(answer, hold)
                if not self._escrow.finish(hold, ask, answer):
                    return BUSY
                short = answer.short
                return None if short is None else self._escrow.in_calls_words(short, hold)
            finally:
                self._serve()

    def _refill_soon(self, dry: list[Ask]) -> None:
        for ask in dry:
            self._soon(partial(self._refill, ask))

    def _refill(self, ask: Ask) -> None:
        """Ask for more before it is needed, in another thread than a caller's."""
        answer: Grant | Refusal | None = None
        failure: LedgerError | None = None
        try:
            answer = self._lessor.grant(ask.lease, ask.wants)
        except LeaseLostError:
            self._lose(ask.lease)
        except LedgerError as error:
            failure = error  # whoever comes now asks again
        finally:
            if isinstance(answer, Grant):
                with self._lock:
                    self._answers += 1
                    self._escrow.figures.answers += 1
                    self._escrow.apply(ask, answer)
                    self._serve()
            else:
                self._undo(ask, failure)

    def _undo(self, ask: Ask, failure: LedgerError | None = None) -> None:
        """Put back what a question had reserved; where it failed, so it did for who waits."""
        with self._lock:
            self._escrow.figures.failures += failure is not None
            for waiter in self._waiters:
                if any(part in ask.missing for part, _ in self._escrow.waiting(waiter.hold)):
                    waiter.failure = failure
            self._escrow.undo(ask)
            self._serve()

    def _lose(self, lease: Lease) -> None:
        with self._lock:
            self._escrow.lose(lease)
            self._changed.notify_all()

    def _send(self, lease: Lease, parts: list[GivenBack]) -> None:
        """Tell the authority what goes back; not with the lock."""
        asked_at = self._clock()
        is_heard = False
        try:
            life_seconds = self._lessor.give_back(lease, parts)
            is_heard = True
            with self._lock:
                self._escrow.sent(lease, parts)
                if self._escrow.has(lease):
                    self._escrow.live(asked_at, life_seconds)
        except LeaseLostError:
            is_heard = True
            self._lose(lease)
        except LedgerError:
            pass  # told again the next time
        finally:
            with self._lock:
                if not is_heard:
                    again = self._escrow.unsent(lease, parts)
                    self._unsent += [(lease, part) for part in again]
                self._changed.notify_all()
