"""The door for spans that others make: asks the gate when they start, accounts when they end.

What needs OpenTelemetry's SDK is loaded when it is asked for: a program without it pays nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._door import Door, Held, Recent, Started

if TYPE_CHECKING:
    from ._processor import BudgetSpanProcessor
    from ._sampler import KeepingSampler, attach

__all__ = [
    "BudgetSpanProcessor",
    "Door",
    "Held",
    "KeepingSampler",
    "Recent",
    "Started",
    "attach",
]
_LAZY = {
    "BudgetSpanProcessor": "_processor",
    "KeepingSampler": "_sampler",
    "attach": "_sampler",
}


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
