"""The page of telemetry is current, whole, and at one with the tables of the conventions."""

from __future__ import annotations

import telemetry_page
from tests.conformance import registry
from tollspan import semconv

PREFIXES = (
    "gen_ai.",
    "openai.",
    "anthropic.",
    "server.",
    "session.",
    "user.",
    "error.",
    "mcp.",
    "jsonrpc.",
    "network.",
)
ATTRIBUTES = {
    value
    for name, value in vars(semconv).items()
    if isinstance(value, str)
    and name.isupper()
    and not name.startswith("EVENT_")
    and value.startswith((*PREFIXES, "tollspan.", "service.", "deployment.", "openinference."))
}


def test_the_page_is_current() -> None:
    assert telemetry_page.PAGE.read_text() == telemetry_page.page()


def test_every_attribute_and_metric_is_on_the_page() -> None:
    assert telemetry_page.told() | telemetry_page.NOT_ON_SPANS == ATTRIBUTES
    assert set(telemetry_page.LABELS) == {metric.name for metric in semconv.METRICS}


def test_types_are_those_of_the_conventions() -> None:
    tables = (telemetry_page.REQUEST, telemetry_page.RESPONSE, telemetry_page.COST)
    known = {
        name: attribute.type
        for span_type in registry.SPAN_TYPES
        for name, attribute in span_type.attributes.items()
    }
    told = {name: kind for table in tables for name, (kind, _) in table.items()}
    assert {name: known.get(name) for name in told} == told
    ours = {name: kind for name, (kind, _) in telemetry_page.OURS.items()}
    assert ours == {name: attribute.type for name, attribute in registry.OURS.items()}


def test_metrics_are_those_of_the_conventions() -> None:
    kinds = {
        "histogram": "histogram",
        "counter": "sum",
        "observable counter": "sum",
        "observable gauge": "gauge",
    }
    ours = {
        metric.name: (kinds[metric.kind], metric.unit, metric.buckets, set(labels))
        for metric in semconv.METRICS
        for labels in (telemetry_page.LABELS[metric.name],)
    }
    assert ours == {
        name: (one.kind, one.unit, one.bounds, set(one.attributes))
        for name, one in registry.METRIC_TYPES.items()
    }


def test_the_events_are_those_that_are_checked() -> None:
    for page, event in (
        (telemetry_page.EVENT, registry.DECISION_EVENT),
        (telemetry_page.WARNING, registry.WARNING_EVENT),
    ):
        told = {name: kind for name, (kind, _) in page.items()}
        known = {name: attribute.type for name, attribute in event.items()}
        assert {name: known[name] for name in told} == told
    assert set(registry.EVENTS) == {semconv.EVENT_DECISION, semconv.EVENT_WARNING}
