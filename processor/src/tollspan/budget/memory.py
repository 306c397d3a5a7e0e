"""The memory authority: exact, fast, gone with its process. Tests compare others to it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from decimal import Decimal

import msgspec

from tollspan.usage import DecisionEvent, UsageEvent

from .account_rows import Key, Row, key_of
from .deferring import DeferredHold
from .folding import FoldLook, FoldOrder
from .folding_memory import FoldMemory
from .idle import IDLE_ROWS_AT_ONCE, IdleRows, Touch
from .leases import GivenBack, Grant, Lease, Want, size
from .ports import Busy
from .values import Account, Balance, Hold, Refusal

_NOTHING = Row()


class MemoryLedger:
    """An authority and books in one process's memory.

    Nothing survives the process: what was held or spent is forgotten with it, so it enforces a
    budget only for as long as the process lives.

    Args:
        most_events: How many events are kept, the newest; one that comes again after as many others
            counts again. None for all.
        clock: Nanoseconds, by which idle windows end.
        unix_clock: Unix time in nanoseconds, for folding alone.
    """

    def __init__(
        self,
        *,
        most_events: int | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        unix_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._unix_clock = unix_clock
        self._most_events = most_events
        self._clock = clock
        self._idle = IdleRows()
        self._lock = threading.Lock()
        self._rows: dict[Key, Row] = {}
        self._folding = FoldMemory(self._rows, self._idle)
        self._holds: dict[str, Hold] = {}
        self._leases: dict[tuple[str, Key], int] = {}
        self._events: dict[str, UsageEvent] = {}
        self._jobs: dict[tuple[str, str, int], DeferredHold] = {}
        self._refusals: deque[DecisionEvent] = deque(maxlen=most_events)
        self._milestones: dict[Key, set[Decimal]] = {}

    def hold(self, hold: Hold) -> Refusal | None:
        """Hold in every account of it, or in none; again for the same call changes nothing."""
        with self._lock:
            if hold.call_id in self._holds:
                return None
            short = [
                (balance, asked)
                for account, asked in hold.legs
                if not (balance := self._balance(account)).fits(asked)
            ]
            hard = [(balance, asked) for balance, asked in short if not balance.account.is_soft]
            if not hard:
                for account, amount in hold.legs:
                    self._touched(key_of(account)).held += amount
                self._holds[hold.call_id] = hold
            if not short:
                return None
            said = hard or short
            return Refusal(
                balances=tuple([balance for balance, _ in said]),
                asked=tuple([asked for _, asked in said]),
                is_held=not hard,
            )

    def hold_now(self, hold: Hold) -> Refusal | Busy | None:
        """Hold at once: memory never makes anybody wait for long."""
        return self.hold(hold)

    def hold_soon(self, hold: Hold) -> Future[Refusal | None]:
        """Hold at once, as a future."""
        future: Future[Refusal | None] = Future()
        future.set_result(self.hold(hold))
        return future

    def release_soon(self, call_id: str) -> None:
        """Give back what the call holds."""
        with self._lock:
            hold = self._holds.pop(call_id, None)
            for account, amount in hold.legs if hold else ():
                self._free(key_of(account), amount)

    def _free(self, key: Key, amount: int) -> None:
        """Give back what is held in an account, and forget one in which nothing is left."""
        row = self._touched(key)
        row.held -= amount
        if not (row.posted or row.held or row.unresolved):
            del self._rows[key]

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        """Grant in every account or in none. An answer can't get lost here."""
        with self._lock:
            standing = [(want, self._balance(want.account)) for want in wants]
            short = [(want, balance) for want, balance in standing if not balance.fits(want.need)]
            hard = [one for one in short if not one[0].account.is_soft]
            if hard:
                return _refusal(hard)
            totals: list[int] = []
            for want, balance in standing:
                room = want.account.limit - balance.counted
                granted = size(need=want.need, wish=want.wish, room=room)
                self._touched(key_of(want.account)).held += granted
                place = (lease.id, key_of(want.account))
                self._leases[place] = self._leases.get(place, 0) + granted
                totals.append(want.known + granted)
            return Grant(
                totals=tuple(totals), short=_refusal(short, is_held=True) if short else None
            )

    def grant_now(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal | Busy:
        """Grant at once."""
        return self.grant(lease, wants)

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None:
        """Take back what a lease does not need."""
        with self._lock:
            for part in parts:
                place = (lease.id, key_of(part.account))
                self._draw(place, part.amount)
                if part.is_last:
                    self._leases.pop(place, None)
        return None

    def _draw(self, place: tuple[str, Key], amount: int) -> None:
        """Take out of a lease what is spent or goes back; never more than is in it."""
        held = self._leases.get(place, 0)
        taken = min(held, amount)
        if taken:
            self._leases[place] = held - taken
            self._free(place[1], taken)

    def post(self, event: UsageEvent, hold: Hold | None) -> None:  # noqa: ARG002 - the port's
        """Keep the event once and settle its hold."""
        with self._lock:
            if event.call.id in self._events:
                return
            self._events[event.call.id] = event
            if self._jobs:
                self._jobs = {
                    key: job for key, job in self._jobs.items() if job.call.id != event.call.id
                }
            if self._most_events is not None and len(self._events) > self._most_events:
                del self._events[next(iter(self._events))]
            held = self._holds.pop(event.call.id, None)
            for account, amount in held.legs if held else ():
                self._free(key_of(account), amount)
            for charge in event.charges:
                key = (charge.budget_id, charge.scope, charge.period, charge.unit)
                row = self._touched(key)
                row.posted += charge.posted
                row.unresolved += charge.unresolved
                if event.lease_id is not None:
                    used = charge.posted + charge.unresolved
                    self._draw(
                        (event.lease_id, key), used if charge.drawn is None else charge.drawn
                    )

    def post_now(self, event: UsageEvent, hold: Hold | None) -> Busy | None:
        """Post at once."""
        self.post(event, hold)
        return None

    def post_soon(self, event: UsageEvent, hold: Hold | None) -> Future[None]:
        """Post at once, as a future."""
        future: Future[None] = Future()
        self.post(event, hold)
        future.set_result(None)
        return future

    def rescue(self, event: UsageEvent, hold: Hold | None) -> None:
        """Post: memory has no other place."""
        self.post(event, hold)

    def note(self, event: DecisionEvent) -> None:
        """Keep a refusal."""
        with self._lock:
            self._refusals.append(event)

    def defer(self, deferred: DeferredHold) -> bool:
        """Keep what a call holds until its job's end is seen, or its lease's part that it draws."""
        call_id = deferred.call.id
        key = (deferred.provider, deferred.job_id, deferred.part)
        with self._lock:
            kept = self._jobs.get(key)
            if kept is not None or call_id in self._events:
                return kept is not None and kept.call.id == call_id
            if deferred.lease_id is not None and deferred.hold is not None:
                self._move(deferred, deferred.lease_id, deferred.hold)
                deferred = msgspec.structs.replace(deferred, lease_id=None, drawn=())
            self._jobs[key] = deferred
            return True

    def deferred(self, provider: str, job_id: str) -> tuple[DeferredHold, ...]:
        """Return what is kept for a job."""
        with self._lock:
            found = [one for key, one in self._jobs.items() if key[:2] == (provider, job_id)]
        return tuple(sorted(found, key=lambda one: one.part))

    def _move(self, deferred: DeferredHold, lease_id: str, hold: Hold) -> None:
        """Make a hold of its own out of what a call has of a lease."""
        legs = tuple(
            [(leg[0], drawn) for leg, drawn in zip(hold.legs, deferred.drawn, strict=True)]
        )
        for account, drawn in legs:
            self._draw((lease_id, key_of(account)), drawn)
            self._touched(key_of(account)).held += drawn
        self._holds[hold.call_id] = msgspec.structs.replace(hold, legs=legs)

    def touch(self, touch: Touch) -> str:
        """Note that the owner of an account is active, and name the period."""
        with self._lock:
            return self._idle.touch(touch, self._clock(), self._is_held)

    def balance(self, account: Account) -> Balance:
        """Return how an account stands."""
        with self._lock:
            return self._balance(account)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand."""
        with self._lock:
            return tuple([self._balance(account) for account in accounts])

    def is_first(self, account: Account, share: Decimal) -> bool:
        """Say whether nobody has told yet that an account passed a share, and note it."""
        with self._lock:
            told = self._milestones.setdefault(key_of(account), set())
            is_first = share not in told
            told.add(share)
            return is_first

    def look(self, most: int) -> FoldLook:
        """Show accounts to whoever folds them."""
        with self._lock:
            return self._folding.look(most, self._unix_clock())

    def fold(self, order: FoldOrder) -> bool:
        """Fold accounts; what was told of them is forgotten, and who is silent for long."""
        with self._lock:
            self._idle.forget(self._clock(), self._is_held, most=IDLE_ROWS_AT_ONCE)
            gone = self._folding.fold(order)
            for key in gone or ():
                self._milestones.pop(key, None)
            return gone is not None

    def events(self) -> tuple[UsageEvent, ...]:
        """Return every event, in the order in which they were posted."""
        with self._lock:
            return tuple(self._events.values())

    def _touched(self, key: Key) -> Row:
        """Find an account's sums, or make them, to change them."""
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Row()
        row.mark = 0
        return row

    def _is_held(self, account: Account) -> bool:
        row = self._rows.get(key_of(account))
        return row is not None and row.held > 0

    def _balance(self, account: Account) -> Balance:
        row = self._rows.get(key_of(account)) or _NOTHING
        return Balance(
            account=account,
            posted=row.posted,
            held=row.held,
            unresolved=row.unresolved,
        )


def _refusal(short: Sequence[tuple[Want, Balance]], *, is_held: bool = False) -> Refusal:
    return Refusal(
        balances=tuple([balance for _, balance in short]),
        asked=tuple([want.need for want, _ in short]),
        is_held=is_held,
    )
