"""Watches everything: what the provider counted, what the authority counts, what holders have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Protocol, TypeVar

from tests.simulation.store import Store, drawn
from tests.simulation.world import LawBrokenError, World
from tollspan.budget import (
    Account,
    Balance,
    DeferredHold,
    GivenBack,
    Grant,
    Lease,
    LeasedLedger,
    LeaseLostError,
    MemoryAuthority,
    Refusal,
    Settlement,
    Touch,
    Want,
)
from tollspan.usage import UsageEvent

_ESCROW = "no holder has more than the authority holds for it"
Answer = TypeVar("Answer")
Key = tuple[str, str, str, str]
Place = tuple[str, Key]
"""A lease and an account."""


class Holder(Protocol):
    """A process that is alive, as far as it matters here."""

    ledger: LeasedLedger

    def is_at_work(self) -> bool: ...


class Auditor:
    """The authority at the other end of the network, and the laws.

    Attributes:
        highest: The highest limit that was ever in force, by budget.
        spent: What the provider counted, calls in flight included.
        beyond: What calls cost beyond their holds, and what a restored backup cost: named causes.
        owed: What events that are stored and not settled will take out of leases.
        killed: What calls cost that died with their process, as far as they held it.
        jobs: What leases hold for calls that are jobs whose end nobody has told, by call.
        costs: What jobs cost, in each account.
        lost: Jobs for which a restored authority does not know that it holds anything.
        resolved: What an operator said was spent.
        is_true: The authority knows all that it was told; False from a restore until it is opened.
        has_lapsed: Some lease was over before its process was.
        hidden: Leases to which it granted something since a restore, in answer to a question from
            before, so that it knows of as many grants as their holders, but not of the same.
    """

    def __init__(
        self, world: World, authority: MemoryAuthority, clock: Callable[[], int], *, is_strict: bool
    ) -> None:
        self._world = world
        self._clock = clock
        self._is_strict = is_strict
        self.authority = authority
        self.stores: list[Store] = []
        self.holders: list[Holder] = []
        self.highest: Counter[str] = Counter()
        self.soft: set[str] = set()
        self.spent: Counter[Key] = Counter()
        self.beyond: Counter[Key] = Counter()
        self.owed: Counter[Place] = Counter()
        self.killed: Counter[Place] = Counter()
        self.jobs: dict[str, Counter[Place]] = {}
        self.costs: dict[str, list[int]] = {}
        self.lost: set[str] = set()
        self.resolved: Counter[Key] = Counter()
        self.is_true = True
        self.hidden: set[str] = set()
        self.has_lapsed = False
        self._posted: Counter[Key] = Counter()
        self._unresolved: Counter[Key] = Counter()
        self.admitted = 0
        self.broken: LawBrokenError | None = None
        self._dirty_epoch: str | None = None

    # -- the authority, watched --

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        self._world.happens("    %s asks %s", lease.id, [_brief(one) for one in wants])
        before = [self._counted(one.account) for one in wants]
        known = {_key(one.account) for one in wants if one.known}
        answer = self._told(lease, known, lambda: self.authority.grant(lease, wants))
        if isinstance(answer, Grant) and not self.is_true:
            heard = [one.ledger._escrow.lease for one in self.holders]
            if any(one and one.id == lease.id and one.heard >= answer.number for one in heard):
                self.hidden.add(lease.id)
        self._world.happens("    %s is answered %s", lease.id, _said(answer))
        after = [self._counted(one.account) for one in wants]
        for want, was, is_now in zip(wants, before, after, strict=True):
            if isinstance(answer, Refusal):
                self._law(was == is_now, "a refusal holds nothing")
            elif is_now > was and not want.account.is_soft:
                self._law(is_now <= want.account.limit, "a grant fits the limit that it goes by")
        return answer

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None:
        self._world.happens(
            "    %s gives back %s",
            lease.id,
            [
                (one.account.budget_id, one.part, one.amount, one.total, one.is_last)
                for one in parts
            ],
        )
        known = {_key(one.account) for one in parts if one.known}
        return self._told(lease, known, lambda: self.authority.give_back(lease, parts))

    def settle(self, settlements: Sequence[Settlement]) -> None:
        known = self.authority._state.settled
        new = {one.call_id: one for one in settlements if one.call_id not in known}
        self.authority.settle(settlements)
        for call_id, one in new.items():
            self._world.happens("    %s is settled", call_id)
            self._count(one)
            for store in self.stores:
                if call_id in store.events:
                    self._owe(store.events[call_id], -1)

    def touch(self, touch: Touch) -> str:
        return self.authority.touch(touch)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        return self.authority.balances(accounts)

    def is_first(self, account: Account, share: Decimal) -> bool:
        return self.authority.is_first(account, share)

    def _told(self, lease: Lease, known: set[Key], message: Callable[[], Answer]) -> Answer:
        """Deliver a message; one that knows more than a restored backup must be found out.

        Args:
            lease: Whose it is.
            known: The accounts of which it says that something was granted there.
            message: Delivers it.
        """
        must_shut = (
            not self.is_true
            and self.authority.epoch() == lease.epoch == self._dirty_epoch
            and self._dirty_epoch is not None
            and self._has_too_much(lease, known)
        )
        self.has_lapsed |= lease.fence > 1
        try:
            return message()
        except LeaseLostError:
            self.has_lapsed = True
            self._world.happens("    %s is lost", lease.id)
            raise
        finally:
            if must_shut:
                self._law(self.authority.epoch() is None, "an old backup is found out")

    # -- what the provider and the stores count --

    def is_admitted(self, call_id: str, lease: Lease) -> None:
        """Check that a call was let through under a lease that was not over."""
        self.admitted += 1
        self._world.happens("  %s is admitted under %s", call_id, lease.id)
        if not (self._is_strict and self.is_true):
            return
        has = self.authority._state.open.get(lease.id)
        is_open = has is not None and self._clock() < has.expires_at
        self._law(is_open, "no call is admitted under a lease that is over")

    def is_stored(self, event: UsageEvent) -> None:
        """Note an event that survives its process from now on."""
        self._owe(event, 1)
        self.jobs.pop(event.call.id, None)

    def is_deferred(self, job: DeferredHold) -> None:
        """Note a job: what its lease holds for it stays held, whoever lives."""
        legs = job.hold.legs if job.hold is not None else ()
        held = Counter[Place]()
        for (account, _), amount in zip(legs, job.drawn, strict=True):
            held[job.lease_id or "", _key(account)] += amount
        self.jobs[job.call.id] = held

    def _owe(self, event: UsageEvent, sign: int) -> None:
        if event.lease_id is not None and event.call.id not in self.lost:
            for key, amount in drawn(event):
                self.owed[event.lease_id, key] += sign * amount

    def _count(self, one: Settlement) -> None:
        for charge in one.charges:
            key = (charge.budget_id, charge.scope, charge.period, charge.unit)
            self._posted[key] += charge.posted
            self._unresolved[key] += charge.unresolved

    def events(self) -> list[UsageEvent]:
        """Return all that was ever stored anywhere."""
        return [event for store in self.stores for event in store.events.values()]

    def takes_stock(self) -> None:
        """Count anew after the authority has lost something, or was told of it again."""
        settled = self.authority._state.settled
        for counter in (self._posted, self._unresolved, self.owed):
            counter.clear()
        for event in self.events():
            if event.call.id in settled:
                self._count(Settlement(call_id="", lease_id=event.lease_id, charges=event.charges))
            else:
                self._owe(event, 1)

    def restored(self) -> None:
        """Note what a backup knows, which the authority was just restored from."""
        self.is_true = False
        self.hidden.clear()
        self._dirty_epoch = self.authority.epoch()
        self.takes_stock()

    def forgives(self) -> None:
        """Name what a restored backup cost: what the authority could not know any more."""
        state = self.authority._state
        self.takes_stock()
        claims = Counter(self.owed)
        for held in (self.killed, *self.jobs.values()):
            claims.update(held)
        has = {
            (lease_id, key): part.amount
            for lease_id, one in state.ended.items()
            for key, part in one.parts.items()
        }
        short = {place[0] for place, amount in claims.items() if amount > has.get(place, 0)}
        for held in (self.killed, *self.jobs.values()):
            for place, amount in list(held.items()):
                if place[0] in short:  # who comes first takes what is there, whosever it is
                    held[place] = 0
                    self.beyond[place[1]] += amount
        self.lost |= {
            call_id
            for call_id, held in self.jobs.items()
            if any(place[0] in short for place in held)
        }
        for key, row in state.rows.items():
            counted = row.posted + row.held + row.unresolved
            excess = counted - self.highest[key[0]] - self.beyond[key]
            self.beyond[key] += max(0, excess)
        self.is_true = True

    # -- laws --

    def check(self) -> None:
        """Check what must hold after every step."""
        if self.broken is not None:
            raise self.broken
        state = self.authority._state
        open_of, left_of = Counter[Key](), Counter[Key]()
        written_off: Counter[Key] = Counter()
        has: dict[Place, int] = {}
        for leases in (state.open, state.ended):
            for lease_id, one in leases.items():
                sums = (
                    open_of
                    if one.ended_at is None
                    else written_off
                    if one.is_written_off
                    else left_of
                )
                for key, part in one.parts.items():
                    sums[key] += part.amount
                    has[lease_id, key] = part.amount
                    self._law(part.amount >= 0, "no lease holds less than nothing")
        for key, row in state.rows.items():
            self._law(row.held == open_of[key], "what is held is in leases that are open")
            self._law(
                row.unresolved == left_of[key] + self._unresolved[key],
                "what is unresolved is of leases that ended, and of events that say so",
            )
            self._law(
                row.posted == self._posted[key] + self.resolved[key] + written_off[key],
                "what is posted is of events, each once, of an operator, and written off",
            )
            if self.is_true and key[0] not in self.soft:
                most = self.highest[key[0]] + self.beyond[key]
                self._law(
                    row.posted + row.held + row.unresolved <= most,
                    "no more is counted than the highest limit and what is named",
                )
        if self.is_true:
            self._check_the_provider()
            for place, amount in self._used().items():
                self._law(amount <= has.get(place, 0), _ESCROW)

    def _check_the_provider(self) -> None:
        for key, spent in self.spent.items():
            if key[0] not in self.soft:
                self._law(
                    spent <= self.highest[key[0]] + self.beyond[key],
                    "the provider counts no more than the highest limit and what is named",
                )

    def _used(self) -> Counter[Place]:
        """Return what was and may still be spent of each lease, and is not settled."""
        used: Counter[Place] = Counter(self.owed)
        used.update(self.killed)
        for held in self.jobs.values():
            used.update(held)
        for holder in self.holders:
            escrow = holder.ledger._escrow
            for opened in escrow._open.values():
                for part, amount in zip(opened.parts, opened.amounts, strict=True):
                    used[opened.lease.id, _key(part.account)] += amount
            if escrow.lease is not None and escrow._clock() < escrow.ends_at:
                for name, part in escrow._names.items():
                    self._law(part.left >= 0, "no lease has less than nothing left")
                    used[escrow.lease.id, name] += part.left
        return used

    def _has_too_much(self, lease: Lease, known: set[Key]) -> bool:
        """Say whether a process that has heard all of its lease has more than is known of it.

        Where the count of its grants tells nothing, what it says of single accounts does.
        """
        newest = [one.ledger._escrow.lease for one in self.holders]
        if lease not in newest:
            return False
        state = self.authority._state
        has = state.open.get(lease.id) or state.ended.get(lease.id)
        parts = has.parts if has is not None else {}
        return any(
            amount > (parts[key].amount if key in parts else 0)
            for (lease_id, key), amount in self._used().items()
            if lease_id == lease.id and (key in known or lease.id not in self.hidden)
        )

    def _counted(self, account: Account) -> int:
        (balance,) = self.authority.balances([account])
        return balance.counted

    def _law(self, is_kept: bool, law: str) -> None:
        if not is_kept:
            self.broken = LawBrokenError(law)  # a future's callback may keep it to itself
            raise self.broken


def _key(account: Account) -> Key:
    return account.budget_id, account.scope, account.period, account.unit


def _brief(want: Want) -> tuple[object, ...]:
    return want.account.budget_id, want.account.limit, want.part, want.known, want.need, want.wish


def _said(answer: Grant | Refusal) -> object:
    if isinstance(answer, Grant):
        return answer.totals
    return "no: " + ", ".join(one.account.budget_id for one in answer.balances)
