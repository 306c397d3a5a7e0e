"""An authority and books with an allowance beside them, for when the authority can't answer.

Nothing here is in a caller's way: slices are asked for in another thread, and a call that can't be
held is let through from them, or not, at once.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from tollspan.usage import DecisionEvent, LedgerError, UsageEvent, new_call_id

from .allowances import Allowance
from .deferring import DeferredHold
from .errands import Errands
from .idle import Touch
from .leases import GivenBack, Lease, LeaseLostError, Lessor, Settlement
from .ports import Authority, Books, Busy
from .slices import IDLE_SECONDS, Slices
from .values import Account, Balance, Hold, Refusal

_MOST_QUESTIONS = 64
_Settle = Callable[[Sequence[Settlement]], None]


def _new_holder() -> str:
    return f"allowance-{secrets.token_hex(8)}"


def _new_id() -> str:
    return new_call_id(time.time_ns())


class AllowedLedger:
    """An authority, books, and what may be spent while the authority can't answer.

    Safe for threads and tasks; forked children call `forget`.

    Args:
        authority, books: Decide and keep events, as long as they can.
        lessor: Grants slices.
        direct: Keeps the events of calls that were let through from slices.
        settle: Takes settlements, where leases expire; None where they live as long as the process.
        holder: Names this process as a holder of slices; no two are ever the same.
        new_id: Makes an id for what an ended lease had left: it is settled once under that.
        idle_seconds: When a slice goes back that no call has touched.
        clock: Monotonic seconds.
        run_soon: Runs a function in another thread; None for a thread of its own.
    """

    def __init__(  # noqa: PLR0913 - what tests fix is by keyword
        self,
        authority: Authority,
        books: Books,
        lessor: Lessor,
        direct: Books,
        *,
        settle: _Settle | None = None,
        holder: Callable[[], str] = _new_holder,
        new_id: Callable[[], str] = _new_id,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        run_soon: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._authority = authority
        self._books = books
        self._lessor = lessor
        self._direct = direct
        self._settle_with = settle
        self._holder = holder
        self._new_id = new_id
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._run_soon = run_soon
        self._allowance: Allowance | None = None
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a holder of its own: in a forked child the slices stay the parent's."""
        self._lock = threading.Lock()
        self._errands = Errands()
        self._soon = self._run_soon or self._errands.run
        self._slices = Slices(self._holder)
        self._unsent: list[GivenBack] = []
        self._unsettled: list[Settlement] = []
        self._turn = threading.Lock()
        self._is_away = False
        self._now = self._clock()

    def decide_by(self, authority: Authority, books: Books) -> None:
        """Have another authority decide, and other books keep what it held."""
        self._books = books
        self._authority = authority

    def use(self, allowance: Allowance | None) -> None:
        """Go by other rules; None where nothing is let through unasked: slices go back by and by.

        They say as well what is in force of limits.
        """
        with self._lock:
            self._allowance = allowance
            self._slices.map_anew()

    def take(self, hold: Hold, *, is_looking: bool = False) -> Hold | None:
        """Hold in allowances what the authority can't hold; None where this process has too little.

        Args:
            hold: What could not be held.
            is_looking: Only say what would be held.
        """
        if self._allowance is None:
            return None
        with self._lock:
            return self._slices.take(hold, is_looking=is_looking)

    # -- authority --

    def hold(self, hold: Hold) -> Refusal | None:
        """Hold as the authority does, and have slices ready for calls like it."""
        self._know(hold)
        return self._authority.hold(hold)

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:
        """Do as `hold` does, but never wait."""
        self._know(hold)
        return self._authority.hold_now(hold)

    def hold_soon(self, hold: Hold) -> Future[Refusal | None]:
        """Hand the hold to another thread."""
        return self._authority.hold_soon(hold)

    def release_soon(self, call_id: str) -> None:
        """Give back what the call holds."""
        if not self._settle(call_id):
            self._authority.release_soon(call_id)

    def touch(self, touch: Touch) -> str:
        """Ask the authority."""
        return self._authority.touch(touch)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand."""
        return self._authority.balances(accounts)

    # -- books --

    def post(self, event: UsageEvent, hold: Hold | None) -> None:
        """Store the event; what it held in slices beyond its charges is theirs again.

        Raises:
            LedgerError: Nothing was stored.
        """
        if self._slices.has(event.call.id):
            self._direct.post(self._named(event), hold)
            self._settle(event.call.id)
        else:
            self._books.post(event, hold)

    def post_now(self, event: UsageEvent, hold: Hold | None) -> Busy | None:
        """Do as `post` does, but never wait."""
        if not self._slices.has(event.call.id):
            return self._books.post_now(event, hold)
        answer = self._direct.post_now(self._named(event), hold)
        if answer is None:
            self._settle(event.call.id)
        return answer

    def post_soon(self, event: UsageEvent, hold: Hold | None) -> Future[None]:
        """Hand the event to another thread, which rescues it if it must."""
        if not self._slices.has(event.call.id):
            return self._books.post_soon(event, hold)
        future = self._direct.post_soon(self._named(event), hold)
        self._settle(event.call.id)  # it will be charged, now or when it is rescued
        return future

    def rescue(self, event: UsageEvent, hold: Hold | None) -> None:
        """Keep an event that could not be stored."""
        if self._slices.has(event.call.id):
            self._direct.rescue(self._named(event), hold)
            self._settle(event.call.id)
        else:
            self._books.rescue(event, hold)

    def note(self, event: DecisionEvent) -> None:
        """Store a refusal, later."""
        self._books.note(event)

    def defer(self, deferred: DeferredHold) -> bool:
        """Keep what a call holds for its job; not what is held in slices, which are this process's.

        Raises:
            LedgerError: Nothing was kept.
        """
        return not self._slices.has(deferred.call.id) and self._books.defer(deferred)

    def deferred(self, provider: str, job_id: str) -> tuple[DeferredHold, ...]:
        """Return what is kept for a job.

        Raises:
            LedgerError: The books can't be read.
        """
        return self._books.deferred(provider, job_id)

    def _named(self, event: UsageEvent) -> UsageEvent:
        with self._lock:
            return self._slices.named(event)

    def _settle(self, call_id: str) -> bool:
        if not self._slices.has(call_id):
            return False
        with self._lock:
            return self._slices.settle(call_id)

    # -- slices --

    def _know(self, hold: Hold) -> None:
        """Have slices asked for where a call is planned for the first time, or needs more."""
        allowance = self._allowance
        if allowance is None or self._slices.touch(hold, self._now):
            return
        with self._lock:
            is_wanted = self._slices.want(hold, allowance, self._now)
        if is_wanted and self._turn.acquire(blocking=False):
            self._soon(self._take_turn)

    def tick(self) -> None:
        """Ask for what was used, give back what lies idle, keep the lease; about once a second.

        The authority is asked in another thread than this: it may be slow, or away.
        """
        self._now = self._clock()
        if not self._turn.acquire(blocking=False):
            return
        with self._lock:
            is_wanted = self._slices.look(self._now)
            if not self._is_away:  # what nobody hears may be needed yet
                self._unsent += self._slices.collect(self._now, idle_seconds=self._idle_seconds)
            is_due = self._now >= self._slices.renew_at
        if is_wanted or is_due or self._unsent or self._unsettled:
            self._soon(self._take_turn)
        else:
            self._turn.release()

    def close(self, wait_seconds: float = 5.0) -> None:
        """Give back everything that no call holds, and end the thread."""
        self._errands.end(wait_seconds)
        if not self._turn.acquire(timeout=wait_seconds):
            return  # somebody waits for an answer: what is left stays counted
        try:
            with self._lock:
                self._unsent += self._slices.empty()
            self._tell()
        except LedgerError:
            pass  # it stays counted
        finally:
            self._turn.release()

    def _take_turn(self) -> None:
        """Tell the authority what it must know, and ask what is wanted; one thread at a time."""
        is_away = True
        try:
            self._tell()
            for _ in range(_MOST_QUESTIONS):
                if not self._ask():
                    break
            is_away = False
        except LedgerError:
            pass  # the next turn tries again
        finally:
            self._is_away = is_away
            self._turn.release()

    def _tell(self) -> None:
        """Keep the lease, give back what is not needed, and settle what ended leases had left."""
        with self._lock:
            lease = self._slices.lease
            unsent, self._unsent = self._unsent, []
            is_due = self._clock() >= self._slices.renew_at
        if lease is not None and (unsent or is_due):
            self._send(lease, unsent)
        if self._settle_with is not None and self._unsettled:
            self._settle_with(self._unsettled)
            self._unsettled = []

    def _send(self, lease: Lease, unsent: list[GivenBack]) -> None:
        asked_at = self._clock()
        is_heard = False
        try:
            life_seconds = self._lessor.give_back(lease, unsent)
            is_heard = True
            with self._lock:
                self._slices.live(asked_at, life_seconds)
        except LeaseLostError:
            is_heard = True
            self._lose()
        finally:
            if not is_heard:
                with self._lock:
                    self._unsent = unsent + self._unsent

    def _ask(self) -> bool:
        """Ask for some of what is wanted; False when there is nothing."""
        asked_at = self._clock()
        with self._lock:
            asking = self._slices.ask()
        if asking is None:
            return False
        lease, slices, wants = asking
        try:
            answer = self._lessor.grant(lease, wants)
        except LeaseLostError:
            self._lose()
            self._tell()
            return True
        with self._lock:
            if isinstance(answer, Refusal):
                self._slices.refused(slices, answer.balances, asked_at)
            else:
                self._slices.granted(slices, answer, asked_at)
        return True

    def _lose(self) -> None:
        """Let go of a lease that is over; what no call had of it is settled as not spent."""
        with self._lock:
            left = self._slices.lose()
            self._unsent = []
        if left is not None and self._settle_with is not None:
            lease, charges = left
            self._unsettled.append(
                Settlement(call_id=self._new_id(), lease_id=lease.id, charges=charges)
            )
