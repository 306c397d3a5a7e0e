"""Every exception of ours, in one tree.

```
TollspanError
├── ConfigError              a document or setting is wrong; names the file, line and key
│   ├── AttributionError         a value of who pays is wrong; a `ValueError` too
│   └── NotInstalledError        budgets are asked for in a process in which nothing is gated
├── PriceBookError           a price book can't be read or has been altered
├── LedgerError              the ledger can't do what was asked
│   ├── LedgerUnavailableError   disk full, read-only, locked too long: it may work later
│   └── LedgerCorruptError       the file is damaged: rebuild it
└── CallDeniedError          the one family that may reach a user's call
    ├── BudgetExceededError      a budget would be overspent
    │   ├── VelocityExceededError    … one whose owner then has to cool down
    │   ├── SessionLimitExceededError    … one that is divided by session
    │   └── TagBudgetExceededError       … one that is divided or chosen by a tag
    ├── PolicyViolationError     a policy lets no such call through
    ├── LoopDetectedError        there were too many calls like it
    ├── UnboundedCallError       no upper bound, and the rules refuse that
    ├── UnpricedModelError       no price, and the rules refuse that
    └── GateUnavailableError     the budgets can't be read, and `on_unavailable` denies
```
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

import msgspec

from .units import BudgetUnit

DenialSource = Literal["precall", "ingest_flag", "foreign_span"]


class TollspanError(Exception):
    """Base of every exception that tollspan raises."""


class ConfigError(TollspanError):
    """A document or a setting is wrong; the text names the place and the fix."""


class AttributionError(ConfigError, ValueError):
    """A value of who pays is wrong; the text names the dimension and the fix."""


class NotInstalledError(ConfigError):
    """Nothing gates the calls of this process: call `install()`, or start it by `tollspan run`."""


class PriceBookError(TollspanError):
    """A price book can't be read, or its content does not match its hash."""


class LedgerError(TollspanError):
    """The ledger can't do what was asked."""


class LedgerUnavailableError(LedgerError):
    """The ledger can't be read or written now: disk full, read-only, or locked for too long.

    Attributes:
        reason: What is told to those who ask over a network; nothing of where the ledger is.
    """

    reason = "the ledger does not answer now"


class LedgerCorruptError(LedgerError):
    """The ledger's file is damaged; `tollspan ledger rebuild` makes it anew from its events."""


class Recovery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a program that was denied may do about it."""

    retryable: bool = False
    retry_after_seconds: float | None = None
    owner_action_required: bool = True
    docs: str = "docs/reference/denials.md"


class CallDeniedError(TollspanError):
    """A call was refused before it was made; the provider was never asked.

    Attributes:
        rule_id: Id of the rule that refused.
        scope: Whose account it was: `()` for an undivided budget, else (dimension, value) pairs.
        unit: What the budget counts: `usd` (then all amounts are nano-USD), `seconds` (then they
            are milliseconds), `tokens`, `calls`, `web_searches`, ….
        limit, spent, held, asked: The account, and what the call would have held, in the unit.
            `held` includes what is unresolved. None where no budget is involved.
        period: The key of the window that is used up, `2026-11` or `2026-11-14/2026-12-14` say;
            `""` for a lifetime, None where no budget is involved.
        resets_at: When the window ends, aware UTC; None when it never does.
        message, upgrade_url: As the rule says them.
        source: Where it was refused.
        recovery: What can be done.
        call_id: The call that was refused: the id of its event, without `.d0`.
    """

    error_type: ClassVar[str] = "tollspan.denied"

    def __init__(  # noqa: PLR0913 - the fields of a denial, all by keyword
        self,
        text: str,
        *,
        rule_id: str | None = None,
        scope: tuple[tuple[str, str | None], ...] = (),
        unit: BudgetUnit = "usd",
        limit: int | None = None,
        spent: int | None = None,
        held: int | None = None,
        asked: int | None = None,
        period: str | None = None,
        resets_at: datetime | None = None,
        message: str | None = None,
        upgrade_url: str | None = None,
        source: DenialSource = "precall",
        recovery: Recovery | None = None,
        call_id: str | None = None,
    ) -> None:
        super().__init__(text)
        self.rule_id = rule_id
        self.scope = scope
        self.unit: BudgetUnit = unit
        self.limit = limit
        self.spent = spent
        self.held = held
        self.asked = asked
        self.period = period
        self.resets_at = resets_at
        self.message = message
        self.upgrade_url = upgrade_url
        self.source: DenialSource = source
        self.recovery = recovery or Recovery()
        self.call_id = call_id

    @property
    def remaining(self) -> int | None:
        """What was left in the account, never below 0; None where no budget is involved."""
        if self.limit is None:
            return None
        return max(0, self.limit - (self.spent or 0) - (self.held or 0))


class BudgetExceededError(CallDeniedError):
    """A budget would be overspent if the call cost as much as it can."""

    error_type = "tollspan.budget_exceeded"


class VelocityExceededError(BudgetExceededError):
    """The owner of a budget was too fast, and is refused until he has cooled down."""

    error_type = "tollspan.velocity_exceeded"


class SessionLimitExceededError(BudgetExceededError):
    """The budget of this session would be overspent."""

    error_type = "tollspan.session_limit_exceeded"


class TagBudgetExceededError(BudgetExceededError):
    """The budget of this tag would be overspent."""

    error_type = "tollspan.tag_budget_exceeded"


class PolicyViolationError(CallDeniedError):
    """A policy lets no such call through, whatever the budgets say."""

    error_type = "tollspan.policy_violation"


class LoopDetectedError(CallDeniedError):
    """There were too many calls like it in a short time: the program goes round in circles."""

    error_type = "tollspan.loop_detected"


class UnboundedCallError(CallDeniedError):
    """Nothing bounds the cost of the call, and the rules refuse such calls."""

    error_type = "tollspan.unbounded"


class UnpricedModelError(CallDeniedError):
    """The price book has no price for the model, and the rules refuse such calls."""

    error_type = "tollspan.unpriced"


class GateUnavailableError(CallDeniedError):
    """The budgets can't be read or written, and `on_unavailable` says to deny."""

    error_type = "tollspan.gate_unavailable"
