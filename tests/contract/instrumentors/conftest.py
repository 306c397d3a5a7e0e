"""Every surface, with both kinds of client."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import KITS
from tests.contract.instrumentors.stage import Stage, Wires, open_stage
from tests.contract.instrumentors.ways import Async, Sync, Way


@pytest.fixture(scope="session", autouse=True)
def frozen() -> Iterator[None]:
    """Keep the collector from looking at the SDKs' modules each time: that takes 0.2 seconds."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all."""
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="session")
def wires(runner: asyncio.Runner) -> Iterator[Wires]:
    """HTTP clients, one for each SDK and way."""
    made = Wires()
    yield made
    runner.run(made.close())


@pytest.fixture(params=KITS, ids=str)
def kit(request: pytest.FixtureRequest) -> Kit:
    """One surface."""
    found: Kit = request.param
    return found


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Way:
    """One kind of client."""
    return Sync() if request.param == "sync" else Async(runner)


@pytest.fixture
def all_spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Collect every span, those of the SDKs too."""
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield memory
    provider.shutdown()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch, all_spans: InMemorySpanExporter) -> InMemorySpanExporter:
    """Collect spans; Anthropic's own ones are off."""
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "false")
    return all_spans


@pytest.fixture
def stage(
    kit: Kit, way: Way, wires: Wires, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """Everything that a test needs, with a budget that suffices."""
    monkeypatch.setattr(f"{kit.package.__name__}._base_client.INITIAL_RETRY_DELAY", 0.001)
    with open_stage(kit, way, wires, tmp_path) as made:
        yield made


@pytest.fixture
def poor(kit: Kit, way: Way, wires: Wires, tmp_path: Path) -> Iterator[Stage]:
    """The same with a budget that suffices for nothing."""
    with open_stage(kit, way, wires, tmp_path, limit="0.000000001") as made:
        yield made
