"""Takes batches of events: reads each, refuses what is wrong with a reason, stores the others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from tollspan.ledger.central import CentralLedger, Stored
from tollspan.usage import EventVerdict, Fact, WireError, decode_cloud_event, event_id, split_batch

from .charging import Assessor
from .checking import refusal_of
from .principals import Principal
from .problems import ProblemError
from .settings import ServerSettings
from .tally import Outbox, Tally

_LONGEST_SAID: Final = 500
_MOST_COMMAS: Final = 400
"""Of an event, on average over a batch that is full: what has more is no batch of events, and would
be taken apart into as many pieces before they could be counted."""


class Receiver:
    """Takes events into the central ledger.

    Args:
        ledger: Where they go.
        settings: What is taken.
        tally: Is told what came.
        clock: Tells the time in nanoseconds since the epoch.
        assessor: Says what events charge that hosts don't settle; None where budgets are no matter.
    """

    def __init__(
        self,
        ledger: CentralLedger,
        settings: ServerSettings,
        tally: Tally,
        clock: Callable[[], int] = time.time_ns,
        assessor: Assessor | None = None,
    ) -> None:
        self._assessor = assessor
        self._ledger = ledger
        self._settings = settings
        self._tally = tally
        self._clock = clock

    def receive(self, who: Principal, body: bytes, *, is_batch: bool) -> list[EventVerdict]:
        """Take a batch, or one event; return a verdict for each, in order, once all is durable.

        Raises:
            ProblemError: It is no batch, or has too many events.
            LedgerUnavailableError: Nothing was stored.
        """
        return self.take(who, self.read(who, body, is_batch=is_batch))

    def read(self, who: Principal, body: bytes, *, is_batch: bool) -> list[Fact | EventVerdict]:
        """Read a batch, or one event; return each, or why it is refused.

        Raises:
            ProblemError: It is no batch, or has too many events.
        """
        return [self._read(who.tenant, one) for one in self._split(body, is_batch)]

    def take(
        self,
        who: Principal,
        read: Sequence[Fact | EventVerdict],
        outbox: Outbox | None = None,
    ) -> list[EventVerdict]:
        """Store the events among what was read; return a verdict for each.

        Args:
            who: Who sent them.
            read: What was read.
            outbox: What is left where they come from, as the host says.
        """
        facts = [one for one in read if not isinstance(one, EventVerdict)]
        stored = iter(self._stored(who.tenant, facts) if facts else ())
        verdicts = [
            one if isinstance(one, EventVerdict) else _verdict(event_id(one), next(stored))
            for one in read
        ]
        self._note(who, read, verdicts, outbox)
        return verdicts

    def _stored(self, tenant: str, facts: Sequence[Fact]) -> list[Stored]:
        """Store events, with what those that are new charge."""
        if self._assessor is None:
            return self._ledger.events.store(tenant, facts)
        due = self._assessor.of_events(tenant, facts)
        stored = self._ledger.events.store(tenant, facts, due)
        if due:
            self._assessor.wake()
        return stored

    def _note(
        self,
        who: Principal,
        read: Sequence[Fact | EventVerdict],
        verdicts: Sequence[EventVerdict],
        outbox: Outbox | None,
    ) -> None:
        new = [
            one
            for one, verdict in zip(read, verdicts, strict=True)
            if verdict.status == "accepted" and not isinstance(one, EventVerdict)
        ]
        rejected = Counter(one.reason for one in verdicts if one.status == "rejected")
        duplicates = len(verdicts) - len(new) - rejected.total()
        self._tally.note(
            who.tenant, who.key_id, new, source="events", duplicates=duplicates, rejected=rejected,
            outbox=outbox,
        )  # fmt: skip

    def _split(self, body: bytes, is_batch: bool) -> list[bytes]:  # noqa: FBT001 - one caller
        if not is_batch:
            return [body]
        most = self._settings.most_events
        if body.count(b",") > most * _MOST_COMMAS:
            raise ProblemError(413, f"the batch has too much in it; send {most:,} events at most")
        try:
            events = split_batch(body)
        except WireError as error:
            raise ProblemError(400, str(error)) from None
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
    if stored.status == "too_old":
        return EventVerdict(
            id=own, status="rejected", reason="too_old",
            message="events of that time are kept no more",
        )  # fmt: skip
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
