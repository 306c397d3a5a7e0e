"""OTLP bodies for tests, in both encodings, from plain values."""

from __future__ import annotations

import json
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

STARTED = 1_795_000_000_000_000_000
CHAT: dict[str, object] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 8,
    "gen_ai.usage.output_tokens": 11,
    "gen_ai.usage.cache_read.input_tokens": 5,
}


def span(number: int = 1, **changes: Any) -> dict[str, Any]:
    """Return a span as JSON has it, but for its attributes: a plain mapping."""
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": str(STARTED),
        "endTimeUnixNano": str(STARTED + 10**9),
        "attributes": dict(CHAT),
        **changes,
    }


def json_body(
    *spans: dict[str, Any],
    scope: str = "opentelemetry.instrumentation.genai.openai",
    version: str = "1.3b0",
    resource: dict[str, object] | None = None,
) -> bytes:
    """Return a body of one resource and one scope, in JSON."""
    written = [{**one, "attributes": _pairs(one["attributes"])} for one in spans]
    of_scope = {"scope": {"name": scope, "version": version}, "spans": written}
    of_resource = {
        "resource": {"attributes": _pairs(resource or {"service.name": "web"})},
        "scopeSpans": [of_scope],
    }
    return json.dumps({"resourceSpans": [of_resource]}).encode()


def protobuf_body(
    *spans: dict[str, Any],
    scope: str = "opentelemetry.instrumentation.genai.openai",
    version: str = "1.3b0",
    resource: dict[str, object] | None = None,
) -> bytes:
    """Return a body of one resource and one scope, in protobuf."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    for name, value in (resource or {"service.name": "web"}).items():
        _set(of_resource.resource.attributes.add(key=name).value, value)
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name, of_scope.scope.version = scope, version
    for one in spans:
        made = of_scope.spans.add(
            trace_id=bytes.fromhex(one["traceId"]),
            span_id=bytes.fromhex(one["spanId"]),
            parent_span_id=bytes.fromhex(one.get("parentSpanId", "")),
            name=one["name"],
            start_time_unix_nano=int(one["startTimeUnixNano"]),
            end_time_unix_nano=int(one["endTimeUnixNano"]),
        )
        made.status.code = one.get("status", {}).get("code", 0)
        for name, value in one["attributes"].items():
            _set(made.attributes.add(key=name).value, value)
        for event in one.get("events", []):
            made.events.add(name=event)
    return request.SerializeToString()


def _set(place: AnyValue, value: object) -> None:
    match value:
        case bool():
            place.bool_value = value
        case int():
            place.int_value = value
        case float():
            place.double_value = value
        case str():
            place.string_value = value
        case list():
            place.array_value.SetInParent()
            for item in value:
                place.array_value.values.add(string_value=item)
        case other:
            raise TypeError(type(other))


def _pairs(attributes: dict[str, object]) -> list[dict[str, object]]:
    return [{"key": name, "value": _any(value)} for name, value in attributes.items()]


def _any(value: object) -> dict[str, object]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case list():
            return {"arrayValue": {"values": [{"stringValue": item} for item in value]}}
        case other:
            raise TypeError(type(other))
