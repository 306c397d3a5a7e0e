"""All ends at once: launcher, stock Collector, our exporter, ingest server, trace view."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.collector.running import Collector, Jaeger, started
from tests.e2e import launching
from tests.e2e.ingest import serving, total
from tests.e2e.launching import ADMITTED, CALLS, COST, OTEL, launched, provider
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.service


def test_a_launched_programs_calls_are_counted_once_and_seen_in_the_trace_view(
    tmp_path: Path,
) -> None:
    jaeger = Jaeger(tmp_path / "jaeger")
    with serving(tmp_path / "server") as server:
        key = server.make_key()
        agent = Collector(
            tmp_path / "agent",
            "agent",
            TOLLSPAN_ENDPOINT=server.url,
            TOLLSPAN_API_KEY=key,
            TRACES_ENDPOINT=jaeger.address,
        )
        with started(jaeger, agent), provider() as fake:
            report = launched(
                [*OTEL, *launching.APP, f"calls:{CALLS}"],
                tmp_path / "app",
                fake,
                **launching.TRACES_ONLY,
                OTEL_SERVICE_NAME="shop",
                OTEL_EXPORTER_OTLP_ENDPOINT=agent.url,
                OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
                TOLLSPAN_ENDPOINT=server.url,
                TOLLSPAN_API_KEY=key,
                TOLLSPAN_AUTHORITY="sqlite:",
                TOLLSPAN_CUSTOMER="acme",
            )
            assert report.outcomes == launching.EXPECTED
            # Told by our exporter and by the Collector: each call has one posting.
            wait_until(lambda: total(server, key)[0] == ADMITTED)
            refused = {"tollspan.decision": "deny", "tollspan.customer.id": "acme"}
            wait_until(lambda: len(jaeger.found("shop", **refused)) == CALLS - ADMITTED)
            assert (
                total(server, key) == (ADMITTED, ADMITTED * COST) == (ADMITTED, fake.billed_nanousd)
            )
            for span in jaeger.found("shop", **refused):
                assert span.tags["error"] is True
                assert span.tags["tollspan.rule.id"] == "all"
            wait_until(lambda: len(jaeger.found("shop")) >= CALLS)
            made = jaeger.found("shop", **{"tollspan.decision": "allow"})
            assert [span.tags["tollspan.cost.nanousd"] for span in made] == [COST] * ADMITTED
            assert jaeger.found("shop", **{"tollspan.cost.nanousd": str(COST)})
            assert not any("error" in span.tags for span in made)
            agent.stop()  # it has sent what it had
            assert total(server, key) == (ADMITTED, fake.billed_nanousd)
