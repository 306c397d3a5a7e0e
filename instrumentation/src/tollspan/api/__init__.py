"""Everything that a program may call. Importing an exception from here loads no SDK."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tollspan.usage import (
    BudgetExceededError,
    CallDeniedError,
    ConfigError,
    GateUnavailableError,
    LedgerError,
    TollspanError,
    UnboundedCallError,
    UnpricedModelError,
)

if TYPE_CHECKING:
    from tollspan.instrumentation.tools import report_usage, tool
    from tollspan.launch import install, uninstall

__all__ = [
    "BudgetExceededError",
    "CallDeniedError",
    "ConfigError",
    "GateUnavailableError",
    "LedgerError",
    "TollspanError",
    "UnboundedCallError",
    "UnpricedModelError",
    "install",
    "report_usage",
    "tool",
    "uninstall",
]

_LAZY = {
    "install": "tollspan.launch",
    "report_usage": "tollspan.instrumentation.tools",
    "tool": "tollspan.instrumentation.tools",
    "uninstall": "tollspan.launch",
}


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(module), name)
    globals()[name] = value
    return value
