"""An OTLP/HTTP endpoint on loopback that keeps the spans and the metrics' names it is sent."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2

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


class OtlpReceiver:
    """Serves `POST /v1/traces` until it is closed; a context manager.

    Attributes:
        bodies: Every body that came, decompressed.
        spans: Every span, in the order of arrival.
    """

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.spans: list[ReceivedSpan] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.bodies.append(body)
                if self.path == "/v1/traces":
                    receiver.take(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` takes."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

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
