"""Calls to models within a tool are charged as themselves, and are children of its span."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from openai import OpenAI
from opentelemetry.metrics import _internal as metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tests.fakes import FakeOpenAI
from tests.fakes.calls import MODEL, PROMPT
from tests.integration.tools.stage import Stage
from tollspan.api import tool


def ask(client: OpenAI, **more: Any) -> Any:
    """Ask a model."""
    messages: Any = [{"role": "user", "content": PROMPT}]
    return client.chat.completions.create(model=MODEL, messages=messages, max_tokens=50, **more)


@pytest.mark.parametrize("is_generator", [False, True])
def test_a_models_cost_is_not_the_tools(stage: Stage, is_generator: bool) -> None:
    with FakeOpenAI() as fake, OpenAI(api_key="key", base_url=fake.base_url) as client:

        @tool(name="research", cost="0.1 USD")
        def plain() -> None:
            ask(client)

        @tool(name="research", cost="0.1 USD")
        def stepping() -> Generator[int, None, None]:
            yield 1
            ask(client)
            yield 2

        assert (list(stepping()) if is_generator else plain()) in (None, [1, 2])
        billed = fake.billed_nanousd
    model, research = stage.events()
    assert (model.call.request.operation, model.cost.amount_nanousd) == ("chat", billed)
    assert (research.call.request.model, research.cost.amount_nanousd) == ("research", 100_000_000)
    assert stage.balance().posted == billed + 100_000_000
    child, parent = stage.span(f"chat {MODEL}"), stage.span("execute_tool research")
    assert child.parent is not None
    assert parent.context is not None
    assert child.parent.span_id == parent.context.span_id


def test_tools_have_the_metrics_of_tools_and_none_of_models(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(metrics, "_METER_PROVIDER", provider)
    stage: Stage = request.getfixturevalue("stage")

    @tool(name="search")
    def search() -> None:
        """Find something."""

    search()
    stage.settle()
    data = reader.get_metrics_data()
    assert data is not None
    found = {
        metric.name: [dict(point.attributes or {}) for point in metric.data.data_points]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    said = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.type": "function",
    }
    assert found["gen_ai.execute_tool.duration"] == [said]
    assert found["tollspan.cost"] == [said]
    assert "gen_ai.client.operation.duration" not in found
    assert "gen_ai.client.token.usage" not in found
    provider.shutdown()
