"""Which meter and logger the metrics and decisions of calls go to; as with spans, see `_tracing`.

Both are asked for once before the first call, to set up what is private: the SDK can't do that any
more when the interpreter ends. After that the worker alone asks.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Generic, TypeVar

from opentelemetry import _logs, metrics

from tollspan import semconv
from tollspan.safety import Guard

from ._exporters import SCOPE, Provider, exporters

_is_forked = threading.Event()
Source = TypeVar("Source", metrics.Meter, _logs.Logger)


class Chooser(Generic[Source]):
    """Returns the meter or logger in force, None while nobody collects.

    Args:
        current: Returns the program's provider, or OpenTelemetry's stand-in for it.
        get: Returns our meter or logger of a provider.
        private: Sets up a provider for us alone, where the program has none; None not to.
        on_change: Called when the program has set a provider.
    """

    def __init__(
        self,
        *,
        current: Callable[[], Any],
        get: Callable[[Any], Source],
        private: Callable[[], Provider] | None,
        on_change: Callable[[], None],
    ) -> None:
        self._current = current
        self._get: Callable[[Any], Source] = get
        self._make_private = private
        self._on_change = on_change
        self._provider: object = None
        self._source: Source | None = None
        self._private: Provider | None = None
        self._choosing = threading.Lock()
        self._guard = Guard("launch.metering")

    def __call__(self) -> Source | None:
        """Return what is in force."""
        provider = self._current()
        if provider is not self._provider:
            with self._choosing:
                if provider is not self._provider:
                    self._source = None
                    with self._guard:
                        self._choose(provider)
                    self._provider = provider
        return self._source

    def always(self, provider: Any) -> None:
        """Use this provider from now on, whatever else there is."""
        self._current = lambda: provider

    def give_up(self) -> Provider | None:
        """Let go of the private provider, so that it can be shut down; None without one."""
        provider, self._private = self._private, None
        return provider

    def forget(self) -> None:
        """Start anew in a forked child: what the parent counted is the parent's to export."""
        self._private = self._provider = self._source = None
        self._choosing = threading.Lock()
        _is_forked.set()

    def _choose(self, provider: Any) -> None:
        if not _is_stand_in(provider):
            self._source = self._get(provider)
            self._on_change()
            private = self.give_up()
            if private is not None:  # the program's own provider came late
                threading.Thread(
                    target=private.shutdown, name="tollspan-export", daemon=True
                ).start()
        elif self._make_private is not None:
            try:
                self._private = self._make_private()
            except RuntimeError:
                if threading.main_thread().is_alive():
                    raise
                return  # the interpreter ends: what is made here needs threads, and none start
            self._source = self._get(self._private)


def meters(*, is_wanted: bool, on_change: Callable[[], None]) -> Chooser[metrics.Meter]:
    """Return what chooses the meter."""
    return Chooser(
        current=metrics.get_meter_provider,
        get=lambda provider: provider.get_meter(
            SCOPE, version("tollspan"), schema_url=semconv.SCHEMA_URL
        ),
        private=_private_meters if is_wanted else None,
        on_change=on_change,
    )


def loggers(*, is_wanted: bool, on_change: Callable[[], None]) -> Chooser[_logs.Logger]:
    """Return what chooses the logger."""
    return Chooser(
        current=_logs.get_logger_provider,
        get=lambda provider: provider.get_logger(
            SCOPE, version("tollspan"), schema_url=semconv.SCHEMA_URL
        ),
        private=_private_loggers if is_wanted else None,
        on_change=on_change,
    )


def _is_stand_in(provider: object) -> bool:
    """Say whether it is what OpenTelemetry puts in a provider's place; its classes are private."""
    return type(provider).__name__ in ("_ProxyMeterProvider", "ProxyLoggerProvider")


def _private_meters() -> Provider:
    """Set up a provider by the standard variables, for our metrics alone."""
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - only when wanted
    from opentelemetry.sdk.metrics.export import (  # noqa: PLC0415
        MetricReader,
        PeriodicExportingMetricReader,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    readers: list[MetricReader] = []
    for make in exporters("metrics"):
        exporter = make()
        if isinstance(exporter, MetricReader):
            readers.append(exporter)
        else:
            readers.append(PeriodicExportingMetricReader(_of_this_process(exporter)))
    resource = Resource.create()
    if _is_forked.is_set() or semconv.SERVICE_INSTANCE_ID not in resource.attributes:
        # Sums of several processes under one name would take each other's place.
        own = Resource({semconv.SERVICE_INSTANCE_ID: str(uuid.uuid4())})
        resource = resource.merge(own)
    return MeterProvider(readers, resource=resource, shutdown_on_exit=False)


def _of_this_process(exporter: Any) -> Any:
    """Have an exporter send nothing in a forked child: it has the parent's sums in it."""
    from opentelemetry.sdk.metrics.export import MetricExportResult  # noqa: PLC0415

    pid, export = os.getpid(), exporter.export

    def export_here(*args: Any, **kwargs: Any) -> Any:
        if os.getpid() != pid:
            return MetricExportResult.SUCCESS
        return export(*args, **kwargs)

    exporter.export = export_here
    return exporter


def _private_loggers() -> Provider:
    """Set up a provider by the standard variables, for our log events alone."""
    from opentelemetry.sdk._logs import LoggerProvider  # noqa: PLC0415 - only when wanted
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor  # noqa: PLC0415

    provider = LoggerProvider(shutdown_on_exit=False)
    for make in exporters("logs"):
        provider.add_log_record_processor(BatchLogRecordProcessor(make()))
    return provider
