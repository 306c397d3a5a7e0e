"""Decides before a call and settles after it. No OpenTelemetry, no I/O: authorities are ports."""

from .assigning import EVERYBODY_ELSE, Assignments, window_of
from .checking import Problem, find_problems
from .closing import Closer, Rates
from .document import (
    BUDGET_KEYS,
    DEFAULTS_KEYS,
    DOCUMENT_KEYS,
    parse_rules,
    read_rules,
)
from .document_limits import NO_OWN_UNITS, OWN_UNIT, UNIT_WORDS, parse_amount
from .document_plans import ASSIGN_KEYS, PLAN_KEYS, PLAN_NAME
from .document_windows import WINDOW_KEYS
from .explaining import Matching, Seen, matchings
from .gate import Bounds, BudgetGate
from .headroom import Headroom, headroom_of, most_output, tightest
from .leased import LeasedLedger
from .leases import (
    LIMIT_SHARE,
    ROOM_SHARE,
    GivenBack,
    Grant,
    Lease,
    LeaseLostError,
    LeaseSettings,
    Lessor,
    Settlement,
    SharedAuthority,
    Unresolved,
    Want,
    size,
)
from .limits import Limits
from .looking import Looking
from .memory import MemoryLedger
from .plans import account_of, read_scope
from .policies import OnViolation, Policy
from .policy_document import POLICY_KEYS, POLICY_RULES
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
from .replaying import OTHERS, By, Outlook, Replay, Scope, Verdicts
from .rules import OWNERS, SUBJECTS, Assignment, Budget, Condition, OnExceed, OwnLimit, RuleSet
from .said_limits import parse_limit
from .shared_memory import MemoryAuthority
from .values import REPORT, Account, Balance, Decision, Hold, Leg, Refusal
from .warnings import BudgetWarning, Milestones, Standing, Warner, WarningReason
from .windows import (
    ANCHORED,
    EVERY,
    FOREVER_UNIX_NS,
    LIFETIME,
    TRACE,
    Every,
    Window,
    begins_at,
    end_of,
    ends_at,
    period,
)

__all__ = [
    "ANCHORED",
    "ASSIGN_KEYS",
    "BUDGET_KEYS",
    "BUSY",
    "DEFAULTS_KEYS",
    "DOCUMENT_KEYS",
    "EVERY",
    "EVERYBODY_ELSE",
    "FOREVER_UNIX_NS",
    "LIFETIME",
    "LIMIT_SHARE",
    "NO_OWN_UNITS",
    "OTHERS",
    "OWNERS",
    "OWN_UNIT",
    "PLAN_KEYS",
    "PLAN_NAME",
    "POLICY_KEYS",
    "POLICY_RULES",
    "REPORT",
    "ROOM_SHARE",
    "SUBJECTS",
    "TRACE",
    "UNIT_WORDS",
    "WINDOW_KEYS",
    "Account",
    "Assignment",
    "Assignments",
    "Authority",
    "Balance",
    "Books",
    "Bounds",
    "Budget",
    "BudgetGate",
    "BudgetWarning",
    "Busy",
    "By",
    "CallSink",
    "Closer",
    "Closing",
    "Condition",
    "Decision",
    "Every",
    "Gate",
    "GivenBack",
    "Grant",
    "Headroom",
    "Hold",
    "Lease",
    "LeaseLostError",
    "LeaseSettings",
    "LeasedLedger",
    "Leg",
    "Lessor",
    "Limits",
    "Looking",
    "Matching",
    "MemoryAuthority",
    "MemoryLedger",
    "Milestones",
    "OnExceed",
    "OnUnavailable",
    "OnUnbounded",
    "OnUnboundedInput",
    "OnUnpriced",
    "OnViolation",
    "Outlook",
    "OwnLimit",
    "Policy",
    "Problem",
    "Rates",
    "Refusal",
    "Replay",
    "RuleSet",
    "Scope",
    "Seen",
    "Settlement",
    "SharedAuthority",
    "Standing",
    "Unresolved",
    "Verdicts",
    "Want",
    "Warner",
    "WarningReason",
    "Window",
    "account_of",
    "begins_at",
    "end_of",
    "ends_at",
    "find_problems",
    "headroom_of",
    "is_asyncio",
    "matchings",
    "most_output",
    "parse_amount",
    "parse_limit",
    "parse_rules",
    "period",
    "read_rules",
    "read_scope",
    "size",
    "tightest",
    "window_of",
]
