"""The `tollspan` command: runs programs, and shows what they spent."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._main import main, make_parser

if TYPE_CHECKING:
    from ._checks import CHECK_IDS
    from ._schemas import config_schema, event_schema

__all__ = ["CHECK_IDS", "config_schema", "event_schema", "main", "make_parser"]

_LAZY = {"CHECK_IDS": "_checks", "config_schema": "_schemas", "event_schema": "_schemas"}


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{module}", __name__), name)
    return value
