"""A backend of traces that takes OTLP over gRPC, as Jaeger and Tempo do, and keeps the spans."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.fakes.otlp_receiver import OtlpReceiver, ReceivedSpan

_METHOD = "opentelemetry.proto.collector.trace.v1.TraceService"


class TraceBackend:
    """Listens on loopback until closed; a context manager.

    Attributes:
        address: What `TRACES_ENDPOINT` takes.
        text: All that came, as it was on the wire.
    """

    def __init__(self) -> None:
        self._kept = OtlpReceiver()
        self._server = grpc.server(ThreadPoolExecutor(4))
        export = grpc.unary_unary_rpc_method_handler(
            self._export,
            request_deserializer=ExportTraceServiceRequest.FromString,
            response_serializer=ExportTraceServiceResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_METHOD, {"Export": export}),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _export(self, request: ExportTraceServiceRequest, _: object) -> ExportTraceServiceResponse:
        body = request.SerializeToString()
        self._kept.bodies.append(body)
        self._kept.take(body)
        return ExportTraceServiceResponse()

    @property
    def spans(self) -> list[ReceivedSpan]:
        """Every span that came, in order of arrival."""
        return list(self._kept.spans)

    @property
    def bodies(self) -> list[bytes]:
        """Every request, as it was on the wire, in order of arrival."""
        return list(self._kept.bodies)

    @property
    def text(self) -> bytes:
        """All that came."""
        return b"".join(self._kept.bodies)

    def __enter__(self) -> Self:
        self._kept.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop(None)
        self._kept.__exit__(kind, error, traceback)
