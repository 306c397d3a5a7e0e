"""`POST /v1/traces` as OTLP's exporters and Collectors use it."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.serving import Answer, RunningServer, running_server
from tests.unit.server.otlp.bodies import CHAT, json_body, protobuf_body, span
from tollspan.usage import UsageEvent

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
COST = 3 * 150 + 5 * 75 + 11 * 600


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home: Path = tmp_path_factory.mktemp("server")
    with running_server(f"sqlite:{home / 'central.db'}") as running:
        yield running


def now(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A span that began just now."""
    started = time.time_ns() - 2 * 10**9
    times = {"startTimeUnixNano": str(started), "endTimeUnixNano": str(started + 10**9)}
    return span(number, **{**times, **changes})


def send(server: RunningServer, key: str, body: bytes, headers: dict[str, str]) -> Answer:
    return server.ask("POST", "/v1/traces", key=key, data=body, headers=headers)


def sums(server: RunningServer, key: str) -> tuple[int, int]:
    """How many calls a tenant has, and what they cost together."""
    (row,) = server.ask("GET", "/v1/usage?from=2020-01-01T00:00:00Z", key=key).json["rows"]
    return row["calls"], int(row["cost_nanousd"])


def events(server: RunningServer, tenant: str) -> list[UsageEvent]:
    from tollspan.ledger.central import EventQuery

    found = [one.fact for one in server.ledger.reader.events(tenant, EventQuery(most=1_000))]
    return [fact for fact in found if isinstance(fact, UsageEvent)]


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_sdks_own_exporter_is_served(server: RunningServer, compression: Compression) -> None:
    tenant = f"sdk-{compression.value}"
    exporter = OTLPSpanExporter(
        endpoint=f"{server.url}/v1/traces",
        headers={"Authorization": f"Bearer {server.make_key(tenant)}"},
        compression=compression,
    )
    resource = Resource({"service.name": "shop", "deployment.environment.name": "prod"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    attributes: dict[str, Any] = {**CHAT, "tollspan.customer.id": "ann"}
    tracer = provider.get_tracer("opentelemetry.instrumentation.genai.openai", "1.3b0")
    with tracer.start_as_current_span("work"), tracer.start_as_current_span("chat") as made:
        made.set_attributes(attributes)
    provider.shutdown()
    (event,) = events(server, tenant)
    assert event.cost.amount_nanousd == COST
    owner = event.call.attribution
    assert (owner.customer, owner.service, owner.environment) == ("ann", "shop", "prod")


@pytest.mark.parametrize(
    ("body", "headers", "answer"),
    [
        pytest.param(protobuf_body(now()), PROTOBUF, b"", id="protobuf"),
        pytest.param(json_body(now()), JSON, b"{}", id="JSON"),
        pytest.param(gzip.compress(json_body(now())), {**JSON, "Content-Encoding": "gzip"}, b"{}",
                     id="gzip"),
        pytest.param(json_body(now()), {"Content-Type": "application/json; charset=utf-8"}, b"{}",
                     id="with parameters"),
    ],
)  # fmt: skip
def test_a_body_is_taken_once_however_often_it_is_sent(
    server: RunningServer, body: bytes, headers: dict[str, str], answer: bytes,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    key = server.make_key(f"once-{request.node.callspec.id.lower().replace(' ', '-')}")
    for _ in range(3):
        said = send(server, key, body, headers)
        assert (said.status, said.body) == (200, answer)
        assert said.headers["content-type"] == headers["Content-Type"].partition(";")[0]
    assert sums(server, key) == (1, COST)


def test_spans_that_are_not_taken_are_counted_and_the_others_kept(server: RunningServer) -> None:
    key = server.make_key("partial")
    old = now(2, startTimeUnixNano="1600000000000000000")
    late = now(4, startTimeUnixNano=str(time.time_ns() + 3_600 * 10**9))
    spans = [now(1), old, now(3, traceId="ab"), late]
    answer = ExportTraceServiceResponse.FromString(
        send(server, key, protobuf_body(*spans), PROTOBUF).body
    )
    assert answer.partial_success.rejected_spans == 3
    for reason in ("too_old", "in_the_future", "trace_id has 1 bytes"):
        assert reason in answer.partial_success.error_message
    said = send(server, key, json_body(*spans), JSON).json
    assert said["partialSuccess"]["rejectedSpans"] == "3"
    assert sums(server, key) == (1, COST)


@pytest.mark.parametrize("headers", [PROTOBUF, JSON], ids=["protobuf", "JSON"])
@pytest.mark.parametrize(
    ("key", "body", "status"),
    [
        pytest.param("good", b"\x0b<html>", 400, id="no OTLP"),
        pytest.param("tsp_00000000_x", b"", 401, id="an unknown key"),
        pytest.param("read", b"", 403, id="a key that may not"),
        pytest.param("good", b"x" * (6 << 20), 413, id="too large"),
    ],
)
def test_a_failure_is_a_status_in_the_encoding_of_the_request(
    server: RunningServer, headers: dict[str, str], key: str, body: bytes, status: int
) -> None:
    keys = {"good": server.make_key("failing"), "read": server.make_key("failing", "read")}
    said = send(server, keys.get(key, key), body, headers)
    assert said.status == status
    assert said.headers["content-type"] == headers["Content-Type"]
    if headers is JSON:
        assert said.json.keys() == {"code", "message"}
    else:
        assert Status.FromString(said.body).message


def test_other_media_types_are_refused(server: RunningServer) -> None:
    said = send(server, server.key, b"", {"Content-Type": "text/plain"})
    assert said.status == 415


def test_a_books_outage_is_to_be_tried_again(tmp_path: Path) -> None:
    with running_server(f"sqlite:{tmp_path / 'central.db'}") as running:
        running.ledger.close()
        (tmp_path / "central.db").unlink()
        (tmp_path / "central.db").mkdir()
        said = send(running, running.key, protobuf_body(now()), PROTOBUF)
        assert said.status == 503
        assert said.headers["retry-after"] == "2"
        assert Status.FromString(said.body).code == 14


def test_what_is_taken_back_is_shown_and_counts_nowhere(server: RunningServer) -> None:
    key = server.make_key("taken-back")
    started = time.time_ns() - 5 * 10**9
    times = {"startTimeUnixNano": str(started), "endTimeUnixNano": str(started + 10**9)}
    lossy = {name: value for name, value in CHAT.items() if "cache" not in name}
    above = span(1, attributes=lossy, **times)
    below = span(2, traceId=f"{1:032x}", parentSpanId=f"{1:016x}", **times)
    framework = "opentelemetry.instrumentation.langchain"
    send(server, key, json_body(above, scope=framework), JSON)
    send(server, key, json_body(below), JSON)
    assert sums(server, key) == (1, COST)
    found = server.ask("GET", "/v1/events?kind=reversal", key=key).json["events"]
    assert [one["type"] for one in found] == ["dev.tollspan.reversal.v1"]
    assert found[0]["data"]["event"]["cost"]["amount_nanousd"] == str(8 * 150 + 11 * 600)
    rows = server.ask("GET", "/v1/focus?from=2020-01-01T00:00:00Z", key=key).body.decode()
    header, *lines = [line.split(",") for line in rows.splitlines()]
    billed = header.index("BilledCost")
    assert round(sum(float(line[billed]) for line in lines) * 1e9) == COST


def test_the_servers_description_has_the_route(server: RunningServer) -> None:
    post = server.ask("GET", "/openapi.json").json["paths"]["/v1/traces"]["post"]
    assert set(post["requestBody"]["content"]) == {"application/x-protobuf", "application/json"}
    assert json.dumps(post)
