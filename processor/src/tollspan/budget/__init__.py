"""Decides before a call and settles after it. No OpenTelemetry, no I/O: authorities are ports."""

from .closing import Closer, Rates
from .document import (
    BUDGET_KEYS,
    DEFAULTS_KEYS,
    DOCUMENT_KEYS,
    WINDOW_KEYS,
    parse_rules,
    read_rules,
)
from .gate import Bounds, BudgetGate
from .memory import MemoryLedger
from .plans import read_scope
from .ports import (
    BUSY,
    Authority,
    Books,
    Busy,
    CallSink,
    Closing,
    Gate,
    OnUnavailable,
    OnUnbounded,
    OnUnboundedInput,
    OnUnpriced,
    is_asyncio,
)
from .rules import OWNERS, SUBJECTS, Budget, Condition, OnExceed, RuleSet
from .values import Account, Balance, Decision, Hold, Leg, Refusal
from .warnings import BudgetWarning, Milestones, Warner, WarningReason
from .windows import EVERY, FOREVER_UNIX_NS, LIFETIME, Every, Window, ends_at, period

__all__ = [
    "BUDGET_KEYS",
    "BUSY",
    "DEFAULTS_KEYS",
    "DOCUMENT_KEYS",
    "EVERY",
    "FOREVER_UNIX_NS",
    "LIFETIME",
    "OWNERS",
    "SUBJECTS",
    "WINDOW_KEYS",
    "Account",
    "Authority",
    "Balance",
    "Books",
    "Bounds",
    "Budget",
    "BudgetGate",
    "BudgetWarning",
    "Busy",
    "CallSink",
    "Closer",
    "Closing",
    "Condition",
    "Decision",
    "Every",
    "Gate",
    "Hold",
    "Leg",
    "MemoryLedger",
    "Milestones",
    "OnExceed",
    "OnUnavailable",
    "OnUnbounded",
    "OnUnboundedInput",
    "OnUnpriced",
    "Rates",
    "Refusal",
    "RuleSet",
    "Warner",
    "WarningReason",
    "Window",
    "ends_at",
    "is_asyncio",
    "parse_rules",
    "period",
    "read_rules",
    "read_scope",
]
