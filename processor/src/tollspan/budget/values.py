"""The values of budgeting: accounts, holds, refusals and decisions."""

from __future__ import annotations

import msgspec

from tollspan.usage import CallDeniedError, DecisionNote


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Where one budget counts, for one owner and one window.

    Attributes:
        budget_id: The budget.
        scope: `""` when the budget is not divided, else dimensions and values in canonical JSON.
        period: Key of the window by the call's start, `2026-11` say; `""` for a lifetime.
        limit_nanousd: The budget's limit.
    """

    budget_id: str
    scope: str
    period: str
    limit_nanousd: int


Leg = tuple[Account, int]
"""An account and the nano-USD that one call holds in it."""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """What one call holds while it runs, in every account that it touches: all or none.

    Attributes:
        call_id: The call.
        started_at_unix_ns: When it started, nanoseconds since the epoch.
        legs: The accounts and the amount in each.
    """

    call_id: str
    started_at_unix_ns: int
    legs: tuple[Leg, ...]


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """One account as it stands, all in nano-USD."""

    account: Account
    posted_nanousd: int = 0
    held_nanousd: int = 0
    unresolved_nanousd: int = 0

    @property
    def counted_nanousd(self) -> int:
        """What counts against the limit: posted, held and unresolved."""
        return self.posted_nanousd + self.held_nanousd + self.unresolved_nanousd


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a hold was not made: the accounts in which it does not fit, as they stood."""

    balances: tuple[Balance, ...]
    asked_nanousd: int


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate says of one call.

    Attributes:
        note: What is kept of it with the event.
        hold: What the call's budgets count for it; None when none touches it. With
            `note.is_unavailable` it was asked for but could not be made.
        denial: The exception to raise; None when the call may go ahead.
    """

    note: DecisionNote
    hold: Hold | None = None
    denial: CallDeniedError | None = None
