"""Who is compared: tollspan in several settings, and other instrumentors at their defaults.

Each is installed in a process of its own, with the same SDK providers around it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tollspan.launch import Installed, install_or_raise, read_settings, uninstall

Telemetry = Literal["none", "traces", "traces and metrics"]
_WINDOWS = ("lifetime", "hour", "day", "week", "month")


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One way to instrument the client.

    Attributes:
        name: For commands and files.
        title: For people.
        telemetry: The SDK providers that are set.
        budgets: How many budgets each call touches; 0 where it is not tollspan.
        instrumentor: Module of an `OpenAIInstrumentor`; "" for tollspan and for nothing at all.
    """

    name: str
    title: str
    telemetry: Telemetry
    budgets: int = 0
    instrumentor: str = ""


FAMILIES = (
    Family(name="control", title="nothing at all (the method's own noise)", telemetry="none"),
    Family(
        name="tollspan_all_1",
        title="**tollspan, everything on, 1 budget**",
        telemetry="traces and metrics",
        budgets=1,
    ),
    Family(
        name="tollspan_all_5",
        title="**tollspan, everything on, 5 budgets**",
        telemetry="traces and metrics",
        budgets=5,
    ),
    Family(
        name="tollspan_core_1",
        title="**tollspan, no span and metrics, 1 budget**",
        telemetry="none",
        budgets=1,
    ),
    Family(
        name="tollspan_core_5",
        title="**tollspan, no span and metrics, 5 budgets**",
        telemetry="none",
        budgets=5,
    ),
    Family(
        name="official_traces",
        title="official OpenTelemetry instrumentor, traces",
        telemetry="traces",
        instrumentor="opentelemetry.instrumentation.genai.openai",
    ),
    Family(
        name="official",
        title="official OpenTelemetry instrumentor, traces and metrics",
        telemetry="traces and metrics",
        instrumentor="opentelemetry.instrumentation.genai.openai",
    ),
    Family(
        name="openllmetry",
        title="OpenLLMetry, traces and metrics",
        telemetry="traces and metrics",
        instrumentor="opentelemetry.instrumentation.openai",
    ),
    Family(
        name="openinference",
        title="OpenInference, traces",
        telemetry="traces and metrics",
        instrumentor="openinference.instrumentation.openai",
    ),
)
BY_NAME = {family.name: family for family in FAMILIES}


class Running:
    """An installed family.

    Attributes:
        installed: What tollspan runs with; None for others.
    """

    def __init__(self, family: Family, home: Path) -> None:
        self._flushes: list[Callable[[], object]] = []
        self.installed: Installed | None = None
        self._set_telemetry(family.telemetry)
        if family.budgets:
            self.installed = install_tollspan(home, family.budgets)
        elif family.instrumentor:
            importlib.import_module(family.instrumentor).OpenAIInstrumentor().instrument()

    def flush(self) -> None:
        """Do what was left to other threads, and drop what was exported."""
        installed = self.installed
        if installed is not None:
            installed.lifecycle.worker.drain(10.0)
        for flush in self._flushes:
            flush()

    def forget(self) -> None:
        """Empty every memo of tollspan: the next call meets none of its like."""
        installed = self.installed
        assert installed is not None
        book = installed.gate._bounds
        for memo in ("_rates", "_bounds", "_steps"):
            getattr(book, memo).clear()
        installed.funnels[0].hosts._routes = {}
        installed.gate.use(installed.gate.rules)

    def close(self) -> None:
        """Take tollspan off again."""
        self.flush()
        uninstall()

    def _set_telemetry(self, telemetry: Telemetry) -> None:
        if telemetry == "none":
            return
        exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        self._flushes += [provider.force_flush, exporter.clear]
        if telemetry == "traces and metrics":
            metrics.set_meter_provider(
                MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
            )


def install_tollspan(home: Path, budgets: int) -> Installed:
    """Install tollspan with budgets that every call touches, and three attribution dimensions."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = home / "tollspan.yaml"
    document.write_text(rules(budgets))
    return install_or_raise(
        read_settings(
            {
                "TOLLSPAN_HOME": str(home),
                "TOLLSPAN_CONFIG": str(document),
                "TOLLSPAN_CUSTOMER": "acme",
                "TOLLSPAN_SESSION": "session-2026-11-22-0042",
                "TOLLSPAN_AGENT": "researcher",
            }
        )
    )


def rules(budgets: int) -> str:
    """Return a rules document with so many budgets of a million dollars."""
    lines = ["version: 1", "budgets:"]
    for number in range(budgets):
        window = _WINDOWS[number % len(_WINDOWS)]
        lines += [f"  - id: budget-{number}", "    limit: 1000000 USD", f"    window: {window}"]
    return "\n".join(lines) + "\n"
