"""Which tracer and meter the spans and metrics of calls go to, whoever sets them up and whenever.

The program's own provider is used as soon as there is one. Without one, and when the standard
`OTEL_*` settings ask for traces, a private provider exports ours: it is never set as the global
one, so a program that sets its own later is not in our way, nor are we in its.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable
from importlib.metadata import entry_points, version
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace

from tollspan import semconv
from tollspan.safety import Guard

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

SCOPE = "tollspan"
_logger = logging.getLogger("tollspan.launch")


class TracerChooser:
    """Returns the tracer in force, None while nobody collects spans."""

    def __init__(self, *, wants_tracing: bool) -> None:
        self._version = version("tollspan")
        self._wants_tracing = wants_tracing
        self._provider: trace.TracerProvider | None = None
        self._tracer: trace.Tracer | None = None
        self._private: trace.Tracer | None = None
        self._guard = Guard("launch.tracing")

    def __call__(self) -> trace.Tracer | None:
        """Return the tracer in force."""
        provider = trace.get_tracer_provider()
        if provider is not self._provider:
            self._provider = provider
            self._tracer = self._choose(provider)
        return self._tracer

    def prepare(self) -> None:
        """Make the private provider now, if it is wanted, rather than in the first call."""
        if self._wants_tracing and _is_proxy(trace.get_tracer_provider()):
            with self._guard:
                self._private = self._get(_private_provider())

    def _choose(self, provider: trace.TracerProvider) -> trace.Tracer | None:
        if not _is_proxy(provider):
            return self._get(provider)
        return self._private

    def _get(self, provider: trace.TracerProvider) -> trace.Tracer:
        return provider.get_tracer(SCOPE, self._version, schema_url=semconv.SCHEMA_URL)


def meter() -> metrics.Meter:
    """Return our meter: of the global provider, now or when it is set."""
    return metrics.get_meter(SCOPE, version("tollspan"), schema_url=semconv.SCHEMA_URL)


def _is_proxy(provider: trace.TracerProvider) -> bool:
    return isinstance(provider, trace.ProxyTracerProvider)


def _private_provider() -> trace.TracerProvider:
    """Set up a provider by the standard variables, for our spans alone."""
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - 60 ms, only when wanted
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SimpleSpanProcessor,
    )

    provider = TracerProvider(shutdown_on_exit=False)
    for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(","):
        exporter = _exporter(name.strip())()
        provider.add_span_processor(
            SimpleSpanProcessor(exporter)
            if isinstance(exporter, ConsoleSpanExporter)
            else BatchSpanProcessor(exporter)
        )
    atexit.register(provider.shutdown)
    return provider


def _exporter(name: str) -> Callable[[], SpanExporter]:
    """Find an exporter by the name that `OTEL_TRACES_EXPORTER` uses."""
    if name == "otlp":
        protocol = (
            os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
            or "grpc"
        )
        name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    found = list(entry_points(group="opentelemetry_traces_exporter", name=name))
    if not found:
        raise LookupError(f"no trace exporter {name!r} is installed (OTEL_TRACES_EXPORTER)")
    loaded: Callable[[], SpanExporter] = found[0].load()
    return loaded
