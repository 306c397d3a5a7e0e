"""Says in which way spans, metrics and events on the wire are not as the tables have them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tests.conformance.registry import (
    DEPRECATED,
    EVENTS,
    MCP_CLIENT,
    METRIC_TYPES,
    OUR_PREFIXES,
    OURS,
    OUTPUT_TYPES,
    PROVIDERS,
    SEVERITIES,
    SPAN_TYPES,
    SUBSETS,
    Attribute,
    SpanType,
)
from tests.fakes.otlp_receiver import ReceivedLog, ReceivedMetric, ReceivedSpan, Value

_TYPES: dict[type, str] = {str: "string", int: "int", float: "double", bool: "bool"}
_SCHEMA = re.compile(r"https://opentelemetry\.io/schemas/gen-ai/\d+\.\d+\.\d+")


def check_spans(spans: Iterable[ReceivedSpan]) -> set[str]:
    """Return every deviation of our spans, each told once."""
    return {found for span in spans for found in _check_span(span)}


def never_told(spans: Iterable[ReceivedSpan], span_type: SpanType) -> set[str]:
    """Return what is recommended, or required under a condition, and on no span of a type."""
    seen = {
        name
        for span in spans
        if span.attributes.get("gen_ai.operation.name") in span_type.operations
        for name in span.attributes
    }
    wanted = {name for name, one in span_type.attributes.items() if one.level != "O"}
    return wanted - seen


def check_metrics(metrics: Iterable[ReceivedMetric]) -> set[str]:
    """Return every deviation of our metrics, each told once."""
    return {f"{metric.name}: {found}" for metric in metrics for found in _check_metric(metric)}


def check_logs(logs: Iterable[ReceivedLog]) -> set[str]:
    """Return every deviation of our log events, each told once."""
    return {f"{log.event_name}: {found}" for log in logs for found in _check_log(log)}


def _check_span(span: ReceivedSpan) -> list[str]:
    found = _check_scope(span.scope, span.scope_version, span.schema_url)
    told = span.attributes
    operation = str(told.get("gen_ai.operation.name"))
    span_type = next(
        (
            one
            for one in SPAN_TYPES
            if operation in one.operations and ("mcp.method.name" in told) == (one is MCP_CLIENT)
        ),
        None,
    )
    if span_type is None:
        return [*found, f"{operation} is no operation of the conventions"]
    expected_name = re.sub(r"{(.+?)}", lambda match: str(told.get(match[1])), span_type.name)
    if span.name != expected_name:
        found.append(f"is named {span.name!r}, not {expected_name!r}")
    if span.kind not in span_type.kinds:
        found.append(f"is of {span.kind}")
    found += _check_attributes(told, {**span_type.attributes, **OURS}, OUR_PREFIXES)
    found += _check_conditions(span)
    found += _check_values(told)
    return [f"{operation}: {one}" for one in found]


def _check_conditions(span: ReceivedSpan) -> list[str]:
    """Check what is required under a condition that a span shows by itself."""
    told = span.attributes
    is_call = "gen_ai.provider.name" in told
    is_error = span.status == "STATUS_CODE_ERROR"
    is_denied = told.get("tollspan.decision") == "deny"
    found: list[str] = []
    for name, is_due in (
        ("error.type", is_error),
        ("tollspan.rule.id", is_denied and told["error.type"] == "tollspan.budget_exceeded"),
        ("tollspan.cost.status", not is_denied),
    ):
        if is_due != (name in told):
            found.append(f"{name} {'is missing' if is_due else 'has no place here'}")
    if is_call and "gen_ai.request.model" not in told:
        found.append("gen_ai.request.model is missing")
    if "server.port" in told and "server.address" not in told:
        found.append("server.port is there without server.address")
    for name, value in (("gen_ai.request.stream", False), ("gen_ai.request.choice.count", 1)):
        if told.get(name) == value:
            found.append(f"{name} is told at {value}, which goes without saying")
    if told.get("openai.request.service_tier") == "auto":
        found.append("openai.request.service_tier is told at auto, which goes without saying")
    if "gen_ai.response.time_to_first_chunk" in told and not told.get("gen_ai.request.stream"):
        found.append("gen_ai.response.time_to_first_chunk is there without a stream")
    if told.get("tollspan.cost.status") in ("priced", "partial", "not_billed"):
        missing = [name for name in ("nanousd", "usd") if f"tollspan.cost.{name}" not in told]
        found += [f"tollspan.cost.{name} is missing" for name in missing]
    return found


def _check_values(told: Mapping[str, Value]) -> list[str]:
    found = [
        f"{part} is more than {whole}"
        for part, whole in SUBSETS.items()
        if part in told and _number(told[part]) > _number(told.get(whole, 0))
    ]
    if told.get("gen_ai.provider.name", "openai") not in PROVIDERS:
        found.append(f"{told['gen_ai.provider.name']} is no provider of the conventions")
    if told.get("gen_ai.output.type", "text") not in OUTPUT_TYPES:
        found.append(f"{told['gen_ai.output.type']} is no output type")
    if "tollspan.cost.usd" in told:
        usd, nanousd = told["tollspan.cost.usd"], told.get("tollspan.cost.nanousd", 0)
        if _number(usd) != _number(nanousd) / 1e9:
            found.append("tollspan.cost.usd and tollspan.cost.nanousd say different things")
    return found


def _check_metric(metric: ReceivedMetric) -> list[str]:
    found = _check_scope(metric.scope, metric.scope_version, metric.schema_url)
    metric_type = METRIC_TYPES.get(metric.name)
    if metric_type is None:
        return [*found, "is no metric of the conventions or of ours"]
    for what, is_there, wanted in (
        ("kind", metric.kind, metric_type.kind),
        ("unit", metric.unit, metric_type.unit),
    ):
        if is_there != wanted:
            found.append(f"its {what} is {is_there!r}, not {wanted!r}")
    if not metric.description:
        found.append("it has no description")
    for point in metric.points:
        found += _check_attributes(point.attributes, metric_type.attributes)
        if metric.kind == "histogram" and point.bounds != metric_type.bounds:
            found.append(f"its buckets end at {point.bounds}")
    return found


def _check_log(log: ReceivedLog) -> list[str]:
    found = _check_scope(log.scope, log.scope_version, log.schema_url)
    wanted = EVENTS.get(log.event_name)
    if wanted is None:
        return [*found, "is no event of ours"]
    found += _check_attributes(log.attributes, wanted)
    is_warning = log.event_name == "tollspan.warning"
    action = "warn" if is_warning else str(log.attributes.get("tollspan.decision"))
    if log.severity_text != SEVERITIES.get(action):
        found.append(f"{action} has the severity {log.severity_text}")
    if log.severity != f"SEVERITY_NUMBER_{log.severity_text}":
        found.append(f"its severity is {log.severity} and {log.severity_text}")
    if ("error.type" in log.attributes) != (action == "deny"):
        found.append("error.type is there for a denial and for nothing else")
    if not log.time_unix_ns:
        found.append("it has no time")
    return found


def _check_scope(name: str, version: str, schema_url: str) -> list[str]:
    found = [f"its scope is {name!r}"] if name != "tollspan" else []
    if not re.fullmatch(r"\d+\.\d+\.\d+.*", version):
        found.append(f"its scope's version is {version!r}")
    if not _SCHEMA.fullmatch(schema_url):
        found.append(f"its schema is {schema_url!r}")
    return found


def _check_attributes(
    told: Mapping[str, Value], wanted: Mapping[str, Attribute], prefixes: tuple[str, ...] = ()
) -> list[str]:
    found: list[str] = []
    for name, value in told.items():
        attribute = wanted.get(name)
        if attribute is not None and attribute.level == "O":
            found.append(f"{name} is told, and nobody asked for it")
        elif attribute is not None and _type_of(value) != attribute.type:
            found.append(f"{name} is of type {_type_of(value)}, not {attribute.type}")
        elif name in DEPRECATED:
            found.append(f"{name} is deprecated")
        elif attribute is None and not name.startswith(prefixes or "\0"):
            found.append(f"{name} has no place here")
    found += [
        f"{name} is missing"
        for name, attribute in wanted.items()
        if attribute.level == "R" and name not in told
    ]
    return found


def _type_of(value: Value) -> str:
    return "string[]" if isinstance(value, list) else _TYPES[type(value)]


def _number(value: Value) -> float:
    return value if isinstance(value, int | float) else float("nan")
