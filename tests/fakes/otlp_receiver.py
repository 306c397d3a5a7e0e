"""An OTLP/HTTP endpoint on loopback that keeps the spans and the metrics' names it is sent."""

from __future__ import annotations

import gzip

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
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


class OtlpReceiver(LoopbackServer):
    """Serves `POST /v1/traces` until it is closed; a context manager.

    Attributes:
        bodies: Every body that came, decompressed.
        spans: Every span, in the order of arrival.
    """

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.spans: list[ReceivedSpan] = []
        super().__init__("otlp-receiver")

    def answer(self, connection: Connection, request: HttpRequest) -> bool:
        """Keep what one request brings."""
        body = request.body
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.bodies.append(body)
        if request.path == "/v1/traces":
            self.take(body)
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
            resource = {one.key: _value(one.value) for one in of_resource.resource.attributes}
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
                            attributes={one.key: _value(one.value) for one in span.attributes},
                        )
                    )


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
