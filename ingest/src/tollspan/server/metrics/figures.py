"""Figures that are counted as things happen."""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector

from tollspan.usage import Fact, UsageEvent

Source = Literal["events", "spans", "calls"]
"""Sent as events; told by spans; asked for and settled here."""
_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
)  # fmt: skip
_EVENTS: Final = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER: Final = "_OTHER"  # as OpenTelemetry calls methods that are none


class ServerMetrics:
    """Counts what one server does; safe for threads.

    Attributes:
        registry: Has all figures.
    """

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._build = Info("tollspan_build", "Which server this is", registry=registry)
        self._requests = Histogram(
            "http_server_request_duration_seconds",
            "How long requests took, from their head to the end of the answer; `http_route` is "
            "empty where there is no such route",
            ("http_request_method", "http_route", "http_response_status_code"),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._taken = Counter(
            "tollspan_ingest_events",
            "Events, calls that spans tell of, and calls that are asked for here, by what became "
            "of them: `accepted`, `duplicate`, or `rejected` with a reason",
            ("source", "result", "reason"), registry=registry,
        )  # fmt: skip
        self._calls = Counter(
            "tollspan_ingest_calls",
            "Accepted usage events by whether they have a price, and where their usage comes from",
            ("cost_status", "usage_status"), registry=registry,
        )  # fmt: skip
        self._batches = Histogram(
            "tollspan_ingest_batch_size_events",
            "Events, or calls that spans tell of or that are asked for, in one request",
            ("source",), buckets=_EVENTS, registry=registry,
        )  # fmt: skip
        self._database = Histogram(
            "tollspan_database_operation_duration_seconds",
            "How long transactions took, with the wait for them: `reading` or `writing`; `ok`, "
            "`unavailable` or `failed`",
            ("operation", "result"), buckets=_SECONDS, registry=registry,
        )  # fmt: skip

    def say(self, **build: str) -> None:
        """Say which server this is."""
        self._build.info(build)

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = method if method in _METHODS else _OTHER
        self._requests.labels(known, route, str(status)).observe(seconds)

    def took(
        self,
        source: Source,
        accepted: Collection[Fact],
        *,
        duplicates: int,
        rejected: Mapping[str, int],
    ) -> None:
        """Count what a request brought."""
        self._batches.labels(source).observe(len(accepted) + duplicates + sum(rejected.values()))
        for result, reason, number in (
            ("accepted", "", len(accepted)),
            ("duplicate", "", duplicates),
            *(("rejected", reason, number) for reason, number in rejected.items()),
        ):
            if number:
                self._taken.labels(source, result, reason).inc(number)
        self._count_calls(accepted)

    def asked(self, operation: str, result: str, seconds: float) -> None:
        """Count a transaction of the database."""
        self._database.labels(operation, result).observe(seconds)

    def _count_calls(self, accepted: Iterable[Fact]) -> None:
        kinds = Counted(
            (one.cost.status, "unknown" if one.usage is None else one.usage.status)
            for one in accepted
            if isinstance(one, UsageEvent)
        )
        for kind, number in kinds.items():
            self._calls.labels(*kind).inc(number)
