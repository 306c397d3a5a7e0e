"""A process's calls that go on elsewhere, while a shared authority's lease holds for them."""

from __future__ import annotations

from typing import Protocol

from tests.contract.ledger.making import call, charge, event
from tests.simulation.auditor import Auditor
from tests.simulation.world import NANO, NOON_UNIX_NS, World
from tollspan.budget import DeferredHold, Hold, LeasedLedger
from tollspan.usage import DecisionNote, LedgerError, UsageEvent

_PROVIDER = "openai"


class Kept(Protocol):
    """Where jobs are kept."""

    def deferred(self, provider: str, job_id: str) -> tuple[DeferredHold, ...]: ...


class Jobs:
    """What a process does with jobs, as the closer of a program does it.

    Args:
        world, auditor: What it lives in.
        ledger: Its leases, and the events and jobs of its host.
    """

    def __init__(self, world: World, auditor: Auditor, ledger: LeasedLedger) -> None:
        self._world, self._auditor, self._ledger = world, auditor, ledger

    def is_kept(self, hold: Hold, costs: list[int]) -> bool:
        """Keep a call that its provider has just accepted as a job; False where that can't be."""
        deferred = DeferredHold(
            provider=_PROVIDER,
            job_id=f"job-{hold.call_id}",
            call=call(hold.call_id),
            note=DecisionNote(),
            hold=hold,
            deferred_at_unix_ns=NOON_UNIX_NS + int(self._world.now * NANO),
        )
        self._auditor.costs[hold.call_id] = costs
        is_kept = self._ledger.defer(deferred)
        if is_kept:
            self._world.happens("  %s is a job", hold.call_id)
            (kept,) = jobs_of(self._ledger, hold.call_id)
            self._auditor.is_deferred(kept)
        return is_kept

    def see_end(self, call_id: str) -> None:
        """Hear from the provider what a job used, and post it where the host has kept the job."""
        for one in jobs_of(self._ledger, call_id):
            self._world.happens("  the job of %s has ended", call_id)
            made = end_of(one, self._auditor.costs[call_id])
            try:
                self._ledger.post(made, one.hold)
            except LedgerError:
                self._ledger.rescue(made, one.hold)


def jobs_of(kept: Kept, call_id: str) -> tuple[DeferredHold, ...]:
    """Find the job that a call is."""
    return kept.deferred(_PROVIDER, f"job-{call_id}")


def end_of(one: DeferredHold, costs: list[int]) -> UsageEvent:
    """Make the event of a job that has ended, as the closer does."""
    legs = one.hold.legs if one.hold is not None else ()
    charges = [charge(account, posted=cost) for (account, _), cost in zip(legs, costs, strict=True)]
    return one.named(event(one.call.id, *charges))
