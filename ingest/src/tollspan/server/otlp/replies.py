"""What an OTLP/HTTP server answers, in the encoding in which it was asked."""

from __future__ import annotations

from typing import Final

import msgspec
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_LONGEST_MESSAGE: Final = 1_000
# The codes of google.rpc.Code that answer HTTP's.
_CODES: Final = {400: 3, 401: 16, 403: 7, 408: 4, 413: 8, 415: 3, 429: 8, 503: 14}
_UNKNOWN: Final = 2


def success(media_type: str, *, rejected: int = 0, message: str = "") -> bytes:
    """Write the answer to a body that was taken, all or in part.

    The specification wants `partial_success` unset where there is nothing to say, and `rejected` 0
    with a message where there is only a warning.

    Args:
        media_type: `PROTOBUF` or `JSON`.
        rejected: How many spans were not taken, and never will be.
        message: Why, or what to look at.
    """
    text = message[:_LONGEST_MESSAGE]
    if media_type == PROTOBUF:
        answer = ExportTraceServiceResponse()
        if rejected or text:
            answer.partial_success.rejected_spans = rejected
            answer.partial_success.error_message = text
        return answer.SerializeToString()
    said: dict[str, object] = {}
    if rejected or text:
        said = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": text}}
    return msgspec.json.encode(said)


def failure(media_type: str, status: int, message: str) -> bytes:
    """Write a `google.rpc.Status`, which OTLP answers with where a body was not taken.

    Args:
        media_type: `PROTOBUF` or `JSON`.
        status: HTTP's.
        message: What is wrong.
    """
    code, text = _CODES.get(status, _UNKNOWN), message[:_LONGEST_MESSAGE]
    if media_type != PROTOBUF:
        return msgspec.json.encode({"code": code, "message": text})
    return Status(code=code, message=text).SerializeToString()
