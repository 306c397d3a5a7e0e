"""What an authority for many hosts does, over whatever keeps its state: memory, or a file.

Each question changes the state in one step, under one lock, which belongs to whoever keeps it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from copy import copy
from decimal import Decimal
from typing import Final, Self

from tollspan.usage import Charge, LedgerError, LedgerUnavailableError, new_call_id

from .account_rows import key_of
from .folding import FoldLook, FoldOrder
from .idle import Touch
from .kept_state import KeptState
from .leases import (
    GivenBack,
    Grant,
    Lease,
    LeaseLostError,
    LeaseSettings,
    Settlement,
    Unresolved,
    Want,
    size,
)
from .listing import AccountPage
from .ports import Busy
from .shared_state import Asked, Holding, LeasePart
from .values import Account, Balance, Refusal

_NANO: Final = 1_000_000_000
_MEMORY_SECONDS: Final = 35 * 86_400
"""So long after the horizon, calls that were settled and leases that ended are known."""
_MOST_AT_ONCE: Final = 16
_DEFAULTS: Final = LeaseSettings()


class StateAuthority:
    """A shared authority over a state. Safe for threads, if the state's lock is.

    Args:
        state: What it knows.
        lock: Is held for each question. What was changed by then is kept, unless the state itself
            fails: a question that is refused may have ended leases, or shut the authority.
        settings: The life of leases and the horizon.
        clock: Unix time in nanoseconds.
        new_name: Names an epoch that is opened at a time: later ones sort behind.
    """

    def __init__(
        self,
        state: KeptState,
        lock: AbstractContextManager[object],
        settings: LeaseSettings = _DEFAULTS,
        *,
        clock: Callable[[], int] = time.time_ns,
        new_name: Callable[[int], str] = new_call_id,
    ) -> None:
        self._life = int(settings.life_seconds * _NANO)
        self._horizon = int(settings.horizon_seconds * _NANO)
        self._life_seconds = settings.life_seconds
        self._clock = clock
        self._new_name = new_name
        self._lock = lock
        self._state = state

    def lasting(self, life_seconds: float) -> Self:
        """Return the same authority, for leases that live so long."""
        other = copy(self)
        other._life = int(life_seconds * _NANO)  # noqa: SLF001 - a copy of this
        other._life_seconds = life_seconds  # noqa: SLF001 - a copy of this
        return other

    # -- leases --

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        """Grant in every account or in none."""
        with self._lock:
            now = self._clock()
            epoch = self._opened()
            self._end_some(now, most=_MOST_AT_ONCE)
            has = self._living(lease, epoch, now)
            said = [(want.account, want.part, want.known) for want in wants]
            self._check(has, said, is_stale_an_error=True)
            if has is None:
                has = Holding()
            asked = [Asked(want, self._state.balance(want.account), has) for want in wants]
            short = [one for one in asked if not one.fits]
            hard = [one for one in short if not one.want.account.is_soft]
            if hard:
                return _refusal(hard)
            for one in asked:
                self._grant(has, one)
            has.grants += 1
            self._renew(lease.id, has, now)
            return Grant(
                totals=tuple([has.parts[key_of(want.account)].granted for want in wants]),
                life_seconds=self._life_seconds,
                short=_refusal(short, is_held=True) if short else None,
                epoch=epoch,
                number=has.grants,
            )

    def grant_now(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal | Busy:
        """Grant at once: memory never makes anybody wait for long."""
        return self.grant(lease, wants)

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None:
        """Take back what a lease does not need, and let it live on."""
        with self._lock:
            now = self._clock()
            epoch = self._opened()
            has = self._living(lease, epoch, now)
            said = [(one.account, one.part, one.known or one.total) for one in parts]
            self._check(has, said, is_stale_an_error=False)
            if has is not None:
                for one in parts:
                    self._take_back(has, one)
                self._renew(lease.id, has, now)
            return self._life_seconds

    def _living(self, lease: Lease, epoch: str, now: int) -> Holding | None:
        """Find a lease; None for a new one.

        Raises:
            LeaseLostError: It is over. When its holder knows more of it than is known here, this
                authority was restored from a backup, and is shut.
        """
        state = self._state
        has = state.lease(lease.id)
        if lease.epoch is not None and lease.epoch < epoch:
            raise LeaseLostError(f"lease {lease.id} is of an older epoch")
        grants = has.grants if has is not None else 0
        if lease.heard > grants or (lease.epoch or epoch) > epoch:
            self._shut(lease.epoch or "")
            raise LeaseLostError(f"{lease.heard} grants of {lease.id} were made, {grants} is known")
        if has is not None and has.ended_at is None and now >= has.expires_at:
            self._end(lease.id, has, has.expires_at)
        if has is not None and has.ended_at is not None:
            raise LeaseLostError(f"lease {lease.id} is over")
        return has

    def _check(
        self,
        has: Holding | None,
        said: Sequence[tuple[Account, int, int]],
        *,
        is_stale_an_error: bool,
    ) -> None:
        """Compare what a holder was told with what is known here.

        Args:
            has: The lease; None for a new one.
            said: Account, number of the part, and what was granted there as the holder knows.
            is_stale_an_error: Refuse messages about parts that were given up since.

        Raises:
            LeaseLostError: Something was lost: here, which shuts this authority, or on the way.
        """
        for account, number, known in said:
            part = has.parts.get(key_of(account)) if has is not None else None
            given_up = has.given_up if has is not None else 0
            granted = part.granted if part is not None and part.number == number else 0
            is_stale = (
                part.number > number or (part.number == number and part.is_given_up)
                if part is not None
                else known > 0 and number <= given_up
            )
            if is_stale and is_stale_an_error:
                raise LeaseLostError(f"part {number} of the lease was given up")
            if known > granted and not is_stale:
                self._shut()
                raise LeaseLostError(f"{known} was granted, of which {granted} is known here")

    def _grant(self, has: Holding, asked: Asked) -> None:
        """Grant what is missing of a want that fits, or that is soft."""
        want = asked.want
        key = key_of(want.account)
        part = has.parts.get(key)
        if part is None:
            part = has.parts[key] = LeasePart(want.part)
        elif part.number < want.part:
            part.begin(want.part)
        if not asked.is_told_again:
            room = want.account.limit - asked.balance.counted
            wish = want.wish - (want.need - asked.need)
            granted = size(need=asked.need, wish=wish, room=room)
            part.granted += granted
            part.amount += granted
            self._state.row(key).held += granted

    def _take_back(self, has: Holding, given: GivenBack) -> None:
        """Take back once what a part does not need; old messages do nothing."""
        key = key_of(given.account)
        part = has.parts.get(key)
        if part is None or part.number != given.part or part.is_given_up:
            return
        taken = max(0, given.total - part.returned)
        part.returned += taken
        if given.is_last:
            if given.known is not None:
                taken += part.granted - given.known
            part.is_given_up = True
            has.given_up = max(has.given_up, part.number)
        taken = min(taken, part.amount)
        part.amount -= taken
        self._state.row(key).held -= taken
        if part.is_given_up and not part.amount:
            del has.parts[key]

    def _renew(self, lease_id: str, has: Holding, now: int) -> None:
        has.expires_at = now + self._life
        self._state.renew(lease_id, has)

    # -- ends of leases --

    def expire(self) -> int:
        """End the leases that are over, and take for spent what is beyond the horizon."""
        with self._lock:
            return self._end_some(self._clock(), most=None)

    def _end_some(self, now: int, *, most: int | None) -> int:
        """Do as `expire` does, for so many leases at most."""
        over = self._state.over(now, most)
        for lease_id, has in over:
            self._end(lease_id, has, has.expires_at)
        for lease_id, has in self._state.ended_before(now - self._horizon, most):
            if not has.is_written_off:
                self._write_off(has)
            if now - (has.ended_at or 0) >= self._horizon + _MEMORY_SECONDS * _NANO:
                self._state.forget(lease_id)
        return len(over)

    def _end(self, lease_id: str, has: Holding, ended_at: int) -> None:
        """Turn what a lease holds into unresolved."""
        has.ended_at = ended_at
        self._state.end(lease_id, has)
        for key, part in list(has.parts.items()):
            self._state.row(key).held -= part.amount
            self._state.row(key).unresolved += part.amount
            if not part.amount:
                del has.parts[key]

    def _write_off(self, has: Holding) -> None:
        """Take for spent what a lease leaves open; its events still take it down."""
        has.is_written_off = True
        for key, part in has.parts.items():
            self._state.row(key).unresolved -= part.amount
            self._state.row(key).posted += part.amount

    def unresolved(self, *, since_unix_ns: int = 0) -> tuple[Unresolved, ...]:
        """Return what ended leases leave open, oldest first; of those that ended since then."""
        with self._lock:
            found = [
                Unresolved(
                    lease_id=lease_id,
                    account=Account(
                        budget_id=key[0], scope=key[1], period=key[2], unit=key[3], limit=0
                    ),
                    amount=part.amount,
                    since_unix_ns=has.ended_at or 0,
                )
                for lease_id, has in self._state.left(since_unix_ns)
                for key, part in has.parts.items()
            ]
            return tuple(sorted(found, key=lambda one: one.since_unix_ns))

    def resolve(self, lease_id: str, account: Account, *, spent: int) -> None:
        """Settle by hand what an ended lease leaves open in an account."""
        with self._lock:
            has = self._state.lease(lease_id)
            key = key_of(account)
            if has is None or has.ended_at is None or has.is_written_off or key not in has.parts:
                raise LedgerError(f"lease {lease_id} leaves nothing unresolved in that account")
            self._state.row(key).unresolved -= has.parts.pop(key).amount
            self._state.row(key).posted += spent

    # -- calls --

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Charge finished calls, each once."""
        with self._lock:
            now = self._clock()
            before = now - self._horizon - _MEMORY_SECONDS * _NANO
            self._state.forget_settled(before, _MOST_AT_ONCE)
            for one in settlements:
                if self._state.note_settled(one.call_id, now):
                    for charge in one.charges:
                        self._charge(one.lease_id, charge)

    def _charge(self, lease_id: str | None, charge: Charge) -> None:
        key = (charge.budget_id, charge.scope, charge.period, charge.unit)
        row = self._state.row(key)
        row.posted += charge.posted
        row.unresolved += charge.unresolved
        has = self._state.lease(lease_id) if lease_id else None
        part = has.parts.get(key) if has is not None else None
        if has is None or part is None:
            return
        used = charge.posted + charge.unresolved
        drawn = min(part.amount, used if charge.drawn is None else charge.drawn)
        part.amount -= drawn
        if has.ended_at is None:
            row.held -= drawn
        elif has.is_written_off:
            row.posted -= drawn
        else:
            row.unresolved -= drawn
        if not part.amount and (part.is_given_up or has.ended_at is not None):
            del has.parts[key]

    # -- the rest --

    def touch(self, touch: Touch) -> str:
        """Note that the owner of an account is active, and name the period."""
        with self._lock:
            now = self._clock()
            if not touch.is_look:
                self._opened()
                self._end_some(now, most=_MOST_AT_ONCE)
            return self._state.touch(touch, now)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand."""
        with self._lock:
            return tuple([self._state.balance(account) for account in accounts])

    def known_leases(self, lease_ids: Collection[str]) -> frozenset[str]:
        """Return which of these leases it granted."""
        with self._lock:
            return frozenset([one for one in lease_ids if self._state.lease(one) is not None])

    def accounts(self, cursor: str, most: int) -> AccountPage:
        """Show accounts."""
        with self._lock:
            return self._state.accounts(cursor, most)

    def is_first(self, account: Account, share: Decimal) -> bool:
        """Say whether no host has told yet that an account passed a share; note that now."""
        with self._lock:
            return self._state.is_first(key_of(account), share)

    def look(self, most: int) -> FoldLook:
        """Show accounts to whoever folds them."""
        with self._lock:
            return self._state.look(most, self._clock())

    def fold(self, order: FoldOrder) -> bool:
        """Fold accounts; what was told of them is forgotten, and who is silent for long."""
        with self._lock:
            return self._state.fold(order, self._clock())

    def epoch(self) -> str | None:
        """Name the epoch that it grants in; None while it is not open."""
        with self._lock:
            return self._state.epoch

    def open_epoch(self) -> str:
        """Open it in a new epoch, and end the leases of older ones."""
        with self._lock:
            now = self._clock()
            name = self._new_name(now)
            if name <= self._state.last_epoch:  # the clock was set back
                name = f"{self._state.last_epoch}+"
            for lease_id, has in self._state.opened():
                self._end(lease_id, has, min(now, has.expires_at))
            self._state.epoch = self._state.last_epoch = name
            return name

    def close(self) -> None:
        """Do nothing: there are no connections."""

    def _opened(self) -> str:
        if self._state.epoch is None:
            raise LedgerUnavailableError(
                "the authority is not open: it is new, or has lost what it knew; settle what was"
                " lost anew, then run `tollspan authority open URL`"
            )
        return self._state.epoch

    def _shut(self, seen_epoch: str = "") -> None:
        """Grant nothing any more; the next epoch sorts behind all that was ever seen."""
        self._state.epoch = None
        self._state.last_epoch = max(self._state.last_epoch, seen_epoch)


def _refusal(short: Sequence[Asked], *, is_held: bool = False) -> Refusal:
    return Refusal(
        balances=tuple([one.balance for one in short]),
        asked=tuple([one.want.need for one in short]),
        is_held=is_held,
    )
