"""Everything that a program may call. Importing an exception from here loads no SDK."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tollspan.usage import (
    AttributionError,
    BudgetExceededError,
    CallDeniedError,
    ConfigError,
    GateUnavailableError,
    LedgerError,
    LoopDetectedError,
    NotInstalledError,
    PolicyViolationError,
    SessionLimitExceededError,
    TagBudgetExceededError,
    TollspanError,
    UnboundedCallError,
    UnpricedModelError,
    VelocityExceededError,
    sign_webhook,
    verify_webhook,
)

if TYPE_CHECKING:
    from tollspan.attribution import argument, attribution, bind, finishing
    from tollspan.budget import (
        BudgetWarning,
        Headroom,
        OverrunWarning,
        PolicyWarning,
        UnresolvedWarning,
    )
    from tollspan.instrumentation.tools import report_usage, tool
    from tollspan.launch import (
        AnthropicInstrumentor,
        BudgetBlock,
        BudgetSpanProcessor,
        CallDecision,
        Check,
        OpenAIInstrumentor,
        PendingJob,
        UsageEventExporter,
        budget,
        decision_of,
        gate,
        install,
        is_within_limit,
        jobs,
        max_tokens,
        on_deny,
        on_usage,
        on_warn,
        remaining,
        remove_callback,
        uninstall,
    )

__all__ = [
    "AnthropicInstrumentor",
    "AttributionError",
    "BudgetBlock",
    "BudgetExceededError",
    "BudgetSpanProcessor",
    "BudgetWarning",
    "CallDecision",
    "CallDeniedError",
    "Check",
    "ConfigError",
    "GateUnavailableError",
    "Headroom",
    "LedgerError",
    "LoopDetectedError",
    "NotInstalledError",
    "OpenAIInstrumentor",
    "OverrunWarning",
    "PendingJob",
    "PolicyViolationError",
    "PolicyWarning",
    "SessionLimitExceededError",
    "TagBudgetExceededError",
    "TollspanError",
    "UnboundedCallError",
    "UnpricedModelError",
    "UnresolvedWarning",
    "UsageEventExporter",
    "VelocityExceededError",
    "argument",
    "attribution",
    "bind",
    "budget",
    "decision_of",
    "finishing",
    "gate",
    "install",
    "is_within_limit",
    "jobs",
    "max_tokens",
    "on_deny",
    "on_usage",
    "on_warn",
    "remaining",
    "remove_callback",
    "report_usage",
    "sign_webhook",
    "tool",
    "uninstall",
    "verify_webhook",
]

_LAZY = {
    "BudgetBlock": "tollspan.launch",
    "Check": "tollspan.launch",
    "Headroom": "tollspan.budget",
    "budget": "tollspan.launch",
    "gate": "tollspan.launch",
    "is_within_limit": "tollspan.launch",
    "jobs": "tollspan.launch",
    "PendingJob": "tollspan.launch",
    "max_tokens": "tollspan.launch",
    "remaining": "tollspan.launch",
    "BudgetSpanProcessor": "tollspan.launch",
    "UsageEventExporter": "tollspan.launch",
    "BudgetWarning": "tollspan.budget",
    "CallDecision": "tollspan.launch",
    "decision_of": "tollspan.launch",
    "OverrunWarning": "tollspan.budget",
    "PolicyWarning": "tollspan.budget",
    "UnresolvedWarning": "tollspan.budget",
    "on_deny": "tollspan.launch",
    "on_usage": "tollspan.launch",
    "on_warn": "tollspan.launch",
    "remove_callback": "tollspan.launch",
    "argument": "tollspan.attribution",
    "attribution": "tollspan.attribution",
    "bind": "tollspan.attribution",
    "finishing": "tollspan.attribution",
    "install": "tollspan.launch",
    "report_usage": "tollspan.instrumentation.tools",
    "tool": "tollspan.instrumentation.tools",
    "AnthropicInstrumentor": "tollspan.launch",
    "OpenAIInstrumentor": "tollspan.launch",
    "uninstall": "tollspan.launch",
}


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(module), name)
    globals()[name] = value
    return value
