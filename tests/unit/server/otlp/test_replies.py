"""What an OTLP client is answered, in its own encoding."""

from __future__ import annotations

import json

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tollspan.server.otlp import JSON, PROTOBUF, failure, success


def test_all_is_well_says_nothing() -> None:
    assert success(PROTOBUF) == b""
    assert success(JSON) == b"{}"


@pytest.mark.parametrize("rejected", [0, 3])
def test_partial_success_says_how_many_and_why(rejected: int) -> None:
    answer = ExportTraceServiceResponse.FromString(
        success(PROTOBUF, rejected=rejected, message="no")
    )
    assert answer.HasField("partial_success")
    assert answer.partial_success.rejected_spans == rejected
    assert answer.partial_success.error_message == "no"
    said = json.loads(success(JSON, rejected=rejected, message="no"))
    assert said == {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": "no"}}


@pytest.mark.parametrize(("status", "code"), [(400, 3), (401, 16), (413, 8), (503, 14), (500, 2)])
def test_failures_are_a_status_of_rpc(status: int, code: int) -> None:
    assert json.loads(failure(JSON, status, "why")) == {"code": code, "message": "why"}
    said = Status.FromString(failure(PROTOBUF, status, "é" * 2_000))
    assert (said.code, said.message) == (code, "é" * 1_000)
