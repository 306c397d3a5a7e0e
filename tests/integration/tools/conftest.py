"""Tools under tollspan in this process, with a budget of a dollar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.integration.tools.stage import Stage, open_stage


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Collect every span, those of the MCP SDK too."""
    made = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield made
    provider.shutdown()


@pytest.fixture
def stage(tmp_path: Path, memory: InMemorySpanExporter) -> Iterator[Stage]:
    """Everything that a test of this folder needs."""
    with open_stage(tmp_path, memory) as made:
        yield made
