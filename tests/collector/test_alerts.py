"""When alerts fire, and when not: by Prometheus's own tests of rules, over made-up series."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tests.collector.running import CONFIGURATIONS
from tests.services import program

pytestmark = pytest.mark.service
PROMETHEUS = CONFIGURATIONS / "prometheus"
RULES = PROMETHEUS / "rules.yaml"
HOUR, DAY = 3_600, 86_400
# From so many minutes on rules are looked at every ten minutes only, which takes less time.
LONG_MINUTES = 100

# Values are promtool's, a minute apart: `1+2x3` begins at 1 and grows by 2, three times.
Series = Mapping[str, str]
UP: Series = {'up{job="ingest", instance="a"}': "1x1800"}


def budget(
    spent: str,
    *,
    limit: int = 1_000,
    period: int = 30 * DAY,
    resets_in: str = "1728000-60x1800",
    unresolved: str = "0x1800",
) -> Series:
    """Return the series of one budget of which nothing is held."""
    labels = '{tollspan_budget_id="month", tollspan_budget_unit="USD"}'
    said = {
        "limit_ratio": f"{limit}x1800",
        "held_ratio": unresolved,
        "unresolved_ratio": unresolved,
        "spent_ratio": spent,
        "period_seconds": f"{period}x1800",
        "resets_in_seconds": resets_in,
    }
    return {f"tollspan_budget_{name}{labels}": values for name, values in said.items()}


def decisions(made: str, refused: str = "0x1800", kind: str = "tollspan.budget_exceeded") -> Series:
    """Return the decisions of a program."""
    counter = 'tollspan_decisions_total{job="shop"'
    return {
        f'{counter}, tollspan_decision="allow"}}': made,
        f'{counter}, tollspan_decision="deny", error_type="{kind}"}}': refused,
    }


def requests(status: int, values: str) -> Series:
    """Return what an ingest server answered."""
    name = "http_server_request_duration_seconds_count"
    labels = f'job="ingest", instance="a", http_response_status_code="{status}"'
    return {f"{name}{{{labels}}}": values}


def queue(size: str) -> Series:
    """Return a queue for 1,000 spans."""
    labels = '{job="collectors", instance="c", exporter="otlphttp/tollspan"}'
    return {
        f"otelcol_exporter_queue_size{labels}": size,
        f"otelcol_exporter_queue_capacity{labels}": "1000x1800",
    }


SHOP = '{job="shop"}'
# What happens, a minute at which to look, and what fires then.
FIRING = [
    # 1,000 USD for 30 days are 1.39 an hour: 30 are 21.6 times as much, 10 are 7.2, 5 are 3.6.
    pytest.param(budget("100+0.5x1800"), 65, {"TollspanBudgetBurnsFast"}, id="a budget burns fast"),
    pytest.param(
        budget("100+0.16667x1800"), 500, {"TollspanBudgetBurns"}, id="a budget burns for hours"
    ),
    pytest.param(
        budget("100+0.08333x1800"), 1_700, {"TollspanBudgetBurnsSlowly"}, id="and for a day"
    ),
    pytest.param(budget("100+0.5x40 120x80"), 75, set(), id="it burnt, and does no more"),
    pytest.param(budget("100+0.02x1800"), 1_700, set(), id="it is spent as it is meant to be"),
    pytest.param(
        budget("100+0.5x1800", resets_in="36000-60x1800"), 65, set(), id="it lasts until it resets"
    ),
    pytest.param(
        budget("900+0.1x300 0+0.01x300"), 400, set(), id="it began anew, and nothing was spent fast"
    ),
    pytest.param(
        budget("700x70 650x1900"), 75, set(), id="it was corrected, and nothing was spent at all"
    ),
    pytest.param(
        budget("0+10x90", period=HOUR, resets_in="3600-30x100"), 65, set(), id="it is for an hour"
    ),
    pytest.param(
        budget("990+1x10 1000x100"), 60, {"TollspanBudgetUsedUp"}, id="a budget is used up"
    ),
    pytest.param(
        budget("100x100", unresolved="60x100"), 20, {"TollspanBudgetUnresolved"}, id="unresolved"
    ),
    pytest.param(
        decisions("0+90x100", "0+10x100"), 70, {"TollspanCallsRefused"}, id="calls are refused"
    ),
    pytest.param(decisions("0+990x100", "0+10x100"), 70, set(), id="few calls are refused"),
    pytest.param(
        decisions("0+90x100", "0+10x20 200x80"), 60, set(), id="calls were refused before"
    ),
    pytest.param(
        decisions("0+9990x100", "0+10x100", "tollspan.gate_unavailable"),
        20,
        {"TollspanGateUnavailable"},
        id="no budget can be asked",
    ),
    pytest.param(
        {
            f'tollspan_gate_duration_seconds_bucket{{job="shop", le="{bound}"}}': values
            for bound, values in (("0.1", "0+90x100"), ("0.25", "0+100x100"), ("+Inf", "0+100x100"))
        },
        30,
        {"TollspanGateSlow"},
        id="the gate is slow",
    ),
    pytest.param(
        {**decisions("0+90x100"), f"tollspan_unpriced_calls_total{SHOP}": "0+1x100"},
        40,
        {"TollspanCallsUnpriced"},
        id="calls have no price",
    ),
    pytest.param(
        {**decisions("0+90x100"), f"tollspan_overruns_total{SHOP}": "0+5x100"},
        40,
        {"TollspanOverruns"},
        id="calls use more than was held",
    ),
    pytest.param(
        {'tollspan_internal_errors_total{job="shop", tollspan_place="x"}': "0+1x100"},
        30,
        {"TollspanInternalErrors"},
        id="tollspan fails",
    ),
    pytest.param(
        {f"tollspan_outbox_age_seconds{SHOP}": "0+60x100"},
        15,
        {"TollspanOutboxWaits"},
        id="events can't be stored",
    ),
    pytest.param(
        {f"tollspan_shipping_age_seconds{SHOP}": "0+60x100"},
        30,
        {"TollspanEventsNotSent"},
        id="events can't be sent",
    ),
    pytest.param({f"tollspan_shipping_age_seconds{SHOP}": "0+10x80"}, 70, set(), id="soon sent"),
    pytest.param(
        {f"tollspan_shipping_rejected_total{SHOP}": "0x10 3x90"},
        20,
        {"TollspanEventsRejected"},
        id="events are refused for good",
    ),
    pytest.param(
        {f"tollspan_settling_events{SHOP}": "5000x100"},
        30,
        {"TollspanSettlingWaits"},
        id="events are not settled",
    ),
    pytest.param(
        {f"tollspan_lease_failures_total{SHOP}": "0+3x100"},
        30,
        {"TollspanAuthorityFails"},
        id="the authority does not answer",
    ),
    pytest.param(
        {f"tollspan_lease_lost_total{SHOP}": "0x10 1x90"}, 20, {"TollspanLeasesLost"}, id="lost"
    ),
    pytest.param(
        {'up{job="ingest", instance="a"}': "1x10 0x90"}, 20, {"TollspanIngestDown"}, id="down"
    ),
    pytest.param(
        {'up{job="ingest", instance="a"}': "_x100"}, 20, {"TollspanIngestDown"}, id="unknown"
    ),
    pytest.param(
        {'tollspan_database_up{job="ingest", instance="a"}': "1x10 0x90"},
        20,
        {"TollspanIngestDatabaseDown"},
        id="its database is away",
    ),
    pytest.param(
        {**requests(200, "0+90x100"), **requests(503, "0+10x100")},
        30,
        {"TollspanIngestFails"},
        id="requests fail",
    ),
    pytest.param(
        {**requests(200, "0+99x100"), **requests(400, "0+50x100")}, 30, set(), id="clients' own"
    ),
    pytest.param(
        {'tollspan_ingest_events_total{job="ingest", result="rejected", reason="x"}': "0+1x100"},
        20,
        {"TollspanIngestRejects"},
        id="events are rejected",
    ),
    pytest.param(
        {'tollspan_server_refused_requests_total{job="ingest", reason="busy"}': "0+1x100"},
        40,
        {"TollspanIngestTurnsAway"},
        id="requests are turned away",
    ),
    pytest.param(
        {'tollspan_webhook_oldest_age_seconds{job="ingest"}': "0+60x100"},
        40,
        {"TollspanWebhooksFail"},
        id="webhooks wait",
    ),
    pytest.param(
        {'tollspan_webhook_dead{job="ingest"}': "1x100"},
        40,
        {"TollspanWebhooksFail"},
        id="webhooks are given up",
    ),
    pytest.param(
        {'up{job="collectors", instance="c"}': "0x100"}, 20, {"CollectorDown"}, id="no Collector"
    ),
    pytest.param(queue("100+1x300 400x100"), 300, set(), id="a queue that is far from full"),
    pytest.param(queue("0+20x40 800x60"), 60, {"CollectorQueueFills"}, id="a queue fills"),
    pytest.param(
        queue("0+20x50 950x60"), 70, {"CollectorQueueFills", "CollectorQueueFull"}, id="a full one"
    ),
    pytest.param(
        {'otelcol_receiver_refused_spans{job="collectors", instance="c"}': "0+9x100"},
        30,
        {"CollectorRefusesSpans"},
        id="spans are refused",
    ),
    pytest.param(
        {'otelcol_exporter_send_failed_spans{job="collectors", instance="c"}': "0+9x100"},
        30,
        {"CollectorDropsSpans"},
        id="spans are given up",
    ),
]


def written(name: str, series: Series, minute: int, alerts: set[str]) -> dict[str, object]:
    """Return one of promtool's tests."""
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in rules() if "alert" in rule}
    firing = [
        {"labels": f'{{alertname="{one}", severity="{severities[one]}"}}', "value": 1}
        for one in sorted(alerts)
    ]
    given = [{"series": key, "values": values} for key, values in {**UP, **series}.items()]
    asked = {
        # With its name, by which it is found in what promtool says.
        "expr": f'count by (alertname, severity) (ALERTS{{alertstate="firing"}}) # {name}',
        "eval_time": f"{minute}m",
        "exp_samples": firing,
    }
    return {"interval": "1m", "input_series": given, "promql_expr_test": [asked]}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what promtool says of all cases: one run, since each would load all of it anew."""
    folder = tmp_path_factory.mktemp("rules")
    files = []
    for every, is_long in (("1m", False), ("10m", True)):
        tests = [
            written(str(case.id), *cast("tuple[Series, int, set[str]]", case.values))
            for case in FIRING
            if (cast("int", case.values[1]) >= LONG_MINUTES) is is_long
        ]
        path = folder / f"{every}.yaml"
        text = {"rule_files": [str(RULES)], "evaluation_interval": every, "tests": tests}
        path.write_text(json.dumps(text), "utf-8")
        files.append(str(path))
    return promtool("test", "rules", *files).stdout


@pytest.mark.parametrize("name", [str(case.id) for case in FIRING])
def test_an_alert_fires_when_it_should_and_no_other_does(said: str, name: str) -> None:
    assert said.count("Unit Testing") == 2, said
    failures = said.split("    expr: ")[1:]
    assert [one for one in failures if f'# {name}",' in one] == []


def test_promtool_finds_nothing_else_wrong(said: str) -> None:
    assert said.count("SUCCESS") == 2, said


def test_every_alert_is_tested() -> None:
    tested = {name for case in FIRING for name in cast("set[str]", case.values[2])}
    assert tested == {rule["alert"] for rule in rules() if "alert" in rule}


def test_rules_and_configuration_are_what_prometheus_takes(tmp_path: Path) -> None:
    assert promtool("check", "rules", str(RULES)).returncode == 0
    here = tmp_path / "prometheus.yaml"
    text = (PROMETHEUS / "prometheus.yaml").read_text("utf-8")
    key = tmp_path / "key"
    key.touch()
    text = text.replace("rules.yaml", str(RULES)).replace("tollspan.key", str(key))
    here.write_text(text.replace("targets/", f"{PROMETHEUS}/targets/"), "utf-8")
    done = promtool("check", "config", str(here))
    assert done.returncode == 0, done.stdout


@cache
def rules() -> list[dict[str, Any]]:
    """Return all rules."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    """Run Prometheus's own tool, which comes with it."""
    tool = Path(program("Prometheus")).with_name("promtool")
    return subprocess.run(
        [tool, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
