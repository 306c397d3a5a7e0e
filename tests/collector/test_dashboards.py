"""Dashboards and rules: every query of theirs finds what it asks for."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import yaml

from tests.collector.feed import fed
from tests.collector.prometheus import Prometheus
from tests.collector.running import CONFIGURATIONS
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.service
BOARDS = CONFIGURATIONS / "grafana/dashboards"
RULES = CONFIGURATIONS / "prometheus/rules.yaml"
VARIABLES = {
    "$service": "shop",
    "$model": ".*",
    "$__rate_interval": "10s",
    "$__range": "1m",
}
# What compares, but not what filters inside of parentheses (`(… > 0)`).
COMPARISON = re.compile(r"(>=|==|<=|>|<) (?=[0-9.]+(?:\s|$))")


def panel_queries() -> dict[str, str]:
    """Return every expression of every panel, by where it is."""
    found = {}
    for path in sorted(BOARDS.glob("*.json")):
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"]
                for variable, value in VARIABLES.items():
                    expression = expression.replace(variable, value)
                assert "$" not in expression, expression
                found[f"{path.stem}: {panel['title']}: {target['refId']}"] = expression
    return found


def rule_queries() -> dict[str, str]:
    """Return every expression of the rules; comparisons tell 0 or 1 instead of leaving out."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {
        f"rules: {rule.get('alert') or rule['record']}": COMPARISON.sub(r"\1 bool ", rule["expr"])
        for group in groups
        for rule in group["rules"]
    }


class Watch:
    """Asks what has not been seen yet, again and again.

    Attributes:
        unseen: Expressions that had no finite value so far, by their names.
    """

    def __init__(self, prometheus: Prometheus, queries: dict[str, str]) -> None:
        self._prometheus = prometheus
        self.unseen = queries

    def wait(self, *parts: str) -> None:
        """Look until all expressions were seen that have one of these words in them, or all."""

        def is_seen() -> bool:
            self._look()
            waits = [one for one in self.unseen.values() if any(part in one for part in parts)]
            return not (waits if parts else self.unseen)

        try:
            wait_until(is_seen, timeout_seconds=100, every_seconds=1)
        except AssertionError as error:
            raise AssertionError(f"never seen: {json.dumps(self.unseen, indent=1)}") from error

    def _look(self) -> None:
        for name, expression in list(self.unseen.items()):
            found = self._prometheus.query(expression)
            if any(math.isfinite(one.value) for one in found):
                del self.unseen[name]


# On a machine that does much else; by itself it takes half a minute.
@pytest.mark.timeout(400)
def test_every_query_of_every_panel_and_rule_finds_something(tmp_path: Path) -> None:
    queries = {**panel_queries(), **rule_queries()}
    assert len(queries) > 120
    with fed(tmp_path) as feed:
        watch = Watch(feed.prometheus, queries)
        watch.wait("otelcol_", "tollspan_cost", "tollspan_budget", "mcp_client")
        feed.be_refused()
        watch.wait("rejected", "refused_requests")
        feed.server.kill()
        watch.wait("tollspan_shipping_failures", "tollspan.gate_unavailable", 'up{job="ingest"}')
        feed.server.start()
        watch.wait()
        assert feed.prometheus.traces("gen_ai_client_operation_duration_seconds_bucket")
        wait_until(lambda: feed.prometheus.alerts() != [])
        said = [alert["annotations"] for alert in feed.prometheus.alerts()]
        assert "error expanding" not in json.dumps(said)
        assert [rule for rule in feed.prometheus.rules() if rule["health"] != "ok"] == []
        spent = pytest.approx(feed.finish() / 1e9)
        wait_until(lambda: feed.prometheus.value("sum(tollspan_cost_USD_total)") == spent)
