"""Takes batches of events: reads each, refuses what is wrong with a reason, stores the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from tollspan.ledger.central import CentralLedger, Stored
from tollspan.usage import EventVerdict, Fact, WireError, decode_cloud_event, event_id, split_batch

from .checking import refusal_of
from .problems import ProblemError
from .settings import ServerSettings

_LONGEST_SAID: Final = 500


class Receiver:
    """Takes events into the central ledger.

    Args:
        ledger: Where they go.
        settings: What is taken.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(
        self,
        ledger: CentralLedger,
        settings: ServerSettings,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._clock = clock

    def receive(self, tenant: str, body: bytes, *, is_batch: bool) -> list[EventVerdict]:
        """Take a batch, or one event; return a verdict for each, in order, once all is durable.

        Raises:
            ProblemError: It is no batch, or has too many events.
            LedgerUnavailableError: Nothing was stored.
        """
        return self.take(tenant, [self._read(tenant, one) for one in self._split(body, is_batch)])

    def take(self, tenant: str, read: Sequence[Fact | EventVerdict]) -> list[EventVerdict]:
        """Store the events among what was read; return a verdict for each."""
        facts = [one for one in read if not isinstance(one, EventVerdict)]
        stored = iter(self._ledger.events.store(tenant, facts) if facts else ())
        return [
            one if isinstance(one, EventVerdict) else _verdict(event_id(one), next(stored))
            for one in read
        ]

    def _split(self, body: bytes, is_batch: bool) -> list[bytes]:  # noqa: FBT001 - one caller
        if not is_batch:
            return [body]
        try:
            events = split_batch(body)
        except WireError as error:
            raise ProblemError(400, str(error)) from None
        most = self._settings.most_events
        if len(events) > most:
            raise ProblemError(
                413, f"the batch has {len(events):,} events; send {most:,} at once at most"
            )
        return events

    def _read(self, tenant: str, data: bytes) -> Fact | EventVerdict:
        try:
            fact = decode_cloud_event(data)
        except WireError as error:
            return EventVerdict(
                status="rejected", reason="invalid", message=str(error)[:_LONGEST_SAID]
            )
        refusal = refusal_of(
            fact, tenant=tenant, now_unix_ns=self._clock(), settings=self._settings
        )
        if refusal is None:
            return fact
        return EventVerdict(
            id=event_id(fact), status="rejected", reason=refusal.reason,
            message=refusal.message[:_LONGEST_SAID],
        )  # fmt: skip


def _verdict(own: str, stored: Stored) -> EventVerdict:
    if stored.status == "conflict":
        return EventVerdict(
            id=own, status="rejected", reason="conflict",
            message="an event of this id is stored, and says something else",
        )  # fmt: skip
    if stored.status == "duplicate" and stored.of != own:
        return EventVerdict(
            id=own, status="duplicate", reason="same_call", message=f"it is counted as {stored.of}"
        )
    return EventVerdict(id=own, status=stored.status)
