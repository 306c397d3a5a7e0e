"""`/metrics` of a real server: what is counted there, and who may ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.central.making import usage_event
from tests.serving import RunningServer, running_server
from tollspan.usage import BATCH_MEDIA_TYPE, encode_batch, encode_cloud_event


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    where = f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}"
    with running_server(where, requests_per_second=100.0) as running:
        yield running


def values(*labels: str) -> frozenset[str]:
    return frozenset(labels)


def scrape(server: RunningServer, key: str) -> dict[tuple[str, frozenset[str]], float]:
    """Return all samples by their names and the values of their labels, without empty ones."""
    answer = server.ask("GET", "/metrics", key=key)
    assert answer.status == 200
    return {
        (sample.name, frozenset(sample.labels.values()) - {""}): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def test_what_happens_is_counted(server: RunningServer) -> None:
    key = server.make_key("*", "read")
    one = usage_event()
    batch = encode_batch([encode_cloud_event(one), encode_cloud_event(one), b"{}"])
    server.ask("POST", "/v1/events", data=batch, headers={"Content-Type": BATCH_MEDIA_TYPE})
    server.ask("GET", "/v1/rules/history/77")
    server.ask("GET", "/v1/usage", key="")
    server.ask("BREW", "/no/such/path", key="")
    found = scrape(server, key)
    taken = "tollspan_ingest_events_total"
    assert found[taken, values("events", "accepted")] == 1
    assert found[taken, values("events", "duplicate")] == 1
    assert found[taken, values("events", "rejected", "invalid")] == 1
    assert found["tollspan_ingest_calls_total", values("priced", "reported")] == 1
    assert found["tollspan_ingest_batch_size_events_sum", values("events")] == 3
    requests = "http_server_request_duration_seconds_count"
    assert found[requests, values("POST", "/v1/events", "200")] == 1
    assert found[requests, values("GET", "/v1/rules/history/{version}", "404")] == 1
    assert found[requests, values("GET", "/v1/usage", "401")] == 1
    assert found[requests, values("_OTHER", "404")] == 1
    assert found["tollspan_database_operation_duration_seconds_count", values("writing", "ok")] >= 1
    assert found["tollspan_database_up", values()] == 1
    assert found["tollspan_webhook_waiting", values()] == 0
    assert found["http_server_active_requests", values()] == 1  # this one
    busy = server.make_key("busy", "read")
    while server.ask("GET", "/v1/key", key=busy).status == 200:
        pass
    assert scrape(server, key)["tollspan_server_refused_requests_total", values("key")] >= 1


def test_no_label_has_what_clients_send(server: RunningServer) -> None:
    key = server.make_key("*", "admin")
    server.make_key("tenant-of-labels", "read")
    fact = usage_event(model="a-model-of-labels", customer="a-customer-of-labels")
    batch = encode_batch([encode_cloud_event(fact)])
    server.ask("POST", "/v1/events", data=batch, headers={"Content-Type": BATCH_MEDIA_TYPE})
    server.ask("GET", "/a-path-of-labels")
    assert b"of-labels" not in server.ask("GET", "/metrics", key=key).body


def test_it_can_be_read_as_openmetrics(server: RunningServer) -> None:
    key = server.make_key("*", "read")
    accept = "application/openmetrics-text; version=1.0.0"
    answer = server.ask("GET", "/metrics", key=key, headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    families = {one.name for one in openmetrics(answer.body.decode())}  # type: ignore[no-untyped-call] # not typed
    assert "tollspan_build" in families


def test_only_who_looks_after_all_tenants_may_ask(server: RunningServer) -> None:
    assert server.ask("GET", "/metrics", key="").status == 401
    assert server.ask("GET", "/metrics", key=server.make_key("acme", "read")).status == 403
    assert server.ask("GET", "/metrics", key=server.make_key("*", "ingest")).status == 403


def test_it_is_open_to_all_where_that_is_said(tmp_path: Path) -> None:
    with running_server(f"sqlite:{tmp_path / 'server.db'}", open_metrics=True) as server:
        answer = server.ask("GET", "/metrics", key="")
        assert answer.status == 200
        assert b"tollspan_build_info" in answer.body
        assert server.ask("GET", "/openapi.json", key="").status == 200
