"""Counts what is sent to this server, and who sends it, and writes that down every few seconds."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from tollspan.ledger.central import CentralLedger, Sender, Stored
from tollspan.usage import Adjustment, DecisionEvent, Fact, LedgerError, UsageEvent, event_time

from .metrics import ServerMetrics, Source
from .settings import NS_PER_SECOND

ACCEPTED: Final = "accepted"
DUPLICATE: Final = "duplicate"
REJECTED: Final = "rejected:"
"""What came, as it is counted; behind the last is the reason."""
LAG: Final = "lag:"
LAG_SECONDS: Final = (1, 10, 60, 600, 3_600, 86_400)
"""New events are counted by how long after their calls' ends they came: below each, or above."""
BEYOND: Final = "more"
_EVERY_SECONDS: Final = 2.0
_MINUTE_NS: Final = 60 * NS_PER_SECOND
_MOST_SENDERS: Final = 10_000
Store = Callable[[str, Sequence[Fact]], list[Stored]]
"""Stores a tenant's events."""
_log = logging.getLogger(__name__)
_Place = tuple[str, str, str, str]


class Outbox(msgspec.Struct, frozen=True, kw_only=True):
    """What a host says of its outbox.

    Attributes:
        waiting: How many events are left to be sent; None where it does not say.
        refused: How many dead letters it has.
    """

    waiting: int | None = None
    refused: int | None = None


class Tally:
    """Counts in memory; safe for threads.

    Args:
        ledger: Where it is written down.
        metrics: Are told too.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(
        self,
        ledger: CentralLedger,
        metrics: ServerMetrics,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._metrics = metrics
        self._receipts = ledger.receipts
        self._clock = clock
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._counts: Counter[tuple[str, int, str]] = Counter()
        self._senders: dict[_Place, Sender] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tollspan-tally", daemon=True)

    def start(self) -> None:
        """Begin to write down."""
        self._thread.start()

    def close(self) -> None:
        """Write down what is left."""
        self._ending.set()
        self._thread.join()
        self._try()

    def note(
        self,
        tenant: str,
        key_id: str,
        accepted: Sequence[Fact],
        *,
        source: Source,
        duplicates: int = 0,
        rejected: Mapping[str, int] = {},
        outbox: Outbox | None = None,
    ) -> None:
        """Count what a request brought.

        Args:
            tenant: For whom it came.
            key_id: With which key.
            accepted: What was new of it.
            source: In what form it came.
            duplicates: How many events were there already.
            rejected: How many were refused, by reason.
            outbox: What is left in the one of the host that sent it, where it says so.
        """
        self._metrics.took(source, accepted, duplicates=duplicates, rejected=rejected)
        now = self._clock()
        counts: Counter[str] = Counter()
        if duplicates:
            counts[DUPLICATE] = duplicates
        for reason, number in rejected.items():
            counts[REJECTED + reason] += number
        senders = _senders(key_id, accepted, now, counts, outbox or Outbox())
        minute = now // _MINUTE_NS
        with self._lock:
            for what, number in counts.items():
                self._counts[tenant, minute, what] += number
            for one in senders:
                place = (tenant, one.key_id, one.service, one.environment)
                before = self._senders.get(place)
                if before is not None or len(self._senders) < _MOST_SENDERS:
                    self._senders[place] = one if before is None else joined(before, one)

    def storing(self, store: Store) -> Store:
        """Return what stores the events of calls that are asked for here, and counts the new ones.

        No key is noted with them: a call may be ended by a server that nobody asks for it.
        """

        def stored(tenant: str, facts: Sequence[Fact]) -> list[Stored]:
            became = store(tenant, facts)
            new = [
                fact for fact, one in zip(facts, became, strict=True) if one.status == "accepted"
            ]
            self.note(tenant, "", new, source="calls")
            return became

        return stored

    def flush(self) -> None:
        """Write down what was counted.

        Raises:
            LedgerError: It can't be; it is kept, and tried again later.
        """
        with self._writing:
            with self._lock:
                counts, self._counts = self._counts, Counter()
                senders, self._senders = self._senders, {}
            try:
                self._receipts.add(counts, [(place[0], one) for place, one in senders.items()])
            except LedgerError:
                with self._lock:
                    self._counts.update(counts)
                    for place, one in senders.items():
                        after = self._senders.get(place)
                        self._senders[place] = one if after is None else joined(one, after)
                raise

    def _run(self) -> None:
        while not self._ending.wait(_EVERY_SECONDS):
            self._try()

    def _try(self) -> None:
        try:
            self.flush()
        except LedgerError as error:
            _log.warning("what came in could not be noted, and is tried again: %s", error)


def joined(before: Sender, after: Sender) -> Sender:
    """Return what two notes of one sender say together."""
    return Sender(
        key_id=after.key_id, service=after.service, environment=after.environment,
        received_unix_ns=max(before.received_unix_ns, after.received_unix_ns),
        call_unix_ns=max(before.call_unix_ns, after.call_unix_ns),
        behind_ns=after.behind_ns, events=before.events + after.events,
        waiting=before.waiting if after.waiting is None else after.waiting,
        refused=before.refused if after.refused is None else after.refused,
    )  # fmt: skip


def _senders(
    key_id: str, accepted: Iterable[Fact], now: int, counts: Counter[str], outbox: Outbox
) -> Iterable[Sender]:
    """Count new events, and return who sent them."""
    found: dict[tuple[str, str], tuple[int, int, int]] = {}
    for fact in accepted:
        counts[ACCEPTED] += 1
        if isinstance(fact, Adjustment):
            continue
        ended = _end(fact)
        counts[LAG + lag_class(now - ended)] += 1
        who = fact.call.attribution
        place = (who.service or "", who.environment or "")
        call, end, number = found.get(place, (0, 0, 0))
        found[place] = (max(call, event_time(fact)), max(end, ended), number + 1)
    return [
        Sender(
            key_id=key_id, service=service, environment=environment, received_unix_ns=now,
            call_unix_ns=call, behind_ns=max(0, now - end), events=number,
            waiting=outbox.waiting, refused=outbox.refused,
        )
        for (service, environment), (call, end, number) in found.items()
    ]  # fmt: skip


def _end(fact: UsageEvent | DecisionEvent) -> int:
    started = fact.call.started_at_unix_ns
    if not isinstance(fact, UsageEvent):
        return started
    seconds = 0 if fact.folded is None else fact.folded.seconds
    return started + fact.outcome.duration_ns + seconds * NS_PER_SECOND


def lag_class(lag_ns: int) -> str:
    """Return in which class of lags one is: the seconds that it is below of."""
    for seconds in LAG_SECONDS:
        if lag_ns < seconds * NS_PER_SECOND:
            return str(seconds)
    return BEYOND
