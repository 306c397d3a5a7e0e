"""A process's calls that go on elsewhere: kept as jobs, and settled by whoever sees their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tests.contract.ledger.making import call, charge, event
from tests.simulation.host.auditor import Auditor, Doing
from tests.simulation.world import NANO, NOON_UNIX_NS, World
from tollspan.budget import DeferredHold, Hold
from tollspan.usage import DecisionNote, LedgerError, UsageEvent

_PROVIDER = "openai"


class Door(Protocol):
    """The books of a process, as far as jobs go."""

    def defer(self, deferred: DeferredHold) -> bool: ...

    def deferred(self, provider: str, job_id: str) -> tuple[DeferredHold, ...]: ...

    def post(self, event: UsageEvent, hold: Hold | None) -> None: ...

    def rescue(self, event: UsageEvent, hold: Hold | None) -> None: ...


class Jobs:
    """What a process does with jobs, as the closer of a program does it.

    Attributes:
        settling: Calls whose end it is just telling.

    Args:
        world, auditor: What it lives in.
        door: Its books, by single holds or by leases.
        ends_at_once: Has some process see a job's end at once, before this one has kept it or not.
    """

    def __init__(
        self,
        world: World,
        auditor: Auditor,
        door: Callable[[], Door],
        ends_at_once: Callable[[str], None],
    ) -> None:
        self._world, self._auditor, self._door = world, auditor, door
        self._ends_at_once = ends_at_once
        self.settling: set[str] = set()

    def is_kept(self, doing: Doing) -> bool:
        """Keep a call that its provider has just accepted as a job; False where that can't be."""
        call_id = doing.hold.call_id
        deferred = DeferredHold(
            provider=_PROVIDER,
            job_id=job_of(call_id),
            call=call(call_id),
            note=DecisionNote(),
            hold=doing.hold,
            deferred_at_unix_ns=NOON_UNIX_NS + int(self._world.now * NANO),
        )
        self._auditor.is_accepted(doing)
        if self._world.is_likely(0.2):
            self._ends_at_once(call_id)
        try:
            is_kept = self._door().defer(deferred)
            if is_kept:
                self._auditor.is_deferred(call_id)
                self._world.happens("  %s is a job", call_id)
            if self._world.is_likely(0.2):  # another thread's answer was of the same job
                self._door().defer(deferred)
        except LedgerError:
            return call_id in self._auditor.deferred
        return is_kept

    def see_end(self, call_id: str) -> None:
        """Hear from the provider what a job used, and post it where the ledger has kept the job."""
        try:
            found = self._door().deferred(_PROVIDER, job_of(call_id))
        except LedgerError:
            return
        for one in found:
            doing = self._auditor.accepted[one.call.id]
            charges = [
                charge(account, posted=cost)
                for (account, _), cost in zip(doing.hold.legs, doing.costs, strict=True)
            ]
            self._settle(one, event(one.call.id, *charges))

    def _settle(self, one: DeferredHold, made: UsageEvent) -> None:
        self._world.happens("  the job of %s has ended", one.call.id)
        self.settling.add(one.call.id)
        try:
            self._door().post(made, one.hold)
        except LedgerError:
            self._door().rescue(made, one.hold)
        self.settling.discard(one.call.id)
        self._auditor.is_kept(one.call.id)


def job_of(call_id: str) -> str:
    """Name the job that a call is, as its provider does."""
    return f"job-{call_id}"
