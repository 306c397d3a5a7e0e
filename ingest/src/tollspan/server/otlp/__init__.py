"""OTLP/HTTP traces: bodies of spans in, priced usage events out, each call once."""

from .calls import DOOR, ToldCall, event_id_of, told_call
from .json_body import read_json
from .protobuf_body import read_protobuf
from .replies import JSON, PROTOBUF, failure, success
from .sent import BodyError, BodyTooLargeError, Sent, SentSpan, SpanError

__all__ = [
    "DOOR",
    "JSON",
    "PROTOBUF",
    "BodyError",
    "BodyTooLargeError",
    "Sent",
    "SentSpan",
    "SpanError",
    "ToldCall",
    "event_id_of",
    "failure",
    "read_json",
    "read_protobuf",
    "success",
    "told_call",
]
