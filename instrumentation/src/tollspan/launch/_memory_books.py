"""Budgets of one process alone: held in its memory, while its events go into the ledger."""

from __future__ import annotations

from concurrent.futures import Future

from tollspan.budget import Busy, DeferredHold, Folder, Hold, MemoryLedger
from tollspan.ledger import SQLiteLedger
from tollspan.usage import DecisionEvent, UsageEvent

_MOST_EVENTS = 10_000


class MemoryBooks(MemoryLedger):
    """The memory authority, whose calls are durable all the same.

    What is spent is forgotten with the process, and other processes don't count; events stay.
    """

    def __init__(self, ledger: SQLiteLedger) -> None:
        super().__init__(most_events=_MOST_EVENTS)
        self._ledger = ledger
        self._folder = Folder(self)

    def tick(self) -> None:
        """Forget the accounts of those who are gone; call it about once a second."""
        self._folder.step()

    def post(self, event: UsageEvent, hold: Hold | None) -> None:
        """Store the event and settle its hold.

        Raises:
            LedgerError: Nothing was stored.
        """
        self._ledger.post(event, None)
        super().post(event, hold)

    def post_now(self, event: UsageEvent, hold: Hold | None) -> Busy | None:
        """Do as `post` does, but never wait."""
        answer = self._ledger.post_now(event, None)
        if answer is None:
            super().post(event, hold)
        return answer

    def post_soon(self, event: UsageEvent, hold: Hold | None) -> Future[None]:
        """Settle now, and hand the event to the ledger's thread."""
        super().post(event, hold)
        return self._ledger.post_soon(event, None)

    def rescue(self, event: UsageEvent, hold: Hold | None) -> None:
        """Settle, and keep the event where there is room."""
        super().post(event, hold)
        self._ledger.rescue(event, None)

    def defer(self, deferred: DeferredHold) -> bool:
        """Keep the call durably for its job, so that its event is written; its money, in memory.

        Raises:
            LedgerError: Nothing was kept.
        """
        return self._ledger.remember(deferred)

    def deferred(self, provider: str, job_id: str) -> tuple[DeferredHold, ...]:
        """Return what this host keeps for a job.

        Raises:
            LedgerError: The ledger can't be read.
        """
        return self._ledger.deferred(provider, job_id)

    def note(self, event: DecisionEvent) -> None:
        """Store a refusal."""
        self._ledger.note(event)
