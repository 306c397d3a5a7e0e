"""Which tracer the spans of calls go to, whoever sets it up and whenever.

A provider that was handed to `install` or to an instrumentor is used first, then the program's own
as soon as there is one. Without one, and when the standard `OTEL_*` settings ask for traces, a
private provider exports ours: it is never set as the global one, so a program that sets its own
later is not in our way, nor are we in its.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry import trace

from tollspan import semconv
from tollspan.safety import Guard

from ._exporters import SCOPE
from ._private import private_provider

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


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

    def always(self, provider: trace.TracerProvider) -> Callable[[], trace.Tracer]:
        """Return what chooses the tracer of one provider, whatever else there is."""
        tracer = self._get(provider)
        self._on_change()
        return lambda: tracer

    def prepare(self) -> None:
        """Make the private provider now, if it is wanted, rather than in the first call."""
        if self._wants_tracing and _is_proxy(trace.get_tracer_provider()):
            with self._guard:
                provider = self._private_provider = private_provider()
                if provider is not None:
                    self._private = self._get(provider)

    def give_up(self) -> TracerProvider | None:
        """Let go of the private provider, so that it can be shut down; None without one."""
        provider, self._private_provider = self._private_provider, None
        return provider

    def _choose(self, provider: trace.TracerProvider) -> trace.Tracer | None:
        if not _is_proxy(provider):
            return self._get(provider)
        return self._private

    def _get(self, provider: trace.TracerProvider) -> trace.Tracer:
        return provider.get_tracer(SCOPE, self._version, schema_url=semconv.SCHEMA_URL)


def _is_proxy(provider: trace.TracerProvider) -> bool:
    return isinstance(provider, trace.ProxyTracerProvider)
