"""`UsageEventExporter`: finished spans in a pipeline become events, each call once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from tests import harness
from tests.unit.usage.test_dialects import SEMCONV
from tollspan.api import UsageEventExporter

SCOPE = "opentelemetry.instrumentation.genai.openai"
COST_NANOUSD = 3 * 150 + 5 * 75 + 11 * 600


@contextmanager
def pipeline(home: Path, door: str) -> Iterator[tuple[Tracer, InMemorySpanExporter]]:
    """Yield a tracer of somebody else's, whose spans go to our exporter and are kept."""
    kept = InMemorySpanExporter()
    with harness.installed(home, TOLLSPAN_FOREIGN_SPANS=door) as installed:
        for hooks in installed.hooks.values():
            hooks.remove()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(UsageEventExporter()))
        provider.add_span_processor(SimpleSpanProcessor(kept))
        yield provider.get_tracer(SCOPE, "1.3b0"), kept


def make_span(tracer: Tracer, **more: Any) -> None:
    attributes: dict[str, Any] = {**SEMCONV, **more}
    tracer.start_span("chat gpt-4o-mini", attributes=attributes).end()


def test_a_finished_span_is_one_priced_event(tmp_path: Path) -> None:
    with pipeline(tmp_path, "off") as (tracer, _):
        make_span(tracer)
    (event,) = harness.usage_events(tmp_path)
    assert (event.call.door, event.cost.amount_nanousd) == ("exporter", COST_NANOUSD)
    assert harness.balance(tmp_path).posted == COST_NANOUSD


def test_spans_that_come_again_count_once(tmp_path: Path) -> None:
    with pipeline(tmp_path, "off") as (tracer, kept):
        make_span(tracer)
        again: list[ReadableSpan] = list(kept.get_finished_spans())
        assert UsageEventExporter().export(again * 3) is SpanExportResult.SUCCESS
    assert len(harness.usage_events(tmp_path)) == 1
    assert harness.balance(tmp_path).posted == COST_NANOUSD


def test_what_the_processor_has_accounted_for_is_left_to_it(tmp_path: Path) -> None:
    with pipeline(tmp_path, "gate") as (tracer, _):
        make_span(tracer)
    (event,) = harness.usage_events(tmp_path)
    assert event.call.door == "processor"
    assert harness.balance(tmp_path).posted == COST_NANOUSD


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"tollspan.call.id": "0" * 32}, id="a call of ours"),
        pytest.param({"gen_ai.operation.name": "invoke_agent"}, id="an agent"),
        pytest.param({"gen_ai.operation.name": "execute_tool"}, id="a tool"),
    ],
)
def test_what_is_counted_elsewhere_or_is_no_call_is_left_out(
    tmp_path: Path, more: dict[str, str]
) -> None:
    with pipeline(tmp_path, "off") as (tracer, _):
        make_span(tracer, **more)
        make_span(tracer)  # so that there is a ledger
    assert len(harness.usage_events(tmp_path)) == 1


def test_who_pays_is_what_the_span_says_of_it(tmp_path: Path) -> None:
    with pipeline(tmp_path, "off") as (tracer, _):
        make_span(
            tracer,
            **{
                "tollspan.customer.id": "acme",
                "session.id": "s-1",
                "tollspan.tag.tier": "free",
                "user.id": "x" * 300,  # no good value: it says nothing
            },
        )
    (event,) = harness.usage_events(tmp_path)
    attribution = event.call.attribution
    assert (attribution.customer, attribution.session, attribution.user) == ("acme", "s-1", None)
    assert attribution.tags == (("tier", "free"),)


def test_without_tollspan_it_fails_and_raises_nothing() -> None:
    assert UsageEventExporter().export([]) is SpanExportResult.FAILURE


def test_the_standard_variable_finds_it() -> None:
    (found,) = entry_points(group="opentelemetry_traces_exporter", name="tollspan")
    exporter = found.load()()
    assert isinstance(exporter, UsageEventExporter)
    exporter.force_flush()
    exporter.shutdown()
