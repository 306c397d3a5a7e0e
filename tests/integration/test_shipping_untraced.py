"""Sending events and fetching rules are never traced, whichever client of HTTP is instrumented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests
import urllib3
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.contract.ledger.making import account, charge, event, new_id
from tests.fakes.ingest import FakeIngest
from tests.fakes.rule_server import FakeRules
from tollspan.exporter import Heeder, RuleFetcher, Shipper
from tollspan.ledger import SQLiteLedger

ORG = account("org", limit=10**15)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Have every client of HTTP instrumented, as a program may."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentors = (RequestsInstrumentor(), URLLib3Instrumentor(), HTTPXClientInstrumentor())
    for one in instrumentors:
        one.instrument(tracer_provider=provider)
    yield exporter
    for one in instrumentors:
        one.uninstrument()


def test_the_instrumentors_see_what_a_program_asks(spans: InMemorySpanExporter) -> None:
    with FakeRules("version: 1\n") as server:
        requests.get(server.url, timeout=10)
        urllib3.PoolManager().request("GET", server.url)
        httpx.get(server.url)
    seen = [one.instrumentation_scope for one in spans.get_finished_spans()]
    names = ("requests", "urllib3", "httpx")
    assert {one.name for one in seen if one} == {
        f"opentelemetry.instrumentation.{one}" for one in names
    }


@pytest.mark.parametrize("status", [200, 503])
def test_sending_events_and_fetching_rules_make_no_span(
    spans: InMemorySpanExporter, tmp_path: Path, status: int
) -> None:
    ledger = SQLiteLedger(tmp_path)
    ledger.post(event(new_id(), charge(ORG, posted=1), cost=1), None)
    with FakeIngest() as ingest, FakeRules("version: 1\n") as rules:
        ingest.status = status
        ingest.tells = {"rules": '"other"'}
        fetcher = RuleFetcher(rules.url, tmp_path)
        fetcher.refresh()
        heeder = Heeder(tmp_path, ingest.root_url, fetcher=fetcher)
        shipper = Shipper(ledger, ingest.root_url, ingest.key, heeder=heeder)
        shipper.start()
        shipper.close(10)
        fetcher.fetch_now()
        assert (ingest.asked, len(rules.asked)) >= (2, 2)
    ledger.close()
    assert spans.get_finished_spans() == ()
