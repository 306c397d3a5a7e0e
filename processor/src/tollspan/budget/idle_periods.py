"""What one process knows of idle windows: which period each owner is in, and who was active.

A period that the authority named less than the idle time ago is certainly the current one. So calls
go by what is known; a thread beside them tells the authority who was active, once in a twentieth of
the idle time, and a call asks by itself only where nothing is known for sure.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from tollspan.usage import Call, LedgerError, LedgerUnavailableError

from .errands import Errands
from .idle import IDLE_SLACK, Place, Touch, idle_key, place_of, read_idle, read_unnamed
from .idle_plans import in_period, in_periods
from .plans import Plan
from .ports import is_asyncio
from .values import Account

Ask = Callable[[Touch], str]
"""Asks the authority as `Authority.touch` does."""
_TELL_SHARE = 2 * IDLE_SLACK
_ROUND_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
_NEVER = float("-inf")


class PeriodUnknownError(Exception):
    """A call can't be decided on before the authority says in which periods its owners are.

    Args:
        accounts: Those of which it has to be asked.
        began_at_us: When a period begins that is a new one, microseconds since the epoch.
    """

    def __init__(self, accounts: tuple[Account, ...], began_at_us: int) -> None:
        super().__init__("the authority must say which periods run")
        self.accounts = accounts
        self.began_at_us = began_at_us

    @property
    def places(self) -> frozenset[Place]:
        """What has to be asked for."""
        return frozenset(map(place_of, self.accounts))


class _Known:
    """What is known of one owner.

    Attributes:
        account: Its account, in the period that it is in, as far as is known.
        idle_seconds: The idle time that the rules said last.
        is_named_here: The authority has not said yet which one that is.
        next_us: When the next one would begin, microseconds since the epoch.
        told_at: When the authority was last asked that answered; by this process's clock.
        failed_at: When it was last asked in vain.
        active_at: When the owner was last active here.
        calls_open: How many of its calls are in flight here.
    """

    __slots__ = (
        "account",
        "active_at",
        "calls_open",
        "failed_at",
        "idle_seconds",
        "is_named_here",
        "next_us",
        "told_at",
    )

    def __init__(self, account: Account, idle_seconds: int, next_us: int) -> None:
        self.idle_seconds = idle_seconds
        self.next_us = next_us
        self.account = account
        self.name()
        self.told_at = self.failed_at = self.active_at = _NEVER
        self.calls_open = 0

    def name(self) -> None:
        """Go by a period that begins now."""
        self.account = self._next()
        self.is_named_here = True

    def _next(self) -> Account:
        return in_period(self.account, idle_key(self.idle_seconds, self.next_us))

    def is_alive(self, now: float) -> bool:
        """Say whether there was no silence of the idle time, as far as is known here."""
        if self.calls_open:
            return True
        return now - max(self.told_at, self.active_at) < self.idle_seconds

    def is_sure(self, now: float) -> bool:
        """Say whether the authority has named the period, and it can't have ended since."""
        return not self.is_named_here and self.is_alive(now)

    def may_go_on(self, now: float) -> bool:
        """Say whether a call may go by it without a question."""
        if now - self.told_at < self.idle_seconds / IDLE_SLACK:
            return True
        return self.is_sure(now) and now - self.failed_at < _AGAIN_SECONDS

    def _ago_ns(self, now: float) -> int:
        return max(0, int((now - self.active_at) * 1_000_000_000)) if self.active_at > _NEVER else 0

    def is_told(self) -> bool:
        """Say whether the authority knows that its owner was active."""
        return not self.calls_open and self.active_at <= self.told_at

    def is_due(self, now: float) -> bool:
        """Say whether it is time to tell the authority again."""
        return now - self.told_at >= self.idle_seconds / _TELL_SHARE

    def touch(self, now: float, *, is_asked: bool = False, is_look: bool = False) -> Touch:
        """Make the question; `is_asked`: for a call that is being made now."""
        goes_on = self.is_named_here or self.is_sure(now)
        return Touch(
            account=self.account if goes_on else self._next(),
            idle_seconds=self.idle_seconds,
            ago_ns=0 if self.calls_open or is_asked else self._ago_ns(now),
            is_known=self.is_sure(now),
            is_look=is_look,
        )


class IdlePeriods:
    """The periods of one process. Safe for threads.

    Args:
        ask: Asks the authority, waiting a bounded time.
        clock: Monotonic seconds.
        asks_first: A call waits for what is not known; else it goes by a period that this process
            names, and of which the authority hears later.
        most: Of so many owners it is known; those that were active longest ago are forgotten.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        clock: Callable[[], float] = time.monotonic,
        asks_first: bool = True,
        most: int = 20_000,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._asks_first = asks_first
        self._most = most
        self.forget()

    def forget(self) -> None:
        """Begin anew, with locks and threads that nobody has: also for a forked child."""
        self._lock = threading.Lock()
        self._errands = Errands()
        self._known: OrderedDict[Place, _Known] = OrderedDict()
        self._active: dict[Place, _Known] = {}
        self._calls: dict[str, tuple[_Known, ...]] = {}

    # -- calls --

    def settled(self, call: Call, plan: Plan, asked: Collection[Place] = ()) -> Plan:
        """Name the periods of a plan's idle windows.

        Args:
            call: The call.
            plan: Its plan.
            asked: Where the authority was asked for this call already: what is known now must do.

        Raises:
            PeriodUnknownError: The authority has to be asked first.
        """
        began_at_us = call.started_at_unix_ns // 1_000
        now = self._clock()
        with self._lock:
            unknown = tuple(
                [
                    account
                    for account in plan.accounts
                    if read_unnamed(account.period) is not None
                    and self._is_unknown(account, began_at_us, now, asked)
                ]
            )
            if unknown:
                raise PeriodUnknownError(unknown, began_at_us)
            return in_periods(plan, lambda account: self._period(account, began_at_us, now))

    def assumed(self, call: Call, plan: Plan) -> Plan:
        """Name the periods of a plan without a question: of what is spent already."""
        return self.settled(call, plan, set(map(place_of, plan.accounts)))

    def enter(self, call_id: str, accounts: Iterable[Account]) -> None:
        """Keep the periods of a call alive until it leaves."""
        with self._lock:
            known = [self._known.get(place_of(account)) for account in accounts]
            owners = tuple({id(one): one for one in known if one is not None}.values())
            if owners and call_id not in self._calls:
                self._calls[call_id] = owners
                for one in owners:
                    one.calls_open += 1

    def leave(self, call_id: str) -> None:
        """Note that a call has ended: its owners were active until now."""
        with self._lock:
            for one in self._calls.pop(call_id, ()):
                one.calls_open -= 1
                self._note_active(one, self._clock())

    # -- questions --

    def learn(self, unknown: PeriodUnknownError) -> LedgerError | None:
        """Ask the authority which periods run.

        Returns:
            None where that is known now; else why it isn't.
        """
        for place in unknown.places:
            try:
                self._tell(place, is_asked=True)
            except LedgerError as error:
                return None if self._are_sure(unknown) else error
        return None

    async def learn_async(
        self, unknown: PeriodUnknownError, wait_seconds: float
    ) -> LedgerError | None:
        """Do as `learn` does, in another thread, and await it for so long."""
        if not is_asyncio():
            return self.learn(unknown)
        future: Future[LedgerError | None] = Future()
        self._errands.run(partial(self._learn_for, future, unknown))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), wait_seconds)
        except TimeoutError:
            if self._are_sure(unknown):
                return None
            return LedgerUnavailableError(f"no answer within {wait_seconds} s")

    def _learn_for(self, future: Future[LedgerError | None], unknown: PeriodUnknownError) -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(self.learn(unknown))
            finally:
                if not future.done():
                    future.set_result(LedgerUnavailableError("a question failed; see the log"))

    def tick(self) -> None:
        """Tell the authority who was active; call it about once a second, in a thread of its own.

        It stops where the authority does not answer, and after about a second.
        """
        ends_at = self._clock() + _ROUND_SECONDS
        with self._lock:
            places = list(self._active)
        for place in places:
            now = self._clock()
            if now >= ends_at:
                return
            with self._lock:
                known = self._active.get(place)
                if known is None or known.is_told():
                    self._active.pop(place, None)
                    continue
                if not known.is_due(now):
                    continue
            with suppress(LedgerError):
                self._tell(place)
                continue
            return

    def look(self, account: Account, began_at_us: int) -> str:
        """Return the key of the period that an account is in; nothing is noted anywhere.

        Raises:
            LedgerError: The authority can't answer.
        """
        now = self._clock()
        with self._lock:
            known = self._known.get(place_of(account))
            if known is None:
                known = _Known(account, read_unnamed(account.period) or 0, began_at_us)
            elif known.is_sure(now):
                return known.account.period
            touch = known.touch(now, is_asked=True, is_look=True)
        return self._ask(touch)

    def close(self, wait_seconds: float) -> None:
        """End the threads; questions that come later start new ones."""
        self._errands.end(wait_seconds)

    def _tell(self, place: Place, *, is_asked: bool = False) -> None:
        """Tell the authority that an owner is active, and take in what it answers; no lock held."""
        asked_at = self._clock()
        with self._lock:
            known = self._known.get(place)
            if known is None:
                return
            touch = known.touch(asked_at, is_asked=is_asked)
        try:
            key = self._ask(touch)
        except LedgerError:
            with self._lock:
                known.failed_at = self._clock()
            raise
        with self._lock:
            # Periods sort by when they began: an answer that was overtaken says nothing new.
            if asked_at >= known.told_at or _began(key) > _began(known.account.period):
                known.account = in_period(known.account, key)
                known.is_named_here = False
            known.told_at = max(known.told_at, asked_at)

    # -- inside, with the lock --

    def _place(self, account: Account, began_at_us: int) -> _Known:
        """Return what is known of an owner; of one who is new here, the period that may begin."""
        place = place_of(account)
        idle_seconds = read_unnamed(account.period) or 0
        known = self._known.get(place)
        if known is None:
            known = self._known[place] = _Known(account, idle_seconds, began_at_us)
            self._forget_some()
        known.idle_seconds = idle_seconds
        return known

    def _is_unknown(
        self, account: Account, began_at_us: int, now: float, asked: Collection[Place]
    ) -> bool:
        if not self._asks_first or place_of(account) in asked:
            return False
        known = self._place(account, began_at_us)
        if known.may_go_on(now):
            return False
        known.next_us = began_at_us
        return True

    def _period(self, account: Account, began_at_us: int, now: float) -> str:
        """Return the period that a call goes by, and note that its owner is active."""
        known = self._place(account, began_at_us)
        if not known.is_alive(now):
            known.next_us = began_at_us
            known.name()  # the authority may begin that very one
        self._known.move_to_end(place_of(account))
        self._note_active(known, now)
        return known.account.period

    def _note_active(self, known: _Known, now: float) -> None:
        known.active_at = max(known.active_at, now)
        self._active[place_of(known.account)] = known

    def _are_sure(self, unknown: PeriodUnknownError) -> bool:
        now = self._clock()
        with self._lock:
            found = [self._known.get(place) for place in unknown.places]
        return all(one is not None and one.is_sure(now) for one in found)

    def _forget_some(self) -> None:
        """Forget owners that were active longest ago, but none with calls in flight."""
        for _ in range(len(self._known) - self._most):
            place, known = self._known.popitem(last=False)
            if known.calls_open:
                self._known[place] = known
            else:
                self._active.pop(place, None)


def _began(key: str) -> int:
    period = read_idle(key)
    return -1 if period is None else period.began_at_us
