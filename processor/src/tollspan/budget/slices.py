"""What one process has of allowances: a state machine without threads or questions of its own.

A slice is what an authority has granted in one allowance. It is a lease like any, with one
difference: its holder goes on with it after it has expired, since it is there for when nobody can
be asked. That is safe because what an expired lease holds stays counted at the authority, as
unresolved and after the horizon as spent, until an event of this holder takes it down; so no other
process is ever granted it, however long the outage. The moment the holder hears that its lease is
over, it lets go of all of its slices and begins anew, with another fence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from heapq import nsmallest
from typing import Final

import msgspec

from tollspan.usage import Charge, UsageEvent

from .allowances import Allowance
from .leases import ROOM_SHARE, GivenBack, Grant, Lease, Want
from .values import Account, Balance, Hold, Leg

MOST_SLICES: Final = 4_096
"""So many slices one process keeps; of more accounts, those that were used the longest ago go."""
IDLE_SECONDS: Final = 600.0
"""A slice of an account that no call has touched so long goes back."""
_RETRY_SECONDS: Final = 30.0
_MOST_AT_ONCE: Final = 64
_Name = tuple[str, str, str, str]


class Slice:
    """What this process has of one allowance.

    Attributes:
        account: The account that counts it, with the allowance as its limit.
        number: As in `Want.part`.
        known: All that was ever granted.
        left: What no call holds.
        full: What was left after the last grant.
        seen, need: The most that a call has asked there, and the most of that which is no more
            than the allowance.
        calls_open: How many calls in flight hold something.
        touched_at, retry_at: When a call was planned there last; when to ask again.
        is_wanted, was_asked: It is to be asked for; it was, whatever came of it.
        keys: The budgets' accounts that it is beside: with one name, they differ by their limits.
    """

    __slots__ = (
        "account",
        "calls_open",
        "full",
        "is_wanted",
        "keys",
        "known",
        "left",
        "need",
        "number",
        "retry_at",
        "seen",
        "touched_at",
        "was_asked",
    )

    def __init__(self, account: Account, number: int, touched_at: float) -> None:
        self.account = account
        self.number = number
        self.touched_at = touched_at
        self.known = self.left = self.full = self.calls_open = 0
        self.seen = self.need = 0
        self.retry_at = 0.0
        self.is_wanted = True
        self.was_asked = False
        self.keys: list[Account] = []

    def asks(self, amount: int) -> None:
        """Know of a call that may use so much."""
        self.seen = max(self.seen, amount)
        if amount <= self.account.limit:
            self.need = max(self.need, amount)

    def look(self, now: float) -> None:
        """Want more where one call needs more than is left, or half of it is used."""
        if self.left < max(self.need, self.full // 2) and now >= self.retry_at:
            self.is_wanted = True

    def want(self) -> Want:
        """Say how much is to come: what one call needs, and a share of the allowance."""
        need = max(0, self.need - self.left)
        return Want(
            account=self.account,
            known=self.known,
            need=need,
            wish=max(need, self.account.limit // ROOM_SHARE - self.left),
            part=self.number,
        )


class _Open(msgspec.Struct):
    """A call that was let through: its lease, what it holds, and what its event takes out.

    Attributes:
        lease: The lease.
        hold: The hold, in the accounts of allowances where it was in those of budgets.
        parts: The slices, in the order of its legs; None where nothing is taken from one.
        drawn: What goes out of the lease for each; what the call holds beyond it comes back.
    """

    lease: Lease
    hold: Hold
    parts: tuple[Slice | None, ...]
    drawn: list[int]


class Slices:
    """The slices of one process. Not safe for threads.

    Args:
        holder: Names the process as a holder of slices, which no other ever was.
        most: How many to keep.
    """

    def __init__(self, holder: Callable[[], str], *, most: int = MOST_SLICES) -> None:
        self._holder = holder
        self._most = most
        self._fence = 0
        self._numbers = 0
        self._open: dict[str, _Open] = {}
        self._names: dict[_Name, Slice] = {}
        self.beside: dict[Account, Slice] = {}
        """The slices by the accounts of budgets that they are beside."""
        self.lease: Lease | None = None
        self.renew_at = math.inf

    # -- calls --

    def touch(self, hold: Hold, now: float) -> bool:
        """Know that a call is planned; False where `want` has to know more of it.

        It only looks things up, and so needs no lock.
        """
        beside = self.beside
        is_known = True
        for account, amount in hold.legs:
            if not account.is_soft:
                one = beside.get(account)
                if one is None or amount > one.seen:
                    is_known = False
                else:
                    one.touched_at = now
        return is_known

    def want(self, hold: Hold, allowance: Allowance, now: float) -> bool:
        """Know of a call that is planned: of its accounts that refuse, slices are wanted.

        Returns:
            Whether there is something to ask for.
        """
        is_wanted = False
        for account, amount in hold.legs:
            if account.is_soft:
                continue
            one = self.beside.get(account) or self._slice(account, allowance, now)
            if one is not None:
                one.touched_at = now
                one.asks(amount)
                one.look(now)
                is_wanted = is_wanted or one.is_wanted
        return is_wanted

    def look(self, now: float) -> bool:
        """Want more where slices were used; say whether there is something to ask for."""
        is_wanted = False
        for one in self._names.values():
            one.look(now)
            is_wanted = is_wanted or one.is_wanted
        return is_wanted

    def has(self, call_id: str) -> bool:
        """Say whether a call was let through from slices."""
        return call_id in self._open

    def take(self, hold: Hold, *, is_looking: bool = False) -> Hold | None:
        """Hold in the allowance of every account that refuses, or in none; None where one is short.

        Args:
            hold: What could not be held.
            is_looking: Hold nothing.
        """
        opened = self._open.get(hold.call_id)
        if opened is not None:
            return opened.hold
        lease = self.lease
        legs: list[Leg] = []
        parts: list[Slice | None] = []
        for account, amount in hold.legs:
            one = None if account.is_soft else self.beside.get(account)
            if one is not None and one.left >= (amount or 1):
                legs.append((one.account, amount))
            elif account.is_soft:
                legs.append((account, amount))
            else:
                return None
            parts.append(one)
        if lease is None:
            return None
        taken = msgspec.structs.replace(hold, legs=tuple(legs))
        if not is_looking:
            self._open[hold.call_id] = _Open(lease, taken, tuple(parts), [0] * len(parts))
            for one, (_, amount) in zip(parts, legs, strict=True):
                if one is not None:
                    one.left -= amount
                    one.calls_open += 1
        return taken

    def named(self, event: UsageEvent) -> UsageEvent:
        """Name the lease in the event of a call that was let through: its charges go out of that.

        Where the lease is over meanwhile, all that the call held goes out of it: nobody else can
        give back the rest.
        """
        opened = self._open.get(event.call.id)
        if opened is None:
            return event
        is_over = not self._is_ours(opened.lease)
        opened.drawn = [amount for _, amount in opened.hold.legs]
        charges: list[Charge] = []
        for nth, charge in enumerate(event.charges):
            part = opened.parts[nth] if nth < len(opened.parts) else None
            used = charge.posted + charge.unresolved
            drawn = 0
            if part is not None:
                held = opened.hold.legs[nth][1]
                drawn = opened.drawn[nth] = held if is_over else min(held, used)
            charges.append(
                charge if drawn == used else msgspec.structs.replace(charge, drawn=drawn)
            )
        return msgspec.structs.replace(event, lease_id=opened.lease.id, charges=tuple(charges))

    def settle(self, call_id: str) -> bool:
        """Return to slices what a call held and its event does not take out; False if unknown.

        A call whose event was never `named` was never made: all comes back.
        """
        opened = self._open.pop(call_id, None)
        if opened is None:
            return False
        for part, (_, amount), drawn in zip(
            opened.parts, opened.hold.legs, opened.drawn, strict=True
        ):
            if part is not None:
                part.calls_open -= 1
                part.left += amount - drawn
        return True

    # -- grants --

    def ask(self) -> tuple[Lease, list[Slice], list[Want]] | None:
        """Return what is to be asked of the authority next; None for nothing."""
        wanted: list[Slice] = []
        for one in self._names.values():
            if one.is_wanted and len(wanted) < _MOST_AT_ONCE:
                wanted.append(one)
        if not wanted:
            return None
        if self.lease is None:
            self._fence += 1
            self.lease = Lease(holder=self._holder(), fence=self._fence)
        for one in wanted:
            one.was_asked = True
        return self.lease, wanted, [one.want() for one in wanted]

    def granted(self, asked: Sequence[Slice], grant: Grant, asked_at: float) -> None:
        """Take in what was granted."""
        for one, total in zip(asked, grant.totals, strict=True):
            one.left += total - one.known
            one.known = total
            one.full = one.left
            one.is_wanted = False
            one.retry_at = asked_at + _RETRY_SECONDS if one.left < one.need else 0.0
        self.live(asked_at, grant.life_seconds)
        lease = self.lease
        if lease is not None and grant.epoch is not None and grant.number > lease.heard:
            self.lease = msgspec.structs.replace(lease, epoch=grant.epoch, heard=grant.number)

    def refused(self, asked: Sequence[Slice], short: Iterable[Balance], now: float) -> None:
        """Know which allowances have too little left; they are asked for again later."""
        names = {_name(one.account) for one in short}
        for one in asked:
            if not names or _name(one.account) in names:
                one.is_wanted = False
                one.retry_at = now + _RETRY_SECONDS

    def live(self, asked_at: float, life_seconds: float | None) -> None:
        """Know until when the lease lives, counted from before it was asked for."""
        self.renew_at = math.inf if life_seconds is None else asked_at + life_seconds / 2

    def lose(self) -> tuple[Lease, tuple[Charge, ...]] | None:
        """Let go of a lease that is over: nothing is taken from it any more.

        Returns:
            The lease, and what is left of it, each as what goes out of the lease without being
            spent; None when nothing is.
        """
        lease, self.lease = self.lease, None
        self.renew_at = math.inf
        charges: list[Charge] = []
        for one in list(self._names.values()):
            if one.left > 0:
                charges.append(_unused(one.account, one.left))
            new = self._begin(one.account, one.touched_at)
            new.seen, new.need = one.seen, one.need
            new.keys = one.keys
            for key in one.keys:
                self.beside[key] = new
        return None if lease is None or not charges else (lease, tuple(charges))

    # -- ends --

    def collect(self, now: float, *, idle_seconds: float) -> list[GivenBack]:
        """Take out the slices that go back: of accounts that are idle, and of too many."""
        idle = [one for one in self._names.values() if one.touched_at + idle_seconds <= now]
        surplus = len(self._names) - len(idle) - self._most
        if surplus > 0:
            others = [one for one in self._names.values() if one.touched_at + idle_seconds > now]
            idle += nsmallest(surplus, others, key=lambda one: one.touched_at)
        return self._give_up([one for one in idle if not one.calls_open])

    def empty(self) -> list[GivenBack]:
        """Take out everything that no call holds: the process ends."""
        found = self._give_up([one for one in self._names.values() if not one.calls_open])
        for one in self._names.values():
            found.append(_given_back(one, is_last=False))
            one.left = 0
        return found

    def map_anew(self) -> None:
        """Forget which accounts slices are beside: another allowance is in force."""
        self.beside.clear()
        for one in self._names.values():
            one.keys = []

    # -- inside --

    def _slice(self, account: Account, allowance: Allowance, now: float) -> Slice | None:
        """Find or make the slice beside an account; None where nothing is allowed, or no room."""
        beside = allowance.beside(account)
        if beside.limit <= 0:
            return None
        one = self._names.get(_name(beside))
        if one is None:
            if len(self._names) >= 2 * self._most:
                return None
            one = self._begin(beside, now)
        one.account = beside
        one.keys.append(account)
        self.beside[account] = one
        return one

    def _begin(self, account: Account, now: float) -> Slice:
        self._numbers += 1
        one = self._names[_name(account)] = Slice(account, self._numbers, now)
        return one

    def _give_up(self, several: Iterable[Slice]) -> list[GivenBack]:
        found: list[GivenBack] = []
        for one in several:
            del self._names[_name(one.account)]
            for key in one.keys:
                self.beside.pop(key, None)
            if one.was_asked:
                found.append(_given_back(one, is_last=True))
        return found

    def _is_ours(self, lease: Lease) -> bool:
        return self.lease is not None and self.lease.id == lease.id


def _given_back(one: Slice, *, is_last: bool) -> GivenBack:
    return GivenBack(
        account=one.account,
        amount=max(0, one.left),
        total=max(0, one.left),
        is_last=is_last,
        part=one.number,
        known=one.known,
    )


def _unused(account: Account, amount: int) -> Charge:
    return Charge(
        budget_id=account.budget_id,
        scope=account.scope,
        period=account.period,
        unit=account.unit,
        drawn=amount,
    )


def _name(account: Account) -> _Name:
    return account.budget_id, account.scope, account.period, account.unit
