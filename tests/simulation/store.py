"""A host's event store: what was finished there, and what of it the authority was told."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from tests.simulation.link import Link
from tests.simulation.world import World
from tollspan.budget import Busy, DeferredHold, Hold, Settlement
from tollspan.usage import DecisionEvent, LedgerError, LedgerUnavailableError, UsageEvent


class Store:
    """Books that keep events first: what an authority is told of them follows, once or often.

    Attributes:
        events: All that was ever stored, by call: they survive every crash.
        unsettled: Calls of which the authority has not said yet that it knows them.
        jobs: What is kept for jobs, by provider, id and part.
        is_full: Nothing can be stored just now, only rescued.
    """

    def __init__(self, world: World, is_stored: Callable[[UsageEvent], None]) -> None:
        self._world = world
        self._is_stored = is_stored
        self.events: dict[str, UsageEvent] = {}
        self.unsettled: dict[str, None] = {}
        self.jobs: dict[tuple[str, str, int], DeferredHold] = {}
        self.is_full = False

    def post(self, event: UsageEvent, hold: Hold | None) -> None:
        if self.is_full:
            raise LedgerUnavailableError("the disk is full")
        self.rescue(event, hold)

    def post_now(self, event: UsageEvent, hold: Hold | None) -> Busy | None:
        self.post(event, hold)
        return None

    def post_soon(self, event: UsageEvent, hold: Hold | None) -> Future[None]:
        future: Future[None] = Future()
        self.rescue(event, hold)
        future.set_result(None)
        return future

    def rescue(self, event: UsageEvent, hold: Hold | None) -> None:
        if event.call.id not in self.events:
            self.events[event.call.id] = event
            self.unsettled[event.call.id] = None
            self._is_stored(event)

    def note(self, event: DecisionEvent) -> None:
        pass

    def defer(self, deferred: DeferredHold) -> bool:
        key = (deferred.provider, deferred.job_id, deferred.part)
        return self.jobs.setdefault(key, deferred).call.id == deferred.call.id

    def deferred(self, provider: str, job_id: str) -> tuple[DeferredHold, ...]:
        kept = [one for key, one in self.jobs.items() if key[:2] == (provider, job_id)]
        return tuple([one for one in kept if one.call.id not in self.events])

    def tell(self, link: Link, *, most: int) -> None:
        """Tell the authority of some calls, in any order, some of them anew."""
        chance = self._world.chance
        calls = list(self.unsettled)
        chance.shuffle(calls)
        calls = calls[:most]
        if self._world.is_likely(0.1) and self.events:
            calls.append(chance.choice(list(self.events)))
        if not calls:
            return
        try:
            link.settle([settlement(self.events[call]) for call in calls])
        except LedgerError:
            return
        for call in calls:
            self.unsettled.pop(call, None)


def settlement(event: UsageEvent) -> Settlement:
    """Say what an event puts into its accounts."""
    return Settlement(call_id=event.call.id, lease_id=event.lease_id, charges=event.charges)


def drawn(event: UsageEvent) -> list[tuple[tuple[str, str, str, str], int]]:
    """Return what an event takes out of its lease, by the names of accounts."""
    return [
        (
            (one.budget_id, one.scope, one.period, one.unit),
            one.posted + one.unresolved if one.drawn is None else one.drawn,
        )
        for one in event.charges
    ]
