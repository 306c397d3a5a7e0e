"""What one process has of leases: a state machine without threads, clocks or questions of its own.

Its owner locks it, asks the authority what it wants asked, and tells it the answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tollspan.usage import Charge, UsageEvent

from .lease_figures import LeaseFigures, LeaseState
from .leases import LIMIT_SHARE, GivenBack, Grant, Lease, LeaseSettings, Want
from .ports import BUSY, Busy
from .values import Account, Balance, Hold, Refusal

_Name = tuple[str, str, str, str]
_LONG_AGO: Final = -1e18
_NOTHING: tuple[Charge, ...] = ()


class Part:
    """What a lease has in one account.

    Attributes:
        account: The account, with the limit of the rules in force.
        number: As in `Want.part`.
        known, returned: All that was ever granted there, and all that went back.
        told: What of that the authority has confirmed.
        left: What no call holds.
        due: What goes back with the next message.
        calls_open: How many calls in flight hold something.
        calls: How many calls the next grant is for.
        refill_below: With less left, more is asked for in advance.
        is_asked, asked_at: Somebody asks for more just now; when somebody did last.
        wanted: What those need who wait for that.
        is_short: A soft account without room: each of its calls is granted by itself.
        is_tight: The authority has little left there: what a call does not use is the authority's
            again at once, not the lease's.
    """

    __slots__ = (
        "account",
        "asked_at",
        "calls",
        "calls_open",
        "due",
        "is_asked",
        "is_short",
        "is_tight",
        "known",
        "left",
        "number",
        "refill_below",
        "returned",
        "told",
        "wanted",
    )

    def __init__(self, account: Account, number: int, calls: int) -> None:
        self.account = account
        self.number = number
        self.known = self.returned = self.told = self.left = self.due = 0
        self.calls_open = self.wanted = 0
        self.refill_below = 0.0
        self.calls = calls
        self.is_asked = self.is_short = self.is_tight = False
        self.asked_at = _LONG_AGO

    def lacks(self, amount: int) -> bool:
        """Say whether a call must be asked for; where nothing is left, one that costs nothing."""
        return self.left < (amount or 1) or self.account.limit <= 0


class Ask(msgspec.Struct):
    """A question to the authority.

    Attributes:
        lease: Whose.
        wants: What is asked for, for the parts in `missing`.
        missing: The parts that have too little.
        parts, amounts, reserved: What the call holds, in which parts, and what of it was taken out
            of them already; nothing when no call waits for the answer.
    """

    lease: Lease
    wants: list[Want]
    missing: list[Part]
    parts: list[Part] = []
    amounts: list[int] = []
    reserved: list[int] = []


class _Open(msgspec.Struct):
    """A call in flight: whose lease it drew from, how much in which part, and what it took out."""

    lease: Lease
    parts: list[Part]
    amounts: list[int]
    drawn: list[int] = []


class Escrow:
    """The leases of one process. Not safe for threads.

    Args:
        holder: Names the process.
        settings: Sizes and times.
        clock: Monotonic seconds.
    """

    def __init__(
        self, holder: Callable[[], str], settings: LeaseSettings, clock: Callable[[], float]
    ) -> None:
        self._holder = holder
        self._settings = settings
        self._clock = clock
        self._fence = 0
        self._numbers = 0
        self._open: dict[str, _Open] = {}
        self._dry: list[Ask] = []
        self.figures = LeaseFigures()
        self._begin_lease()

    def _begin_lease(self) -> None:
        self._fence += 1
        self.lease: Lease | None = None
        self.ends_at = self.renew_at = math.inf
        self._parts: dict[Account, Part] = {}
        self._names: dict[_Name, Part] = {}

    # -- calls --

    def take(self, hold: Hold) -> bool:
        """Hold from the lease alone, in every account or in none; False when it has too little."""
        lease = self.lease
        if lease is None or self._clock() >= self.ends_at:
            return False
        known = self._parts
        parts: list[Part] = []
        amounts: list[int] = []
        for account, amount in hold.legs:
            part = known.get(account)
            if part is None or part.lacks(amount):
                return False
            parts.append(part)
            amounts.append(amount)
        if hold.call_id in self._open:
            return True
        self._open[hold.call_id] = _Open(lease, parts, amounts)
        for part, amount in zip(parts, amounts, strict=True):
            part.left -= amount
            part.calls_open += 1
            if part.left < part.refill_below and not part.is_asked:
                self._dry.append(self._refill(lease, part))
        return True

    def has_room(self, hold: Hold) -> bool:
        """Say whether `take` would hold it; takes nothing."""
        if self.lease is None or self._clock() >= self.ends_at:
            return False
        parts = [(self._parts.get(account), amount) for account, amount in hold.legs]
        return all(part is not None and not part.lacks(amount) for part, amount in parts)

    def begin(self, hold: Hold) -> Ask | Busy | None:
        """Take the hold, or make a question of it; `BUSY` while others ask for the same."""
        if self._clock() >= self.ends_at:
            self.figures.lost += 1
            self._begin_lease()
        if hold.call_id in self._open or self.take(hold):
            return None
        lease = self.lease
        if lease is None:
            lease = self.lease = Lease(holder=self._holder(), fence=self._fence)
        parts = [self._part(account) for account, _ in hold.legs]
        amounts = [amount for _, amount in hold.legs]
        short = [pair for pair in zip(parts, amounts, strict=True) if pair[0].lacks(pair[1])]
        if any(part.is_asked for part, _ in short):
            return BUSY
        wants = [self._want(part, amount) for part, amount in short]
        reserved: list[int] = []
        for part, amount in zip(parts, amounts, strict=True):
            reserved.append(min(part.left, amount))
            part.left -= reserved[-1]
            part.calls_open += 1
        return Ask(lease, wants, [part for part, _ in short], parts, amounts, reserved)

    def finish(self, hold: Hold, ask: Ask, grant: Grant) -> bool:
        """Take in a grant and serve the call that asked; False if its lease is over meanwhile.

        An answer may have taken longer than its lease lives, or the thread that waited for it.
        """
        if not self.has(ask.lease):
            self.undo(ask)
            return False
        self.apply(ask, grant)
        if self._clock() >= self.ends_at:
            self.undo(ask)
            return False
        amounts: list[int] = []
        for part, amount, reserved in zip(ask.parts, ask.amounts, ask.reserved, strict=True):
            # Beyond a soft limit, an authority may count less than is asked: as much as it can.
            taken = min(part.left, amount - reserved)
            part.left -= taken
            amounts.append(reserved + taken)
        self._open[hold.call_id] = _Open(ask.lease, ask.parts, amounts)
        return True

    def apply(self, ask: Ask, grant: Grant) -> None:
        """Take in what was granted to a lease that is still this process's."""
        if self.lease is None or not self.has(ask.lease):
            self.undo(ask)
            return
        short = [one.account for one in grant.short.balances] if grant.short else []
        for part, want, total in zip(ask.missing, ask.wants, grant.totals, strict=True):
            granted = total - part.known
            part.known = total
            part.left += granted
            self.figures.grant(want.account.budget_id, want.account.unit, granted)
            part.is_asked = False
            part.is_short = want.account in short
            # It gave less than is wished, or no more than one call may use: little is left there.
            part.is_tight = part.is_short or granted < want.wish or want.wish <= want.need
            part.refill_below = 0.0 if part.is_tight else granted * self._settings.renew_share
        if ask.missing:
            self.live(ask.missing[0].asked_at, grant.life_seconds)
        if grant.epoch is not None and grant.number > self.lease.heard:
            self.lease = msgspec.structs.replace(self.lease, epoch=grant.epoch, heard=grant.number)

    def undo(self, ask: Ask) -> None:
        """Put back what was reserved for a question that came to nothing."""
        for part, amount in zip(ask.parts, ask.reserved, strict=True):
            part.left += amount
            part.calls_open -= 1
        for part in ask.missing:
            part.is_asked = False

    def dry(self) -> list[Ask]:
        """Return the questions to ask before anybody has to wait for them; each once."""
        dry, self._dry = self._dry, []
        return dry

    def waiting(self, hold: Hold) -> list[tuple[Part, int]]:
        """Return where others ask for what a call needs too, and how much it needs."""
        return [
            (part, amount)
            for account, amount in hold.legs
            if (part := self._parts.get(account)) is not None and part.is_asked
        ]

    def seen(self, balances: Sequence[Balance]) -> tuple[Balance, ...]:
        """Return how accounts stand for this process: what its lease has left is free for it."""
        return tuple(
            [
                msgspec.structs.replace(one, held=max(0, one.held - part.left - part.due))
                if (part := self._names.get(_name(one.account))) is not None
                else one
                for one in balances
            ]
        )

    def in_calls_words(self, refusal: Refusal, hold: Hold) -> Refusal:
        """Say of each account what the call asked, and how it stands for this process."""
        asked = dict(hold.legs)
        return msgspec.structs.replace(
            refusal,
            balances=self.seen(refusal.balances),
            asked=tuple([asked.get(one.account, 0) for one in refusal.balances]),
        )

    # -- ends of calls --

    def named(self, event: UsageEvent) -> UsageEvent:
        """Name the lease in the event of a call that drew from one: its charges go out of that."""
        opened = self._open.get(event.call.id)
        if opened is None:
            return event
        charges, beyond = event.charges, _NOTHING
        if len(charges) > len(opened.parts):  # what it was not thought to use: no lease's
            charges, beyond = charges[: len(opened.parts)], charges[len(opened.parts) :]
        if len(charges) != len(opened.parts):  # not charged as it was held: nothing comes back
            opened.drawn = opened.amounts
            return msgspec.structs.replace(event, lease_id=opened.lease.id)
        used = [one.posted + one.unresolved for one in charges]
        opened.drawn = [
            amount if part.is_tight else min(amount, spent)
            for part, amount, spent in zip(opened.parts, opened.amounts, used, strict=True)
        ]
        if opened.drawn != used:
            charges = tuple(
                [
                    msgspec.structs.replace(one, drawn=drawn)
                    for one, drawn in zip(charges, opened.drawn, strict=True)
                ]
            )
        return msgspec.structs.replace(event, lease_id=opened.lease.id, charges=charges + beyond)

    def leaving(self, call_id: str) -> tuple[str, tuple[int, ...]] | None:
        """Name the lease that a call draws from, and what it holds there, part by part."""
        opened = self._open.get(call_id)
        return None if opened is None else (opened.lease.id, tuple(opened.amounts))

    def leave(self, call_id: str) -> None:
        """Leave what a call holds to its job: the event that takes it out comes from elsewhere."""
        opened = self._open.get(call_id)
        if opened is not None:
            opened.drawn = opened.amounts
            self.settle(call_id)

    def settle(self, call_id: str) -> bool:
        """Return to the lease what a call held and its event does not take out; False if unknown.

        A call whose event was never `named` was never made: all comes back.
        """
        opened = self._open.pop(call_id, None)
        if opened is None:
            return False
        drawn = opened.drawn or [0] * len(opened.parts)
        for part, amount, taken in zip(opened.parts, opened.amounts, drawn, strict=True):
            part.calls_open -= 1
            if part.is_tight:
                part.due += amount - taken
            else:
                part.left += amount - taken
        return True

    # -- the lease --

    def has(self, lease: Lease) -> bool:
        """Say whether a lease is still this process's, whether it has heard of its epoch or not."""
        return self.lease is not None and lease.id == self.lease.id

    def live(self, asked_at: float, life_seconds: float | None) -> None:
        """Go by the lease's life, counted from before it was asked for.

        An answer that comes late takes nothing of the life that a newer one gave.
        """
        if life_seconds is None:
            return
        ends_at = asked_at + life_seconds - self._settings.drift_seconds
        if ends_at > self.ends_at or self.ends_at == math.inf:
            self.ends_at = ends_at
            self.renew_at = asked_at + life_seconds / 2

    def lose(self, lease: Lease) -> None:
        """Take a lease for gone: what it has left is the authority's to count."""
        if self.has(lease):
            self.figures.lost += 1
            self._begin_lease()

    def state(self) -> LeaseState:
        """Return how the leases stand, budget by budget."""
        is_over = self._clock() >= self.ends_at
        parts = () if is_over else self._names.values()
        return self.figures.state([(part.account, part.left) for part in parts])

    def collect(self, *, idle_seconds: float) -> list[GivenBack]:
        """Take out what goes back.

        What an idle part has left goes back first. When the authority has said that it has that,
        the part is given up: nobody draws from it while that is told, nor ever after, so that the
        last message can take nothing along, however late it comes.
        """
        asked_before = self._clock() - idle_seconds
        found: list[GivenBack] = []
        for part in self._names.values():
            if part.is_asked:
                continue
            amount, part.due = part.due, 0
            is_idle = part.asked_at <= asked_before
            if is_idle:
                amount += part.left
                part.left = 0
            is_last = is_idle and part.calls_open == amount == 0 and part.told == part.returned
            if amount == 0 and not is_last:
                continue
            part.is_asked = is_last
            part.returned += amount
            found.append(
                GivenBack(
                    account=part.account,
                    amount=amount,
                    total=part.returned,
                    is_last=is_last,
                    part=part.number,
                    known=part.known,
                )
            )
        return found

    def sent(self, lease: Lease, given: Sequence[GivenBack]) -> None:
        """Know what the authority has back, and forget the parts that were given up."""
        for one, part in self._told_of(lease, given):
            part.told = max(part.told, one.total)
            if one.is_last:
                self._forget(part)

    def unsent(self, lease: Lease, given: Sequence[GivenBack]) -> list[GivenBack]:
        """Return what must be told again, as nobody knows whether it was heard."""
        kept: list[GivenBack] = []
        for one, part in self._told_of(lease, given):
            if one.is_last and lease.epoch is None and part.known:
                # An authority without epochs is near: what fails there comes to nothing.
                part.is_asked = False
                kept.append(one)
            elif one.is_last:
                self._forget(part)
        return [one for one in given if one not in kept]

    def _told_of(self, lease: Lease, given: Sequence[GivenBack]) -> list[tuple[GivenBack, Part]]:
        """Pair messages with the parts that they are of, where these are still there."""
        if not self.has(lease):
            return []
        pairs = [(one, self._names.get(_name(one.account))) for one in given]
        return [(one, part) for one, part in pairs if part is not None and part.number == one.part]

    def _forget(self, part: Part) -> None:
        part.is_asked = False
        del self._names[_name(part.account)]
        del self._parts[part.account]

    # -- inside --

    def _part(self, account: Account) -> Part:
        """Find or make the part of an account; another limit than before makes it ask anew."""
        part = self._parts.get(account)
        if part is not None:
            return part
        name = _name(account)
        part = self._names.get(name)
        if part is None:
            self._numbers += 1
            part = self._names[name] = Part(account, self._numbers, self._settings.first)
        else:
            del self._parts[part.account]
            part.due += part.left
            part.left = 0
            part.account = account
            part.is_short = part.is_tight = False
            part.refill_below = 0.0
        self._parts[account] = part
        return part

    def _want(self, part: Part, amount: int) -> Want:
        """Say what a part needs; it is asked for from now on."""
        settings = self._settings
        now = self._clock()
        if now - part.asked_at < settings.hurry_seconds:
            part.calls = min(part.calls * 2, settings.most)
        else:
            part.calls = max(settings.first, part.calls // 2)
        part.is_asked = True
        part.asked_at = now
        need = max(0, amount - part.left)
        wish = max(amount * part.calls, amount + part.wanted)
        wish = min(wish, part.account.limit // LIMIT_SHARE)
        if part.is_short or settings.most == 1:
            wish = need
        return Want(
            account=part.account,
            known=part.known,
            need=need,
            wish=max(need, wish),
            part=part.number,
        )

    def _refill(self, lease: Lease, part: Part) -> Ask:
        want = self._want(part, int(part.refill_below))
        part.refill_below = 0.0
        return Ask(lease, [msgspec.structs.replace(want, need=0)], [part])


def _name(account: Account) -> _Name:
    return account.budget_id, account.scope, account.period, account.unit


def by_lease(
    unsent: Sequence[tuple[Lease, GivenBack]],
) -> dict[Lease, list[GivenBack]]:
    """Sort what was not sent by the lease that it belongs to, in order."""
    found: dict[Lease, list[GivenBack]] = {}
    for lease, part in unsent:
        found.setdefault(lease, []).append(part)
    return found
