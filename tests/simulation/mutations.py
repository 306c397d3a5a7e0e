"""Defects that the simulation must find: each is the real code with one thing left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from tollspan.budget import DeferredHold, GivenBack, Lease, LeasedLedger, MemoryAuthority
from tollspan.budget.account_rows import key_of
from tollspan.budget.escrow import Ask, Escrow, Part
from tollspan.budget.shared_state import Asked, Holding
from tollspan.budget.values import Balance
from tollspan.usage import Charge, UsageEvent

Mutation = Callable[[pytest.MonkeyPatch], None]


def no_drift_margin(patch: pytest.MonkeyPatch) -> None:
    """A lease lives as long for its holder as for the authority, whatever their clocks say."""
    real = Escrow.live

    def live(self: Escrow, asked_at: float, life_seconds: float | None) -> None:
        real(self, asked_at + self._settings.drift_seconds, life_seconds)

    patch.setattr(Escrow, "live", live)


def expiry_not_seen(patch: pytest.MonkeyPatch) -> None:
    """A holder goes on with a lease that is over."""

    def live(self: Escrow, asked_at: float, life_seconds: float | None) -> None:
        if life_seconds is not None:
            self.ends_at = math.inf
            self.renew_at = asked_at + life_seconds / 2

    patch.setattr(Escrow, "live", live)


def settled_twice(patch: pytest.MonkeyPatch) -> None:
    """A call that is told again is charged again."""
    real = MemoryAuthority.settle

    def settle(self: MemoryAuthority, settlements: Sequence[Any]) -> None:
        for one in settlements:
            self._state.settled.pop(one.call_id, None)
            real(self, [one])

    patch.setattr(MemoryAuthority, "settle", settle)


def given_back_twice(patch: pytest.MonkeyPatch) -> None:
    """What goes back is counted by its amount, not by its total."""
    real = MemoryAuthority._take_back

    def take_back(self: MemoryAuthority, has: Holding, given: GivenBack) -> None:
        part = has.parts.get(key_of(given.account))
        if part is not None:
            part.returned = given.total - given.amount
        real(self, has, given)

    patch.setattr(MemoryAuthority, "_take_back", take_back)


def old_parts_are_new(patch: pytest.MonkeyPatch) -> None:
    """A late message about a part that was given up is taken for one about the new part."""
    real = MemoryAuthority._take_back

    def take_back(self: MemoryAuthority, has: Holding, given: GivenBack) -> None:
        part = has.parts.get(key_of(given.account))
        number = part.number if part is not None else given.part
        real(self, has, msgspec.structs.replace(given, part=number))

    patch.setattr(MemoryAuthority, "_take_back", take_back)


def last_message_frees_all(patch: pytest.MonkeyPatch) -> None:
    """The last message of a part frees what is for events to come."""
    real = MemoryAuthority._take_back

    def take_back(self: MemoryAuthority, has: Holding, given: GivenBack) -> None:
        part = has.parts.get(key_of(given.account))
        if given.is_last and part is not None:
            given = msgspec.structs.replace(given, total=part.returned + part.amount)
        real(self, has, given)

    patch.setattr(MemoryAuthority, "_take_back", take_back)


def parts_are_reused(patch: pytest.MonkeyPatch) -> None:
    """A holder draws again from a part that it gave up, not knowing whether this was heard."""

    def unsent(self: Escrow, lease: Lease, given: Sequence[GivenBack]) -> list[GivenBack]:
        for _, part in self._told_of(lease, given):
            part.is_asked = False
        return [msgspec.structs.replace(one, is_last=False) for one in given]

    def collect(self: Escrow, *, idle_seconds: float) -> list[GivenBack]:
        for part in self._names.values():
            part.told = part.returned
        return real(self, idle_seconds=idle_seconds)

    real = Escrow.collect
    patch.setattr(Escrow, "unsent", unsent)
    patch.setattr(Escrow, "collect", collect)


def expiry_frees(patch: pytest.MonkeyPatch) -> None:
    """What an ended lease held is free at once."""
    real = MemoryAuthority._end

    def end(self: MemoryAuthority, lease_id: str, has: Holding, ended_at: int) -> None:
        for key, part in has.parts.items():
            self._state.row(key).held -= part.amount
            part.amount = 0
        real(self, lease_id, has, ended_at)

    patch.setattr(MemoryAuthority, "_end", end)


def horizon_frees(patch: pytest.MonkeyPatch) -> None:
    """What is unresolved is free when the horizon is over."""

    def write_off(self: MemoryAuthority, has: Holding) -> None:
        has.is_written_off = True
        for key, part in has.parts.items():
            self._state.row(key).unresolved -= part.amount
        has.parts.clear()

    patch.setattr(MemoryAuthority, "_write_off", write_off)


def unresolved_is_free(patch: pytest.MonkeyPatch) -> None:
    """What is unresolved does not count against the limit."""
    patch.setattr(Balance, "counted", property(lambda self: self.posted + self.held))


def one_too_many(patch: pytest.MonkeyPatch) -> None:
    """The limit is off by one."""
    patch.setattr(
        Balance, "fits", lambda self, amount: self.counted + amount <= self.account.limit + 1
    )


def not_all_or_none(patch: pytest.MonkeyPatch) -> None:
    """Accounts that have room are granted though another has none."""
    real = MemoryAuthority.grant

    def grant(self: MemoryAuthority, lease: Lease, wants: Sequence[Any]) -> Any:
        answer = real(self, lease, wants)
        if not hasattr(answer, "totals"):
            for want in wants:
                real(self, lease, [want])
        return answer

    patch.setattr(MemoryAuthority, "grant", grant)


def lost_answer_granted_twice(patch: pytest.MonkeyPatch) -> None:
    """What a holder never heard of is told, and granted beside it once more than it is held."""
    real = MemoryAuthority._grant

    def grant(self: MemoryAuthority, has: Holding, asked: Asked) -> None:
        real(self, has, asked)
        part = has.parts[key_of(asked.want.account)]
        if part.granted > asked.want.known + asked.want.wish:
            part.granted += asked.want.need

    patch.setattr(MemoryAuthority, "_grant", grant)


def fork_keeps_the_lease(patch: pytest.MonkeyPatch) -> None:
    """A forked child goes on with its parent's lease."""
    real = LeasedLedger.forget

    def forget(self: LeasedLedger) -> None:
        kept = getattr(self, "_escrow", None)
        real(self)
        if kept is not None:
            self._escrow = kept

    patch.setattr(LeasedLedger, "forget", forget)


def old_fence_credits(patch: pytest.MonkeyPatch) -> None:
    """What a call did not use of a lease that is over is the new lease's."""
    real = Escrow.settle

    def settle(self: Escrow, call_id: str) -> bool:
        opened = self._open.get(call_id)
        if opened is not None:
            for at, part in enumerate(opened.parts):
                opened.parts[at] = self._parts.get(part.account, part)
        return real(self, call_id)

    patch.setattr(Escrow, "settle", settle)


def lease_outlives_its_loss(patch: pytest.MonkeyPatch) -> None:
    """A holder that is told that its lease is lost goes on with what it had."""

    def lose(self: Escrow, lease: Lease) -> None:
        if self.lease is not None and lease.id == self.lease.id:
            self._fence += 1
            self.lease = None
            self.ends_at = self.renew_at = math.inf

    patch.setattr(Escrow, "lose", lose)


def overrun_out_of_the_lease(patch: pytest.MonkeyPatch) -> None:
    """What a call cost beyond its hold goes out of what other calls of its lease hold."""
    real = Escrow.named

    def named(self: Escrow, event: UsageEvent) -> UsageEvent:
        made = real(self, event)
        charges: list[Charge] = [msgspec.structs.replace(one, drawn=None) for one in made.charges]
        return msgspec.structs.replace(made, charges=tuple(charges))

    patch.setattr(Escrow, "named", named)


def undone_twice(patch: pytest.MonkeyPatch) -> None:
    """What was reserved for a question that came to nothing is put back twice."""
    real = Escrow.undo

    def undo(self: Escrow, ask: Ask) -> None:
        real(self, ask)
        for part, amount in zip(ask.parts, ask.reserved, strict=True):
            part.left += amount

    patch.setattr(Escrow, "undo", undo)


def takes_are_free(patch: pytest.MonkeyPatch) -> None:
    """A call takes nothing from a part that has just enough."""
    real = Part.lacks

    def lacks(self: Part, amount: int) -> bool:
        if self.left == amount - 1 > 0:
            self.left += 1
        return real(self, amount)

    patch.setattr(Part, "lacks", lacks)


def old_backup_not_seen(patch: pytest.MonkeyPatch) -> None:
    """An authority that was restored grants on."""
    patch.setattr(MemoryAuthority, "_shut", lambda self, seen_epoch="": None)


def a_job_returns_to_its_lease(patch: pytest.MonkeyPatch) -> None:
    """What a call held is the lease's again, though its job has it."""
    patch.setattr(Escrow, "leave", lambda self, call_id: self.settle(call_id))


def a_jobs_end_names_no_lease(patch: pytest.MonkeyPatch) -> None:
    """What a job cost is charged beside what its lease holds for it."""
    patch.setattr(DeferredHold, "named", lambda self, event: event)


MUTATIONS: tuple[Mutation, ...] = (
    no_drift_margin,
    expiry_not_seen,
    settled_twice,
    given_back_twice,
    old_parts_are_new,
    last_message_frees_all,
    parts_are_reused,
    expiry_frees,
    horizon_frees,
    unresolved_is_free,
    one_too_many,
    not_all_or_none,
    lost_answer_granted_twice,
    fork_keeps_the_lease,
    old_fence_credits,
    lease_outlives_its_loss,
    overrun_out_of_the_lease,
    undone_twice,
    takes_are_free,
    old_backup_not_seen,
    a_job_returns_to_its_lease,
    a_jobs_end_names_no_lease,
)
SUITED: dict[Mutation, dict[str, object]] = {
    no_drift_margin: {
        "clocks": "skewed", "cuts": 1.5, "loss": 0.2, "slow": 0.0, "restores": 0,
        "calls_that_fit": 20_000, "processes": 4,
    },
}  # fmt: skip
"""What is the same in all plans that some are looked for in, which few worlds would find."""
