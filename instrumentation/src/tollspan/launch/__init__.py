"""Starts tollspan: every way in ends in one idempotent `install`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tollspan.instrumentation import LISTENERS

from ._auto import auto_launch_problem
from ._install import SDKS, Installed, install, install_or_raise, uninstall
from ._instrumentors import AnthropicInstrumentor, MCPInstrumentor, OpenAIInstrumentor
from ._prices import PINNED_BOOK, UPDATED_BOOK, book_in_force, load_prices
from ._run import check_or_raise, run_program
from ._settings import SETTINGS, Setting, Settings, read_settings

if TYPE_CHECKING:
    from ._pipeline import BudgetSpanProcessor, UsageEventExporter

__all__ = [
    "PINNED_BOOK",
    "SDKS",
    "SETTINGS",
    "UPDATED_BOOK",
    "AnthropicInstrumentor",
    "BudgetSpanProcessor",
    "Installed",
    "MCPInstrumentor",
    "OpenAIInstrumentor",
    "Setting",
    "Settings",
    "UsageEventExporter",
    "auto_launch_problem",
    "book_in_force",
    "check_or_raise",
    "install",
    "install_or_raise",
    "load_prices",
    "on_deny",
    "on_usage",
    "on_warn",
    "read_settings",
    "remove_callback",
    "run_program",
    "uninstall",
]


on_usage = LISTENERS.on_usage
on_deny = LISTENERS.on_deny
on_warn = LISTENERS.on_warn
remove_callback = LISTENERS.remove


def __getattr__(name: str) -> object:
    """Load what needs OpenTelemetry's SDK when it is asked for."""
    if name not in ("BudgetSpanProcessor", "UsageEventExporter"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}._pipeline"), name)
    globals()[name] = value
    return value
