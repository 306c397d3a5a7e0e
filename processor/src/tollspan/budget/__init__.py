"""Decides before a call and settles after it. No OpenTelemetry, no I/O: authorities are ports."""

from .closing import Closer, Rates
from .document import parse_rules, read_rules
from .gate import Bounds, BudgetGate
from .memory import MemoryLedger
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
    OnUnpriced,
)
from .rules import Budget, RuleSet
from .values import Account, Balance, Decision, Hold, Leg, Refusal
from .windows import FOREVER_UNIX_NS, WINDOWS, Window, ends_at, period

__all__ = [
    "BUSY",
    "FOREVER_UNIX_NS",
    "WINDOWS",
    "Account",
    "Authority",
    "Balance",
    "Books",
    "Bounds",
    "Budget",
    "BudgetGate",
    "Busy",
    "CallSink",
    "Closer",
    "Closing",
    "Decision",
    "Gate",
    "Hold",
    "Leg",
    "MemoryLedger",
    "OnUnavailable",
    "OnUnbounded",
    "OnUnpriced",
    "Rates",
    "Refusal",
    "RuleSet",
    "Window",
    "ends_at",
    "parse_rules",
    "period",
    "read_rules",
]
