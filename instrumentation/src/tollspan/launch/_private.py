"""The tracer provider of our spans alone: where the program sets up none and traces are wanted.

It is made by `OTEL_CONFIG_FILE`, else by `OTEL_TRACES_EXPORTER` and its kin.
"""

from __future__ import annotations

import atexit
import logging
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._exporters import exporters

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_logger = logging.getLogger("tollspan.launch")


def private_provider() -> TracerProvider | None:
    """Set a provider up; None when the configuration switches the SDK off."""
    path = os.environ.get("OTEL_CONFIG_FILE")
    return _by_variables() if not path else _by_file(path)


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
    atexit.unregister(provider.shutdown)  # `shut_down` waits for a bounded time only
    return provider


def _by_variables() -> TracerProvider:
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - 60 ms, only when wanted
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SimpleSpanProcessor,
    )

    provider = TracerProvider(shutdown_on_exit=False)
    for make in exporters("traces"):
        exporter = make()
        provider.add_span_processor(
            SimpleSpanProcessor(exporter)
            if isinstance(exporter, ConsoleSpanExporter)
            else BatchSpanProcessor(exporter)
        )
    return provider
