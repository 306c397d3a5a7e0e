"""The values of budgeting: accounts, holds, refusals and decisions."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tollspan.usage import BudgetUnit, CallDeniedError, DecisionNote, DenialSource, Request

REPORT = "report"
"""The door of what was used already, as the program says."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Where one budget counts, for one owner and one window.

    Attributes:
        budget_id: The budget.
        scope: `""` when the budget is not divided, else dimensions and values in canonical JSON,
            `{"customer":"acme"}` say; null stands for calls that say nothing of a dimension.
        period: Key of the window by the call's start, `2026-11` say; `""` for a lifetime.
        limit: The budget's limit, in the unit.
        unit: What is counted; a part of the account's name, so that units never mix.
        is_soft: What does not fit is counted and reported, not refused.
    """

    budget_id: str
    scope: str
    period: str
    limit: int
    unit: BudgetUnit = "usd"
    is_soft: bool = False


Leg = tuple[Account, int]
"""An account and what one call holds in it, in the account's unit."""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """What one call holds while it runs, in every account that it touches: all or none.

    Attributes:
        call_id: The call.
        started_at_unix_ns: When it started, nanoseconds since the epoch.
        legs: The accounts and the amount in each.
        is_money: Every account counts USD, and so every amount is the call's bound.
        unasked: Accounts of which the call can use nothing, as it says: they are not asked, and
            charged all the same if it does.
    """

    call_id: str
    started_at_unix_ns: int
    legs: tuple[Leg, ...]
    is_money: bool = True
    unasked: tuple[Account, ...] = ()


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """One account as it stands, all in the account's unit."""

    account: Account
    posted: int = 0
    held: int = 0
    unresolved: int = 0

    @property
    def counted(self) -> int:
        """What counts against the limit: posted, held and unresolved."""
        return self.posted + self.held + self.unresolved

    def fits(self, amount: int) -> bool:
        """Say whether so much more may be held; nothing fits a limit of 0, not even 0."""
        limit = self.account.limit
        return limit > 0 and self.counted + amount <= limit


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The accounts in which a hold does not fit, as they stood.

    Attributes:
        balances: These accounts, in the order of the hold's legs. With `is_held`, soft ones alone.
        asked: What was asked of each of them.
        is_held: Only soft accounts were short, so the hold was made all the same.
        source: Who says so: the authority, or a server that was asked before.
    """

    balances: tuple[Balance, ...]
    asked: tuple[int, ...]
    is_held: bool = False
    source: DenialSource = "precall"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What goes out instead of what was asked for.

    Attributes:
        asked: The request as the program made it.
        request: The request as it is to be sent; the hold is what this one can cost.
        denial: What becomes of a call in which that can't be changed; None to send it as it is.
    """

    asked: Request
    request: Request
    denial: CallDeniedError | None = None

    def apply(self, decision: Decision) -> Decision:
        """Return a decision that has this changed, and says so in its note."""
        asked, request = self.asked, self.request
        is_clamped = request.max_output_tokens != asked.max_output_tokens
        note = msgspec.structs.replace(
            decision.note,
            asked_model=asked.model if request.model != asked.model else None,
            clamped_from=asked.max_output_tokens if is_clamped else None,
            clamped_to=request.max_output_tokens if is_clamped else None,
        )
        return msgspec.structs.replace(decision, note=note, change=self)


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate says of one call.

    Attributes:
        note: What is kept of it with the event.
        hold: What the call's budgets count for it; None when none touches it. With
            `note.is_unavailable` it was asked for but could not be made.
        denial: The exception to raise; None when the call may go ahead.
        change: What must be changed in the request before it goes out; None for nothing.
        on_end: What is to be done once the call has ended, as often as one likes; None for
            nothing. With it there is a hold, and `hold.is_money` is false.
    """

    note: DecisionNote
    hold: Hold | None = None
    denial: CallDeniedError | None = None
    on_end: Callable[[], None] | None = None
    change: Change | None = None


def refused(decision: Decision, denial: CallDeniedError) -> Decision:
    """Return the decision on a call that had to be changed and could not be."""
    note = DecisionNote(
        action="deny",
        rule_ids=decision.note.rule_ids,
        bound_nanousd=decision.note.bound_nanousd,
        bound_reasons=decision.note.bound_reasons,
    )
    return Decision(note=note, denial=denial)


def unchanged(decision: Decision) -> Decision:
    """Return the decision on a call that goes out as it was asked for after all."""
    note = msgspec.structs.replace(
        decision.note, asked_model=None, clamped_from=None, clamped_to=None
    )
    return msgspec.structs.replace(decision, note=note, change=None)
