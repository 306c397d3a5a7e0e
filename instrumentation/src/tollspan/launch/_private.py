"""The tracer provider of our spans alone: where the program sets up none and traces are wanted.

It is made by `OTEL_CONFIG_FILE`, else by `OTEL_TRACES_EXPORTER` and its kin.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_OTLP_EXPORTERS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_LAST_EXPORT_SECONDS = 3.0
_logger = logging.getLogger("tollspan.launch")


def private_provider() -> TracerProvider | None:
    """Set a provider up; None when the configuration switches the SDK off."""
    path = os.environ.get("OTEL_CONFIG_FILE")
    return _by_variables() if not path else _by_file(path)


def close_provider(provider: TracerProvider) -> None:
    """Export what it still has, for a bounded time, and end it."""
    last = threading.Thread(target=provider.shutdown, name="tollspan-export", daemon=True)
    last.start()
    last.join(_LAST_EXPORT_SECONDS)
    if last.is_alive():
        _logger.warning(
            "tollspan's last spans were not exported within %d seconds; their events are kept",
            _LAST_EXPORT_SECONDS,
        )


def _by_file(path: str) -> TracerProvider | None:
    try:
        # The two inner modules set up nothing that is global; the public `configure_sdk` does.
        configuration: Any = import_module("opentelemetry.configuration")
        resources: Any = import_module("opentelemetry.configuration._resource")
        providers: Any = import_module("opentelemetry.configuration._tracer_provider")
    except ImportError as error:
        _logger.error(  # noqa: TRY400 - no bug
            "OTEL_CONFIG_FILE needs the package opentelemetry-configuration (%s): "
            "tollspan exports no spans",
            error,
        )
        return None
    try:
        config = configuration.load_config_file(path)
        if config.disabled or config.tracer_provider is None:
            return None
        provider: TracerProvider = providers.create_tracer_provider(
            config.tracer_provider,
            resources.create_resource(config.resource),
            config.attribute_limits,
        )
    except configuration.ConfigurationError as error:
        _logger.error("OTEL_CONFIG_FILE can't be used, tollspan exports no spans: %s", error)  # noqa: TRY400
        return None
    atexit.unregister(provider.shutdown)  # `close_provider` waits for a bounded time only
    return provider


def _by_variables() -> TracerProvider:
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
