"""The dashboards: what is checked in is what the code makes, and people find their way in it."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
import yaml

import dashboards
from environment import ROOT
from prometheus_names import series
from tollspan import semconv

# What is in an expression besides functions and the names of series.
LABELS = re.compile(r"\{[^}]*\}|by \([^)]*\)")
SERIES = re.compile(r"\b(?:tollspan|gen_ai|mcp|otelcol|http)_\w+")
MADE = {path.stem: json.loads(text) for path, text in dashboards.dashboards().items()}


def panels(board: str) -> list[dict[str, Any]]:
    """Return the panels of a dashboard that show something."""
    return [panel for panel in MADE[board]["panels"] if panel["type"] != "row"]


def test_the_dashboards_are_current() -> None:
    made = dashboards.dashboards()
    there = {path: path.read_text("utf-8") for path in dashboards.FOLDER.iterdir()}
    assert there == made, "run `.venv/bin/python scripts/dashboards.py`"


@pytest.mark.parametrize("board", MADE)
def test_every_panel_asks_the_prometheus_that_was_chosen_and_has_a_unit(board: str) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert MADE[board]["uid"] == board
    for panel in panels(board):
        assert panel["datasource"] == chosen
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert [target["datasource"] for target in panel["targets"]] == [
            chosen for _ in panel["targets"]
        ]


@pytest.mark.parametrize("board", MADE)
def test_panels_have_their_own_ids_titles_and_places(board: str) -> None:
    shown = MADE[board]["panels"]
    assert len({panel["id"] for panel in shown}) == len(shown)
    titles = [panel["title"] for panel in shown]
    assert len(set(titles)) == len(titles)
    places = [
        {
            (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
            for x in range(panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["h"])
        }
        for panel in shown
    ]
    assert sum(map(len, places)) == len(set().union(*places)), "two are in one place"
    assert {x for place in places for x, _ in place} == set(range(24))
    assert all(min(y for _, y in one) <= min(y for _, y in two) for one, two in pairwise(places))


def test_every_metric_of_ours_is_in_a_panel() -> None:
    asked = [
        target["expr"] for board in MADE for panel in panels(board) for target in panel["targets"]
    ]
    unasked = {
        metric.name
        for metric in semconv.METRICS
        if not any(series(metric) in expression for expression in asked)
    }
    assert unasked == set()


def test_the_page_names_every_metric_and_every_alert() -> None:
    page = (ROOT / "docs/how-to/dashboards.md").read_text("utf-8")
    rules = (ROOT / "collector-config/prometheus/rules.yaml").read_text("utf-8")
    asked = [
        target["expr"] for board in MADE for panel in panels(board) for target in panel["targets"]
    ]
    groups = yaml.safe_load(rules)["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        asked.append(rule["expr"])
        if "alert" in rule:
            assert f"| `{rule['alert']}` {rule['labels']['severity']} |" in page
    named = {name for one in asked for name in SERIES.findall(LABELS.sub("", one))}
    named = {re.sub("_(bucket|count)$", "", name) for name in named}
    assert named >= {"tollspan_cost_USD_total", "otelcol_exporter_queue_size"}
    assert {name for name in named if f"`{name}`" not in page} == set()
