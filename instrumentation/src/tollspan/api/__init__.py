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
    from tollspan.launch import AnthropicInstrumentor, OpenAIInstrumentor, install, uninstall

__all__ = [
    "AnthropicInstrumentor",
    "BudgetExceededError",
    "CallDeniedError",
    "ConfigError",
    "GateUnavailableError",
    "LedgerError",
    "OpenAIInstrumentor",
    "TollspanError",
    "UnboundedCallError",
    "UnpricedModelError",
    "install",
    "uninstall",
]

_LAZY = {
    "AnthropicInstrumentor": "tollspan.launch",
    "OpenAIInstrumentor": "tollspan.launch",
    "install": "tollspan.launch",
    "uninstall": "tollspan.launch",
}


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(module), name)
    globals()[name] = value
    return value
