"""Starts tollspan: every way in ends in one idempotent `install`."""

from __future__ import annotations

from tollspan.instrumentation import LISTENERS

from ._auto import auto_launch_problem
from ._install import SDKS, Installed, install, install_or_raise, uninstall
from ._instrumentors import AnthropicInstrumentor, MCPInstrumentor, OpenAIInstrumentor
from ._prices import PINNED_BOOK, UPDATED_BOOK, book_in_force, load_prices
from ._run import check_or_raise, run_program
from ._settings import SETTINGS, Setting, Settings, read_settings

__all__ = [
    "PINNED_BOOK",
    "SDKS",
    "SETTINGS",
    "UPDATED_BOOK",
    "AnthropicInstrumentor",
    "Installed",
    "MCPInstrumentor",
    "OpenAIInstrumentor",
    "Setting",
    "Settings",
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
