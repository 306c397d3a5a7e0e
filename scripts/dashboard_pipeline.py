"""The dashboard of the pipeline: what waits, what was sent, and what went wrong on the way."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboard_panels import (
    PER_SECOND,
    SECONDS,
    SERVICES,
    SHARE,
    Query,
    board,
    lines,
    number,
    section,
    words,
)
from prometheus_names import label, of
from tollspan import semconv
from tollspan.semconv import Metric

REASON: Final = label(semconv.ERROR_TYPE)
COLLECTORS: Final = 'job="collectors"'
INGEST: Final = 'job="ingest"'
TAKEN: Final = "tollspan_ingest_events_total"
REQUESTS: Final = "http_server_request_duration_seconds"


def pace(counter: str, by: str = "") -> str:
    """Sum up a counter's pace, for a second."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({counter}[$__rate_interval]))"


def program(metric: Metric) -> str:
    """Return a selector of a program's series."""
    return of(metric, SERVICES)


def highest(metric: Metric) -> str:
    """Return a gauge that every process of a host tells alike, of the worst host of a service."""
    return f"max by (job) ({program(metric)})"


def dashboard() -> Dashboard:
    """Return the dashboard."""
    made = board(
        "tollspan-pipeline",
        "tollspan: pipeline",
        "From programs over Collectors to the ingest server: what waits, what was sent, and what "
        "went wrong on the way.",
        has_models=False,
    )
    _numbers(made)
    _programs(made)
    _leases(made)
    _collectors(made)
    _events(made)
    _requests(made)
    return made


def _numbers(made: Dashboard) -> None:
    section(
        made,
        "Now",
        number(
            "Ingest servers up",
            f"sum(up{{{INGEST}}}) / count(up{{{INGEST}}})",
            unit=SHARE,
        ),
        number(
            "Collectors up",
            f"sum(up{{{COLLECTORS}}}) / count(up{{{COLLECTORS}}})",
            unit=SHARE,
        ),
        number(
            "Oldest event to be sent",
            f"max({program(semconv.METRIC_SHIPPING_AGE)})",
            unit=SECONDS,
            limits=(60, 900),
            says="Events wait in the ledger of their host until the ingest server has them.",
        ),
        number(
            "Events outside of ledgers",
            f"sum(max by (job) ({program(semconv.METRIC_OUTBOX_EVENTS)}))",
            limits=(1, 100),
            says="0 in good times. They wait since the disk or the ledger's file fails.",
        ),
        number(
            "Fullest queue of a Collector",
            f"max(otelcol_exporter_queue_size{{{COLLECTORS}}} / "
            f"otelcol_exporter_queue_capacity{{{COLLECTORS}}})",
            unit=SHARE,
            limits=(0.5, 0.9),
        ),
        number(
            "tollspan's own errors",
            f"sum(increase({program(semconv.METRIC_INTERNAL_ERRORS)}[$__range]))",
            limits=(1, 10),
            says="In the range. Calls went on without it.",
        ),
    )


def _programs(made: Dashboard) -> None:
    failures = pace(program(semconv.METRIC_SHIPPING_FAILURES), REASON)
    place = label(semconv.TOLLSPAN_PLACE)
    section(
        made,
        "Programs",
        lines(
            "Events that wait",
            Query(highest(semconv.METRIC_SHIPPING_WAITING), "{{job}} to be sent"),
            Query(highest(semconv.METRIC_SETTLING_EVENTS), "{{job}} to be settled"),
            Query(highest(semconv.METRIC_OUTBOX_EVENTS), "{{job}} outside of the ledger"),
            says="Of the host of each service that has the most.",
        ),
        lines(
            "Age of the oldest",
            Query(highest(semconv.METRIC_SHIPPING_AGE), "{{job}} to be sent"),
            Query(highest(semconv.METRIC_OUTBOX_AGE), "{{job}} outside of the ledger"),
            unit=SECONDS,
        ),
        lines(
            "Events sent, a second",
            Query(pace(program(semconv.METRIC_SHIPPING_SENT), "job"), "{{job}} sent"),
            Query(
                pace(program(semconv.METRIC_SHIPPING_REJECTED), "job"), "{{job}} refused for good"
            ),
            unit=PER_SECOND,
            span=8,
            says="What is refused for good is a dead letter: `tollspan outbox list`.",
        ),
        lines(
            "Batches that were not taken, a second",
            Query(failures, words(semconv.ERROR_TYPE)),
            unit=PER_SECOND,
            span=8,
            says="They are sent again.",
        ),
        lines(
            "tollspan's own errors, a second",
            Query(
                pace(program(semconv.METRIC_INTERNAL_ERRORS), f"job, {place}, {REASON}"),
                f"{{{{job}}}} {words(semconv.TOLLSPAN_PLACE, semconv.ERROR_TYPE)}",
            ),
            unit=PER_SECOND,
            span=8,
        ),
    )


def _leases(made: Dashboard) -> None:
    budget = label(semconv.TOLLSPAN_BUDGET_ID)
    section(
        made,
        "Leases",
        lines(
            "Questions for more, a second",
            Query(pace(program(semconv.METRIC_LEASE_REQUESTS), "job"), "{{job}} answered"),
            Query(pace(program(semconv.METRIC_LEASE_FAILURES), "job"), "{{job}} not answered"),
            unit=PER_SECOND,
            span=8,
        ),
        lines(
            "Calls that waited for the authority, a second",
            Query(pace(program(semconv.METRIC_LEASE_WAITS), "job"), "{{job}}"),
            unit=PER_SECOND,
            span=8,
            says="Many are leases that are too small: TOLLSPAN_LEASE.",
        ),
        lines(
            "What leases have that no call holds",
            Query(
                f"sum by ({budget}, {label(semconv.TOLLSPAN_BUDGET_UNIT)}) "
                f"({program(semconv.METRIC_LEASE_REMAINING)})",
                words(semconv.TOLLSPAN_BUDGET_ID, semconv.TOLLSPAN_BUDGET_UNIT),
            ),
            span=8,
            says="It is held at the authority, and nobody else can spend it meanwhile.",
        ),
        lines(
            "Granted, a second",
            Query(
                pace(
                    program(semconv.METRIC_LEASE_GRANTED),
                    f"{budget}, {label(semconv.TOLLSPAN_BUDGET_UNIT)}",
                ),
                words(semconv.TOLLSPAN_BUDGET_ID, semconv.TOLLSPAN_BUDGET_UNIT),
            ),
            span=12,
        ),
        lines(
            "Lost leases",
            Query(f"sum by (job) (increase({program(semconv.METRIC_LEASE_LOST)}[1h]))", "{{job}}"),
            span=12,
            says="In an hour. Each leaves money unresolved: `tollspan budgets --unresolved`.",
        ),
    )


def _collectors(made: Dashboard) -> None:
    def of_collectors(name: str) -> str:
        return f"{name}{{{COLLECTORS}}}"

    section(
        made,
        "Collectors",
        lines(
            "Spans a second",
            Query(pace(of_collectors("otelcol_receiver_accepted_spans")), "taken"),
            Query(pace(of_collectors("otelcol_receiver_refused_spans")), "refused"),
            Query(pace(of_collectors("otelcol_exporter_sent_spans"), "exporter"), "{{exporter}}"),
            unit=PER_SECOND,
            span=8,
            says="Those that are refused come again, if the SDK has the patience.",
        ),
        lines(
            "Queues",
            Query(
                f"max by (exporter) ({of_collectors('otelcol_exporter_queue_size')} / "
                f"{of_collectors('otelcol_exporter_queue_capacity')})",
                "{{exporter}}",
            ),
            unit=SHARE,
            span=8,
            says="How full. That of calls is on disk; a full one refuses.",
        ),
        lines(
            "Spans that were given up, a second",
            Query(
                pace(of_collectors("otelcol_exporter_send_failed_spans"), "exporter"),
                "{{exporter}}",
            ),
            unit=PER_SECOND,
            span=8,
            says="Of calls none ever are; those of the trace backend after a minute.",
        ),
    )


def _events(made: Dashboard) -> None:
    section(
        made,
        "Ingest server: events and webhooks",
        lines(
            "Events taken, a second",
            Query(pace(f"{TAKEN}{{{INGEST}}}", "source, result"), "{{source}} {{result}}"),
            unit=PER_SECOND,
            span=8,
            says="`duplicate`: told before, and counted once.",
        ),
        lines(
            "Refused events a second, by reason",
            Query(pace(f'{TAKEN}{{{INGEST}, result="rejected"}}', "reason"), "{{reason}}"),
            unit=PER_SECOND,
            span=8,
        ),
        lines(
            "Calls a second, by price",
            Query(
                pace(f"tollspan_ingest_calls_total{{{INGEST}}}", "cost_status"), "{{cost_status}}"
            ),
            unit=PER_SECOND,
            span=8,
        ),
        lines(
            "Webhooks",
            Query(f"max(tollspan_webhook_waiting{{{INGEST}}})", "waiting"),
            Query(f"max(tollspan_webhook_dead{{{INGEST}}})", "given up"),
            span=12,
        ),
        lines(
            "Oldest webhook",
            Query(f"max(tollspan_webhook_oldest_age_seconds{{{INGEST}}})", "age"),
            unit=SECONDS,
            span=12,
        ),
    )


def _requests(made: Dashboard) -> None:
    def seconds(name: str, by: str) -> str:
        rates = f"sum by (le, {by}) (rate({name}_bucket{{{INGEST}}}[$__rate_interval]))"
        return f"histogram_quantile(0.95, {rates})"

    database = "tollspan_database_operation_duration_seconds"
    section(
        made,
        "Ingest server: requests",
        lines(
            "Requests a second",
            Query(
                pace(
                    f"{REQUESTS}_count{{{INGEST}}}",
                    "http_route, http_response_status_code",
                ),
                "{{http_route}} {{http_response_status_code}}",
            ),
            unit=PER_SECOND,
            span=12,
        ),
        lines(
            "Requests, 95th percentile",
            Query(seconds(REQUESTS, "http_route"), "{{http_route}}"),
            unit=SECONDS,
            span=12,
        ),
        lines(
            "Database, 95th percentile",
            Query(seconds(database, "operation"), "{{operation}}"),
            unit=SECONDS,
            span=12,
        ),
        lines(
            "Turned away at the door, a second",
            Query(
                pace(f"tollspan_server_refused_requests_total{{{INGEST}}}", "reason"), "{{reason}}"
            ),
            unit=PER_SECOND,
            span=12,
        ),
    )
