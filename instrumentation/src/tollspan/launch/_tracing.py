"""Which tracer and meter the spans and metrics of calls go to, whoever sets them up and whenever.

The program's own provider is used as soon as there is one. Without one, and when the standard
`OTEL_*` settings ask for traces, a private provider exports ours: it is never set as the global
one, so a program that sets its own later is not in our way, nor are we in its.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from importlib.metadata import entry_points, version
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace

from tollspan import semconv
from tollspan.safety import Guard

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

SCOPE = "tollspan"
_OTLP_EXPORTERS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_LAST_EXPORT_SECONDS = 3.0
_logger = logging.getLogger("tollspan.launch")


class TracerChooser:
    """Returns the tracer in force, None while nobody collects spans.

    Args:
        wants_tracing: Where the program has no provider, export our spans by a private one.
        on_change: Called in the first call, and when the program has set a provider since.
    """

    def __init__(self, *, wants_tracing: bool, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._version = version("tollspan")
        self._wants_tracing = wants_tracing
        self._provider: trace.TracerProvider | None = None
        self._tracer: trace.Tracer | None = None
        self._private: trace.Tracer | None = None
        self._private_provider: TracerProvider | None = None
        self._guard = Guard("launch.tracing")

    def __call__(self) -> trace.Tracer | None:
        """Return the tracer in force."""
        provider = trace.get_tracer_provider()
        if provider is not self._provider:
            self._provider = provider
            self._tracer = self._choose(provider)
            self._on_change()
        return self._tracer

    def prepare(self) -> None:
        """Make the private provider now, if it is wanted, rather than in the first call."""
        if self._wants_tracing and _is_proxy(trace.get_tracer_provider()):
            with self._guard:
                provider = self._private_provider = _private_provider()
                self._private = self._get(provider)

    def close(self) -> None:
        """Export what the private provider still has, for a bounded time, and end it."""
        provider, self._private_provider = self._private_provider, None
        if provider is None:
            return
        last = threading.Thread(target=provider.shutdown, name="tollspan-export", daemon=True)
        last.start()
        last.join(_LAST_EXPORT_SECONDS)
        if last.is_alive():
            _logger.warning(
                "tollspan's last spans were not exported within %d seconds; their events are kept",
                _LAST_EXPORT_SECONDS,
            )

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


def _private_provider() -> TracerProvider:
    """Set up a provider by the standard variables, for our spans alone."""
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - 60 ms, only when wanted
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SimpleSpanProcessor,
    )

    provider = TracerProvider(shutdown_on_exit=False)
    for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(","):
        make = _exporter(name.strip().lower())
        if make is None:
            continue
        exporter = make()
        provider.add_span_processor(
            SimpleSpanProcessor(exporter)
            if isinstance(exporter, ConsoleSpanExporter)
            else BatchSpanProcessor(exporter)
        )
    return provider


def _exporter(name: str) -> Callable[[], SpanExporter] | None:
    """Find an exporter by the name that `OTEL_TRACES_EXPORTER` uses."""
    if name in ("", "none"):
        return None
    if name == "otlp":
        protocol = (
            os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
            or "grpc"
        ).strip()
        if protocol not in _OTLP_EXPORTERS:
            _logger.error("OTEL_EXPORTER_OTLP_PROTOCOL is %r: tollspan exports no spans", protocol)
            return None
        name = _OTLP_EXPORTERS[protocol]
    for found in entry_points(group="opentelemetry_traces_exporter", name=name):
        loaded: Callable[[], SpanExporter] = found.load()
        return loaded
    _logger.error("OTEL_TRACES_EXPORTER names %r, which is not installed", name)
    return None
