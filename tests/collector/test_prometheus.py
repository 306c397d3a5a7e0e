"""Prometheus has the figures of programs, of Collectors and of the ingest server."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from tests.collector.prometheus import Prometheus
from tests.collector.running import Collector, started
from tests.e2e.ingest import serving
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.service


def say(endpoint: str, usd: float) -> None:
    """Tell a Collector of costs, as a program does."""
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics"))
    resource = Resource({"service.name": "shop", "service.instance.id": "shop-1"})
    provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    meter = provider.get_meter("tollspan")
    meter.create_counter("tollspan.cost", "USD").add(usd, {"gen_ai.request.model": "gpt-4o"})
    provider.shutdown()


def test_prometheus_has_the_figures_of_programs_and_of_all_that_stands_behind_them(
    tmp_path: Path,
) -> None:
    with serving(tmp_path / "server") as server:
        agent = Collector(tmp_path / "agent", "agent", "metrics", TOLLSPAN_ENDPOINT=server.url)
        prometheus = Prometheus(
            tmp_path / "prometheus",
            key=server.make_key("read", tenant="*"),
            programs=(agent.address_of("PROMETHEUS_PORT"),),
            collectors=(agent.address_of("METRICS_PORT"),),
            ingest=(f"127.0.0.1:{server.port}",),
        )
        with started(agent, prometheus):
            say(agent.url, 0.25)
            wait_until(lambda: prometheus.value("count(up == 1)") == 3)
            wait_until(lambda: prometheus.value("tollspan_cost_USD_total") == 0.25)
            (cost,) = prometheus.query("tollspan_cost_USD_total")
            assert cost.labels["job"] == "shop"
            assert cost.labels["instance"] == "shop-1"
            assert cost.labels["gen_ai_request_model"] == "gpt-4o"
            assert prometheus.value("tollspan_database_up") == 1
            assert prometheus.query('otelcol_exporter_queue_size{exporter="otlphttp/tollspan"}')
