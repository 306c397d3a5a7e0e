"""Figures that are looked up when somebody asks for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tollspan.ledger.central import Backlog
from tollspan.server.pressure import DoorFigures
from tollspan.usage import LedgerError

_LOOK_EVERY_SECONDS: Final = 10.0
_NS: Final = 1e9


class ServerState(Collector):
    """How the server stands.

    The books are asked for it every ten seconds at most, however many ask here.

    Args:
        door: What the door sees.
        backlog: Says how much waits in the outbox of webhooks.
        attempts: Says how attempts to send some ended, and how many did so.
        tidied: Says when housekeeping ended last here, in nanoseconds since the epoch; 0 for never.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(
        self,
        door: DoorFigures,
        backlog: Callable[[], Backlog],
        attempts: Callable[[], Mapping[str, int]],
        tidied: Callable[[], int],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._door = door
        self._look_up = backlog
        self._attempts = attempts
        self._tidied = tidied
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = -_LOOK_EVERY_SECONDS
        self._backlog: Backlog | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        yield _gauge("http_server_active_requests", "Requests that are under way",
                     self._door.in_flight)  # fmt: skip
        refused = CounterMetricFamily(
            "tollspan_server_refused_requests",
            "Requests that were turned away at the door: a `key` or an `address` that asks too "
            "often, the server is `busy`, or no `turn` came in time",
            labels=("reason",),
        )
        for reason, number in sorted(self._door.refused.items()):
            refused.add_metric((reason,), number)
        yield refused
        yield from self._of_webhooks()
        yield _gauge(
            "tollspan_housekeeping_last_success_timestamp_seconds",
            "When this server last did all housekeeping that there was; 0 for never, as of "
            "replicas of which another does it",
            self._tidied() / _NS,
        )  # fmt: skip

    def _of_webhooks(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily(
            "tollspan_webhook_attempts",
            "Attempts of this server to send webhooks: `delivered`, `failed`, or `dead` where "
            "they are given up",
            labels=("result",),
        )
        for result, number in sorted(self._attempts().items()):
            attempts.add_metric((result,), number)
        yield attempts
        backlog = self._looked()
        yield _gauge("tollspan_database_up", "1 where the database answered when it was asked last",
                     int(backlog is not None))  # fmt: skip
        if backlog is None:
            return
        oldest = backlog.oldest_unix_ns
        age = 0.0 if oldest is None else max(0.0, (self._clock() - oldest) / _NS)
        yield _gauge("tollspan_webhook_waiting", "Webhooks in the outbox of all replicas",
                     backlog.waiting)  # fmt: skip
        yield _gauge("tollspan_webhook_oldest_age_seconds", "For how long the oldest of them waits",
                     age)  # fmt: skip
        yield _gauge("tollspan_webhook_dead", "Webhooks that were given up, and are kept",
                     backlog.dead)  # fmt: skip

    def _looked(self) -> Backlog | None:
        with self._lock:
            now = time.monotonic()
            if now - self._looked_at >= _LOOK_EVERY_SECONDS:
                try:
                    self._backlog = self._look_up()
                except LedgerError:
                    self._backlog = None
                self._looked_at = now
            return self._backlog


def _gauge(name: str, said: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, said, value=value)
