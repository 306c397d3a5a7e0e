"""What OpenTelemetry's metrics say of calls, beside what the ledger says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from tests.fakes import FakeOpenAI
from tollspan.usage import TOKEN_BUCKETS

NO_KNOWN_HOST = """
    version: 1
    budgets: [{id: all, limit: 0.01 USD}]
"""
METERED = """
    import json
    import openai
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from tollspan.api import BudgetExceededError, uninstall

    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    client = openai.OpenAI(max_retries=0)
    asked = dict(messages=[{"role": "user", "content": "hi"}], max_tokens=100)
    cached = {"extra_headers": {"x-fake": '{"cached_tokens": 1}'}}
    for model in ("gpt-4o-mini", "gpt-4o-mini", "no-such-model-at-all"):
        client.chat.completions.create(model=model, **asked, **cached)
    try:
        client.chat.completions.create(model="gpt-4o", **{**asked, "max_tokens": 16000})
    except BudgetExceededError:
        pass
    uninstall()  # records what is queued
    found = {}
    for of_resource in reader.get_metrics_data().resource_metrics:
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                assert metric.name not in found, metric.name
                found[metric.name] = [
                    of_scope.scope.name,
                    metric.unit,
                    [
                        [
                            dict(point.attributes),
                            getattr(point, "sum", None) or getattr(point, "value", None),
                            getattr(point, "count", None),
                            list(getattr(point, "explicit_bounds", ())),
                        ]
                        for point in metric.data.data_points
                    ],
                ]
    print(json.dumps(found))
"""


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    """Serve answers."""
    with FakeOpenAI() as server:
        yield server


def measured(home: Path, fake: FakeOpenAI, code: str) -> dict[str, list[Any]]:
    """Run a program under tollspan; return what its meter has."""
    done = harness.run(harness.program(code), harness.environment(home, fake.base_url))
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, list[Any]] = json.loads(done.stdout)
    return found


def test_metrics_are_recorded_beside_the_calls(fake: FakeOpenAI, tmp_path: Path) -> None:
    harness.write_rules(tmp_path, text=NO_KNOWN_HOST)
    found = measured(tmp_path, fake, METERED)
    assert {scope for scope, _, _ in found.values()} == {"tollspan"}
    events = harness.usage_events(tmp_path)

    _, unit, points = found["gen_ai.client.operation.duration"]
    assert unit == "s"
    assert sum(count for _, _, count, _ in points) == len(events) == 3
    assert points[0][3] == [0.01 * 2**power for power in range(14)]
    assert points[0][0] == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "server.address": "127.0.0.1",
        "server.port": int(re.sub(r".*:", "", fake.root_url)),
    }
    _, unit, points = found["gen_ai.client.token.usage"]
    assert unit == "{token}"
    for kind in ("input", "output"):
        counted = sum(point[1] for point in points if point[0]["gen_ai.token.type"] == kind)
        assert counted == sum(
            getattr(event.usage, f"{kind}_tokens") for event in events if event.usage
        )
    _, unit, points = found["tollspan.cost"]
    assert unit == "USD"
    spent = sum(event.cost.amount_nanousd or 0 for event in events)
    assert sum(point[1] for point in points) == pytest.approx(spent / 1e9)

    _, unit, points = found["tollspan.tokens"]
    assert unit == "{token}"
    by_bucket = {point[0]["tollspan.token.bucket"]: 0 for point in points}
    for point in points:
        by_bucket[point[0]["tollspan.token.bucket"]] += point[1]
    usages = [event.usage for event in events if event.usage]
    assert by_bucket == {
        bucket: count
        for bucket in TOKEN_BUCKETS
        if (count := sum(getattr(one, bucket) for one in usages))
    }
    assert {"input_uncached", "cache_read", "output"} <= set(by_bucket)

    decisions = found["tollspan.decisions"][2]
    by_decision = {
        name: sum(point[1] for point in decisions if point[0]["tollspan.decision"] == name)
        for name in ("allow", "deny")
    }
    assert by_decision == {"allow": 3, "deny": 1}
    (denied,) = [point[0] for point in decisions if point[0]["tollspan.decision"] == "deny"]
    assert denied["error.type"] == "tollspan.budget_exceeded"
    assert sum(point[1] for point in found["tollspan.unpriced_calls"][2]) == 1


@pytest.mark.parametrize(
    ("instrumentor", "scope"),
    [
        pytest.param("opentelemetry.instrumentation.genai.openai", None, id="official"),
        pytest.param("openinference.instrumentation.openai", "tollspan", id="openinference"),
    ],
)
def test_the_conventions_metrics_are_recorded_by_one_instrumentor_only(
    fake: FakeOpenAI, tmp_path: Path, instrumentor: str, scope: str | None
) -> None:
    harness.write_rules(tmp_path, text=NO_KNOWN_HOST)
    setup = f"import {instrumentor} as other\n    other.OpenAIInstrumentor().instrument()\n    "
    code = METERED.replace("client = openai", f"{setup}client = openai")
    found = measured(tmp_path, fake, code)
    for name in ("gen_ai.client.operation.duration", "gen_ai.client.token.usage"):
        assert found[name][0] == (scope or instrumentor)
    duration = found["gen_ai.client.operation.duration"]
    ours = 3 if scope else 4  # the other one sees the refused call too
    assert sum(count for _, _, count, _ in duration[2]) == ours
    spent = sum(event.cost.amount_nanousd or 0 for event in harness.usage_events(tmp_path))
    assert sum(point[1] for point in found["tollspan.cost"][2]) == pytest.approx(spent / 1e9)
