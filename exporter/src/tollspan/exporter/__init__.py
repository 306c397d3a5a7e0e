"""Turns spans into priced usage events. OpenTelemetry's SDK is loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._books import Books

if TYPE_CHECKING:
    from ._spans import UsageEventExporter

__all__ = ["Books", "UsageEventExporter"]


def __getattr__(name: str) -> object:
    if name != "UsageEventExporter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = import_module(f"{__name__}._spans").UsageEventExporter
    globals()[name] = value
    return value
