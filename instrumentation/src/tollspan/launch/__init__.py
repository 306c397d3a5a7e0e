"""Starts tollspan: every way in ends in one idempotent `install`.

Names are loaded when they are first used: who only reads settings pays for no OpenTelemetry.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._settings import Settings, read_home, read_settings
from ._settings_table import SETTINGS, Setting

if TYPE_CHECKING:
    from ._asking import Check, GateInCode, gate, is_within_limit, max_tokens, remaining
    from ._auto import auto_launch_problem
    from ._blocks import BudgetBlock, budget
    from ._callbacks import on_deny, on_usage, on_warn, remove_callback
    from ._decisions import CallDecision, decision_of
    from ._install import SDKS, Installed, install, install_or_raise, uninstall
    from ._instrumentors import AnthropicInstrumentor, MCPInstrumentor, OpenAIInstrumentor
    from ._jobs import JobsInCode, PendingJob, jobs
    from ._pipeline import BudgetSpanProcessor, UsageEventExporter
    from ._prices import PINNED_BOOK, UPDATED_BOOK, book_in_force, load_prices
    from ._rules import (
        fetcher_of,
        ledger_home_in_force,
        refresh_rules,
        settings_in_force,
        with_rules,
    )
    from ._run import check_or_raise, run_program
    from ._shipping import shipper_of

__all__ = [
    "PINNED_BOOK",
    "SDKS",
    "SETTINGS",
    "UPDATED_BOOK",
    "AnthropicInstrumentor",
    "BudgetBlock",
    "BudgetSpanProcessor",
    "CallDecision",
    "Check",
    "GateInCode",
    "Installed",
    "JobsInCode",
    "MCPInstrumentor",
    "OpenAIInstrumentor",
    "PendingJob",
    "Setting",
    "Settings",
    "UsageEventExporter",
    "auto_launch_problem",
    "book_in_force",
    "budget",
    "check_or_raise",
    "decision_of",
    "fetcher_of",
    "gate",
    "install",
    "install_or_raise",
    "is_within_limit",
    "jobs",
    "ledger_home_in_force",
    "load_prices",
    "max_tokens",
    "on_deny",
    "on_usage",
    "on_warn",
    "read_home",
    "read_settings",
    "refresh_rules",
    "remaining",
    "remove_callback",
    "run_program",
    "settings_in_force",
    "shipper_of",
    "uninstall",
    "with_rules",
]

_MODULES = {
    "_asking": (
        "Check",
        "GateInCode",
        "gate",
        "is_within_limit",
        "max_tokens",
        "remaining",
    ),
    "_auto": ("auto_launch_problem",),
    "_blocks": ("BudgetBlock", "budget"),
    "_callbacks": ("on_deny", "on_usage", "on_warn", "remove_callback"),
    "_decisions": ("CallDecision", "decision_of"),
    "_install": ("SDKS", "Installed", "install", "install_or_raise", "uninstall"),
    "_instrumentors": ("AnthropicInstrumentor", "MCPInstrumentor", "OpenAIInstrumentor"),
    "_jobs": ("JobsInCode", "PendingJob", "jobs"),
    "_pipeline": ("BudgetSpanProcessor", "UsageEventExporter"),
    "_prices": ("PINNED_BOOK", "UPDATED_BOOK", "book_in_force", "load_prices"),
    "_rules": (
        "fetcher_of",
        "ledger_home_in_force",
        "refresh_rules",
        "settings_in_force",
        "with_rules",
    ),
    "_run": ("check_or_raise", "run_program"),
    "_shipping": ("shipper_of",),
}
_LAZY = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value
