"""Private pipelines by OpenTelemetry's standard variables: their exporters and bounded end."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any, Literal, Protocol

SCOPE = "tollspan"
Signal = Literal["traces", "metrics", "logs"]
_OTLP_EXPORTERS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_LAST_EXPORT_SECONDS = 3.0
_logger = logging.getLogger("tollspan.launch")


class Provider(Protocol):
    """A provider of OpenTelemetry's SDK, as far as its end goes."""

    def shutdown(self) -> object:
        """Export what there is, and end."""
        ...


def exporters(signal: Signal) -> Iterator[Callable[[], Any]]:
    """Find the exporters that `OTEL_*_EXPORTER` names; what can't be found is logged."""
    for name in (os.environ.get(f"OTEL_{signal.upper()}_EXPORTER") or "otlp").split(","):
        make = _exporter(signal, name.strip().lower())
        if make is not None:
            yield make


def shut_down(*providers: Provider | None) -> None:
    """Export what private providers still have, side by side for a bounded time, and end them."""
    ends = [
        threading.Thread(target=one.shutdown, name="tollspan-export", daemon=True)
        for one in providers
        if one is not None
    ]
    for end in ends:
        end.start()
    give_up_at = time.monotonic() + _LAST_EXPORT_SECONDS
    for end in ends:
        end.join(max(0.0, give_up_at - time.monotonic()))
    if any(end.is_alive() for end in ends):
        _logger.warning(
            "tollspan's last spans were not exported within %d seconds; their events are kept",
            _LAST_EXPORT_SECONDS,
        )


def _exporter(signal: Signal, name: str) -> Callable[[], Any] | None:
    """Find an exporter by the name that `OTEL_*_EXPORTER` uses."""
    if name in ("", "none"):
        return None
    if name == "otlp":
        protocol = (
            os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
            or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
            or "grpc"
        ).strip()
        if protocol not in _OTLP_EXPORTERS:
            _logger.error(
                "OTEL_EXPORTER_OTLP_PROTOCOL is %r: tollspan exports no %s", protocol, signal
            )
            return None
        name = _OTLP_EXPORTERS[protocol]
    for found in entry_points(group=f"opentelemetry_{signal}_exporter", name=name):
        loaded: Callable[[], Any] = found.load()
        return loaded
    _logger.error("OTEL_%s_EXPORTER names %r, which is not installed", signal.upper(), name)
    return None
