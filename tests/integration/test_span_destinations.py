"""Where spans and metrics go: a provider that was handed over, the program's own, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anthropic
import openai
import pytest
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor as OfficialInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

from tests import harness
from tests.fakes import FakeAnthropic, FakeOpenAI, anthropic_calls, calls
from tollspan.api import (
    AnthropicInstrumentor,
    BudgetExceededError,
    OpenAIInstrumentor,
    install,
    uninstall,
)
from tollspan.launch import install_or_raise

FUNNEL = openai._base_client.SyncAPIClient


class Place:
    """A tracer provider, and who made the spans that came there."""

    def __init__(self) -> None:
        self._memory = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._memory))

    def taken(self) -> list[str]:
        """Return scope and model of each span since the last time."""
        spans = self._memory.get_finished_spans()
        self._memory.clear()
        found = []
        for span in spans:
            assert span.attributes is not None
            assert span.instrumentation_scope is not None
            assert "tollspan.cost.nanousd" in span.attributes or not span.status.is_ok
            found.append(f"{span.instrumentation_scope.name} {span.name}")
        return found


OURS = f"tollspan chat {calls.MODEL}"
OURS_TOO = f"tollspan chat {anthropic_calls.MODEL}"
THEIRS = f"opentelemetry.instrumentation.genai.openai chat {calls.MODEL}"


class Programs:
    """One client of each SDK."""

    def __init__(self, fake: FakeOpenAI, other: FakeAnthropic) -> None:
        self.fake, self.other = fake, other
        self._openai = openai.OpenAI(base_url=fake.base_url, api_key="key", max_retries=0)
        self._anthropic = anthropic.Anthropic(base_url=other.base_url, api_key="key", max_retries=0)

    def call(self) -> None:
        """Make one call with each."""
        self.call_openai()
        self.call_anthropic()

    def call_openai(self) -> None:
        """Make one call."""
        calls.chat(self._openai)

    def call_anthropic(self) -> None:
        """The same with the other one."""
        anthropic_calls.message(self._anthropic)

    def close(self) -> None:
        """Close the clients."""
        self._openai.close()
        self._anthropic.close()


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Programs]:
    """Serve both SDKs, whose own spans are off."""
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "false")
    with FakeOpenAI() as fake, FakeAnthropic() as other:
        made = Programs(fake, other)
        yield made
        made.close()


@pytest.fixture
def home(tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home with rules, named in the environment; whatever is installed is taken off again."""
    harness.write_rules(
        tmp_path,
        hosts={
            programs.fake.base_url.split("/")[2]: "openai",
            programs.other.base_url.split("/")[2]: "anthropic",
        },
    )
    monkeypatch.setenv("TOLLSPAN_HOME", str(tmp_path))
    yield tmp_path
    for one in (OpenAIInstrumentor(), AnthropicInstrumentor()):
        if one.is_instrumented_by_opentelemetry:
            one.uninstrument()
    uninstall()


def set_global(monkeypatch: pytest.MonkeyPatch) -> Place:
    """Set another global provider, as tests do: by putting the first one away."""
    place = Place()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    trace.set_tracer_provider(place.provider)
    return place


def test_a_global_provider_is_adopted_whenever_it_is_set_and_again_when_it_is_replaced(
    home: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    programs.call()
    first = set_global(monkeypatch)
    programs.call()
    assert first.taken() == [OURS, OURS_TOO]
    second = set_global(monkeypatch)
    programs.call()
    assert first.taken() == []
    assert second.taken() == [OURS, OURS_TOO]
    assert len(harness.usage_events(home)) == 6


def test_a_provider_that_is_handed_to_install_takes_every_span_though_there_is_a_global_one(
    home: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere, isolated, later = set_global(monkeypatch), Place(), Place()
    install(tracer_provider=isolated.provider)
    install()
    programs.call()
    assert isolated.taken() == [OURS, OURS_TOO]
    install(tracer_provider=later.provider)
    programs.call()
    assert later.taken() == [OURS, OURS_TOO]
    assert everywhere.taken() == isolated.taken() == []
    install(tracer_provider=trace.NoOpTracerProvider())
    programs.call()
    assert everywhere.taken() == later.taken() == []
    assert len(harness.usage_events(home)) == 6


@pytest.mark.parametrize("is_installed_before", [False, True])
def test_each_instrumentor_honours_its_own_provider(
    home: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch, *, is_installed_before: bool
) -> None:
    everywhere, one, two = set_global(monkeypatch), Place(), Place()
    if is_installed_before:
        install()
    OpenAIInstrumentor().instrument(tracer_provider=one.provider)
    programs.call()
    assert (one.taken(), everywhere.taken()) == ([OURS], [OURS_TOO])
    AnthropicInstrumentor().instrument(tracer_provider=two.provider)
    programs.call()
    assert (one.taken(), two.taken(), everywhere.taken()) == ([OURS], [OURS_TOO], [])
    assert len(harness.usage_events(home)) == 4


def test_another_instrumentor_with_an_isolated_provider_is_told_the_cost_there(
    home: Path, programs: Programs
) -> None:
    isolated = Place()
    install()
    OfficialInstrumentor().instrument(tracer_provider=isolated.provider)
    try:
        programs.call_openai()
    finally:
        OfficialInstrumentor().uninstrument()
    assert isolated.taken() == [THEIRS]


def test_metrics_go_to_the_meter_provider_that_is_handed_over(
    home: Path, programs: Programs
) -> None:
    assert not isinstance(metrics.get_meter_provider(), MeterProvider)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    installed = install_or_raise()
    programs.call()
    installed.lifecycle.worker.drain(5)  # what was called before is recorded before
    OpenAIInstrumentor().instrument(meter_provider=provider)
    programs.call()
    programs.call()
    installed.lifecycle.worker.drain(5)
    found = reader.get_metrics_data()
    assert found is not None
    (of_resource,) = found.resource_metrics
    (of_scope,) = of_resource.scope_metrics
    assert of_scope.scope.name == "tollspan"
    counts = {
        metric.name: sum(getattr(point, "count", 0) for point in metric.data.data_points)
        for metric in of_scope.metrics
    }
    assert counts["gen_ai.client.operation.duration"] == 4
    provider.shutdown()


def test_an_instrumentor_that_brought_tollspan_takes_it_off_again(
    home: Path, programs: Programs
) -> None:
    original = FUNNEL.__dict__["request"]
    OpenAIInstrumentor().instrument()
    AnthropicInstrumentor().instrument()
    programs.call()
    assert FUNNEL.__dict__["request"] is not original
    OpenAIInstrumentor().uninstrument()
    assert FUNNEL.__dict__["request"] is original
    programs.call()
    assert [event.call.request.provider for event in harness.usage_events(home)] == [
        "openai",
        "anthropic",
        "anthropic",
    ]
    OpenAIInstrumentor().instrument()
    programs.call_openai()
    OpenAIInstrumentor().uninstrument()
    AnthropicInstrumentor().uninstrument()
    programs.call()
    assert len(harness.usage_events(home)) == 4


def test_an_instrumentor_that_found_tollspan_there_ends_spans_and_leaves_the_gate(
    home: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does whatever takes every instrumentor off that it finds among the entry points."""
    everywhere = set_global(monkeypatch)
    install()
    OpenAIInstrumentor().instrument()
    OpenAIInstrumentor().uninstrument()
    programs.call()
    assert everywhere.taken() == [OURS_TOO]
    assert len(harness.usage_events(home)) == 2
    OpenAIInstrumentor().instrument()
    programs.call()
    assert everywhere.taken() == [OURS, OURS_TOO]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param("*", [], id="all"),
        pytest.param("tollspan", [], id="ours"),
        pytest.param("tollspan-openai", [OURS_TOO], id="tollspan-openai"),
        pytest.param("tollspan-anthropic", [OURS], id="tollspan-anthropic"),
        pytest.param("tollspan-openai,tollspan-anthropic", [], id="both"),
        pytest.param("openai,anthropic", [OURS, OURS_TOO], id="others'"),
    ],
)
def test_a_disabled_instrumentation_makes_no_spans_and_is_gated(
    home: Path,
    programs: Programs,
    monkeypatch: pytest.MonkeyPatch,
    names: str,
    expected: list[str],
) -> None:
    everywhere = set_global(monkeypatch)
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", names)
    install()
    programs.call()
    assert everywhere.taken() == expected
    assert len(harness.usage_events(home)) == 2
    uninstall()
    harness.write_rules(home, limit="0")
    install()
    with pytest.raises(BudgetExceededError):
        programs.call_openai()
    with pytest.raises(BudgetExceededError):
        programs.call_anthropic()
    assert (programs.fake.hits, programs.other.hits) == (1, 1)
