"""OTLP/HTTP traces: bodies of spans in, priced usage events out, each call once."""

from .calls import DOOR, event_id_of, told_call
from .json_body import read_json
from .protobuf_body import read_protobuf
from .receiving import SpanReceiver, Taken
from .replies import JSON, PROTOBUF, failure, success
from .routes import PATH, refusal, routes
from .sent import BodyError, BodyTooLargeError, Sent, SentSpan, SpanError

__all__ = [
    "DOOR",
    "JSON",
    "PATH",
    "PROTOBUF",
    "BodyError",
    "BodyTooLargeError",
    "Sent",
    "SentSpan",
    "SpanError",
    "SpanReceiver",
    "Taken",
    "event_id_of",
    "failure",
    "read_json",
    "read_protobuf",
    "refusal",
    "routes",
    "success",
    "told_call",
]
