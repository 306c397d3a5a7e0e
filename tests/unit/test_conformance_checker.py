"""The checker of telemetry finds every kind of deviation, and nothing in what is right."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.conformance.checker import check_logs, check_metrics, check_spans, never_told
from tests.conformance.registry import EMBEDDINGS
from tests.fakes.otlp_receiver import (
    ReceivedLog,
    ReceivedMetric,
    ReceivedPoint,
    ReceivedSpan,
    Value,
)
from tollspan import semconv

SCOPE: dict[str, Any] = {
    "scope": "tollspan",
    "scope_version": "0.1.0",
    "schema_url": "https://opentelemetry.io/schemas/gen-ai/1.42.0",
    "resource": {},
}
COSTS: dict[str, Value] = {
    "tollspan.cost.status": "priced",
    "tollspan.cost.nanousd": 1500,
    "tollspan.cost.usd": 1.5e-6,
}
SPAN = ReceivedSpan(
    **SCOPE,
    name="chat gpt-4o",
    kind="SPAN_KIND_CLIENT",
    status="STATUS_CODE_UNSET",
    status_message="",
    trace_id="1",
    span_id="2",
    parent_id="",
    attributes={
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 10,
        "tollspan.call.id": "3",
        "tollspan.decision": "allow",
        "tollspan.tag.tier": "free",
        **COSTS,
    },
)
POINT = ReceivedPoint(
    attributes={
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
    },
    value=1.0,
    bounds=semconv.DURATION_BUCKETS_SECONDS,
)
METRIC = ReceivedMetric(
    **SCOPE,
    name="gen_ai.client.operation.duration",
    kind="histogram",
    unit="s",
    description="How long it took.",
    points=[POINT],
)
LOG = ReceivedLog(
    **SCOPE,
    event_name="tollspan.decision",
    severity="SEVERITY_NUMBER_WARN",
    severity_text="WARN",
    time_unix_ns=1,
    body="no",
    trace_id="1",
    span_id="2",
    attributes={
        "tollspan.decision": "deny",
        "tollspan.call.id": "3",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "error.type": "tollspan.budget_exceeded",
    },
)


def test_nothing_is_found_in_what_is_right() -> None:
    assert check_spans([SPAN]) == check_metrics([METRIC]) == check_logs([LOG]) == set()


@pytest.mark.parametrize(
    ("changed", "told", "found"),
    [
        pytest.param({"name": "chat"}, {}, "is named 'chat', not 'chat gpt-4o'", id="name"),
        pytest.param({"kind": "SPAN_KIND_SERVER"}, {}, "is of SPAN_KIND_SERVER", id="kind"),
        pytest.param({"scope": "other"}, {}, "its scope is 'other'", id="scope"),
        pytest.param({"scope_version": ""}, {}, "its scope's version is ''", id="version"),
        pytest.param({"schema_url": ""}, {}, "its schema is ''", id="schema"),
        pytest.param({"status": "STATUS_CODE_ERROR"}, {}, "error.type is missing", id="error"),
        pytest.param({}, {"error.type": "x"}, "error.type has no place here", id="no error"),
        pytest.param({}, {"tollspan.call.id": None}, "tollspan.call.id is missing", id="required"),
        pytest.param({}, {"gen_ai.system": "openai"}, "gen_ai.system is deprecated", id="old name"),
        pytest.param({}, {"gen_ai.new": "x"}, "gen_ai.new has no place here", id="unknown name"),
        pytest.param(
            {},
            {"gen_ai.usage.input_tokens": 1.0},
            "gen_ai.usage.input_tokens is of type double, not int",
            id="type",
        ),
        pytest.param(
            {},
            {"gen_ai.input.messages": "[]"},
            "gen_ai.input.messages is told, and nobody asked for it",
            id="content",
        ),
        pytest.param(
            {},
            {"gen_ai.usage.cache_read.input_tokens": 11},
            "gen_ai.usage.cache_read.input_tokens is more than gen_ai.usage.input_tokens",
            id="part and whole",
        ),
        pytest.param(
            {},
            {"gen_ai.provider.name": "acme"},
            "acme is no provider of the conventions",
            id="enum",
        ),
        pytest.param(
            {},
            {"gen_ai.request.choice.count": 1},
            "gen_ai.request.choice.count is told at 1, which goes without saying",
            id="default",
        ),
        pytest.param(
            {},
            {"tollspan.cost.usd": 1.0},
            "tollspan.cost.usd and tollspan.cost.nanousd say different things",
            id="money",
        ),
        pytest.param(
            {},
            {"gen_ai.response.time_to_first_chunk": 1.0},
            "gen_ai.response.time_to_first_chunk is there without a stream",
            id="stream",
        ),
    ],
)
def test_a_spans_deviation_is_found(
    changed: dict[str, Any], told: dict[str, Value | None], found: str
) -> None:
    attributes = {
        name: value for name, value in {**SPAN.attributes, **told}.items() if value is not None
    }
    span = msgspec.structs.replace(SPAN, **changed, attributes=attributes)
    assert check_spans([span]) == {f"chat: {found}"}


def test_an_operation_that_the_conventions_lack_is_found() -> None:
    attributes = {**SPAN.attributes, "gen_ai.operation.name": "moderation"}
    span = msgspec.structs.replace(SPAN, attributes=attributes)
    assert check_spans([span]) == {"moderation is no operation of the conventions"}


def test_what_no_span_tells_is_found() -> None:
    attributes = {**SPAN.attributes, "gen_ai.operation.name": "embeddings"}
    told = never_told([msgspec.structs.replace(SPAN, attributes=attributes)], EMBEDDINGS)
    assert "gen_ai.embeddings.dimension.count" in told
    assert "gen_ai.usage.input_tokens" not in told


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        pytest.param({"unit": "ms"}, "its unit is 'ms', not 's'", id="unit"),
        pytest.param({"kind": "gauge"}, "its kind is 'gauge', not 'histogram'", id="kind"),
        pytest.param({"description": ""}, "it has no description", id="description"),
        pytest.param(
            {"points": [msgspec.structs.replace(POINT, bounds=(1.0,))]},
            "its buckets end at (1.0,)",
            id="buckets",
        ),
        pytest.param(
            {
                "points": [
                    msgspec.structs.replace(POINT, attributes={**POINT.attributes, "user.id": "u"})
                ]
            },
            "user.id has no place here",
            id="label",
        ),
        pytest.param(
            {"name": "tollspan.no_such"}, "is no metric of the conventions or of ours", id="name"
        ),
    ],
)
def test_a_metrics_deviation_is_found(changed: dict[str, Any], found: str) -> None:
    metric = msgspec.structs.replace(METRIC, **changed)
    assert check_metrics([metric]) == {f"{metric.name}: {found}"}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        pytest.param({"event_name": ""}, "is no event of ours", id="name"),
        pytest.param({"time_unix_ns": 0}, "it has no time", id="time"),
        pytest.param(
            {"severity": "SEVERITY_NUMBER_INFO", "severity_text": "INFO"},
            "deny has the severity INFO",
            id="severity",
        ),
        pytest.param(
            {"attributes": {**LOG.attributes, "gen_ai.input.messages": "[]"}},
            "gen_ai.input.messages has no place here",
            id="content",
        ),
    ],
)
def test_an_events_deviation_is_found(changed: dict[str, Any], found: str) -> None:
    log = msgspec.structs.replace(LOG, **changed)
    assert check_logs([log]) == {f"{log.event_name}: {found}"}
