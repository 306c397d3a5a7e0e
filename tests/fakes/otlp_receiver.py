"""An OTLP/HTTP endpoint on loopback that keeps the spans, metrics and log records it is sent."""

from __future__ import annotations

import gzip
from collections.abc import Iterable

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.fakes.shell import LoopbackServer
from tests.fakes.wire import Connection, HttpRequest, head

Value = str | int | float | bool | list[str]


class ReceivedSpan(msgspec.Struct, kw_only=True):
    """A span as it was on the wire; ids in hex, `""` for no parent."""

    scope: str
    scope_version: str
    schema_url: str
    resource: dict[str, Value]
    name: str
    kind: str
    status: str
    status_message: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Value]


class ReceivedPoint(msgspec.Struct, kw_only=True):
    """A data point; a histogram's value is its sum."""

    attributes: dict[str, Value]
    value: float
    count: int = 1
    bounds: tuple[float, ...] = ()
    buckets: tuple[int, ...] = ()


class ReceivedMetric(msgspec.Struct, kw_only=True):
    """A metric as it was on the wire; `kind` is `histogram`, `sum` (monotonic) or `gauge`."""

    scope: str
    scope_version: str
    schema_url: str
    resource: dict[str, Value]
    name: str
    kind: str
    unit: str
    description: str
    points: list[ReceivedPoint]


class ReceivedLog(msgspec.Struct, kw_only=True):
    """A log record as it was on the wire; ids in hex, `""` for none."""

    scope: str
    scope_version: str
    schema_url: str
    resource: dict[str, Value]
    event_name: str
    severity: str
    severity_text: str
    time_unix_ns: int
    body: Value
    trace_id: str
    span_id: str
    attributes: dict[str, Value]


class OtlpReceiver(LoopbackServer):
    """Serves `POST /v1/traces`, `/v1/metrics` and `/v1/logs` until closed; a context manager.

    Attributes:
        bodies: Every body that came, decompressed.
        spans, logs: Every span and log record, in the order of arrival.
        metrics: Every metric of every export, in the order of arrival: sums are cumulative.
    """

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.spans: list[ReceivedSpan] = []
        self.metrics: list[ReceivedMetric] = []
        self.logs: list[ReceivedLog] = []
        super().__init__("otlp-receiver")

    def answer(self, connection: Connection, request: HttpRequest) -> bool:
        """Keep what one request brings."""
        body = request.body
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.bodies.append(body)
        match request.path:
            case "/v1/traces":
                self.take(body)
            case "/v1/metrics":
                self.take_metrics(body)
            case "/v1/logs":
                self.take_logs(body)
            case _:
                pass
        answer = ExportTraceServiceResponse().SerializeToString()
        headers = {"content-type": "application/x-protobuf", "content-length": str(len(answer))}
        connection.write(head(200, headers) + answer)
        connection.flush()
        return True

    @property
    def endpoint(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` takes."""
        return self.root_url

    @property
    def environment(self) -> dict[str, str]:
        """The settings that send a program's spans here."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }

    def take(self, body: bytes) -> None:
        """Keep the spans of one request."""
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _attributes(of_resource.resource.attributes)
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    self.spans.append(
                        ReceivedSpan(
                            scope=of_scope.scope.name,
                            scope_version=of_scope.scope.version,
                            schema_url=of_scope.schema_url,
                            resource=resource,
                            name=span.name,
                            kind=trace_pb2.Span.SpanKind.Name(span.kind),
                            status=trace_pb2.Status.StatusCode.Name(span.status.code),
                            status_message=span.status.message,
                            trace_id=span.trace_id.hex(),
                            span_id=span.span_id.hex(),
                            parent_id=span.parent_span_id.hex(),
                            attributes=_attributes(span.attributes),
                        )
                    )

    def take_metrics(self, body: bytes) -> None:
        """Keep the metrics of one request."""
        for of_resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            resource = _attributes(of_resource.resource.attributes)
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    kind, points = _points(metric)
                    self.metrics.append(
                        ReceivedMetric(
                            scope=of_scope.scope.name,
                            scope_version=of_scope.scope.version,
                            schema_url=of_scope.schema_url,
                            resource=resource,
                            name=metric.name,
                            kind=kind,
                            unit=metric.unit,
                            description=metric.description,
                            points=points,
                        )
                    )

    def take_logs(self, body: bytes) -> None:
        """Keep the log records of one request."""
        for of_resource in ExportLogsServiceRequest.FromString(body).resource_logs:
            resource = _attributes(of_resource.resource.attributes)
            for of_scope in of_resource.scope_logs:
                for record in of_scope.log_records:
                    self.logs.append(
                        ReceivedLog(
                            scope=of_scope.scope.name,
                            scope_version=of_scope.scope.version,
                            schema_url=of_scope.schema_url,
                            resource=resource,
                            event_name=record.event_name,
                            severity=logs_pb2.SeverityNumber.Name(record.severity_number),
                            severity_text=record.severity_text,
                            time_unix_ns=record.time_unix_nano,
                            body=_value(record.body),
                            trace_id=record.trace_id.hex(),
                            span_id=record.span_id.hex(),
                            attributes=_attributes(record.attributes),
                        )
                    )

    def newest_metrics(self) -> dict[str, ReceivedMetric]:
        """Return each metric by name as it came last."""
        return {metric.name: metric for metric in self.metrics}


def _points(metric: metrics_pb2.Metric) -> tuple[str, list[ReceivedPoint]]:
    """Return a metric's kind and points."""
    kind = str(metric.WhichOneof("data"))
    if kind == "histogram":
        return kind, [
            ReceivedPoint(
                attributes=_attributes(point.attributes),
                value=point.sum,
                count=point.count,
                bounds=tuple(point.explicit_bounds),
                buckets=tuple(point.bucket_counts),
            )
            for point in metric.histogram.data_points
        ]
    if kind == "sum" and not metric.sum.is_monotonic:
        kind = "up-down sum"
    of_kind = metric.gauge if kind == "gauge" else metric.sum
    return kind, [
        ReceivedPoint(
            attributes=_attributes(point.attributes),
            value=point.as_double if point.WhichOneof("value") == "as_double" else point.as_int,
        )
        for point in of_kind.data_points
    ]


def _attributes(attributes: Iterable[KeyValue]) -> dict[str, Value]:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: AnyValue) -> Value:
    """Return a value with the type that it has on the wire."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return int(value.int_value)
        case "double_value":
            return float(value.double_value)
        case "bool_value":
            return bool(value.bool_value)
        case "array_value":
            return [one.string_value for one in value.array_value.values]
        case other:
            raise ValueError(f"an attribute's value is a {other}")
