"""What `GET /v1/budgets` answers: the keys are those of `tollspan budgets --json`."""

from __future__ import annotations

from typing import Final

import msgspec

from tollspan.usage import rfc3339

from .budgets import BudgetPage, BudgetRow

_UNITS: Final = {"usd": "nanousd", "seconds": "milliseconds"}


class BudgetWords(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as it stands, or an owner's part of one; amounts are strings, whole ones of `unit`.

    Attributes:
        scope: Dimension to value, null where calls say none; empty for an undivided budget.
        period: The window's key, `2026-11` say; empty for a lifetime.
        is_allowance: It counts what was spent while nobody could be asked.
        unit: `nanousd`, `tokens`, `calls`, `milliseconds`, `web_searches` and so on.
        limit, remaining: null where no rule in force says a limit.
        held: What hosts and calls have that run now; `leased` says the same.
        unresolved: Kept counted, since nobody knows whether it was spent.
        resets_at: null for a lifetime, and where no clock ends the period.
    """

    budget: str
    scope: dict[str, str | None]
    period: str
    is_allowance: bool
    unit: str
    limit: str | None
    posted: str
    held: str
    leased: str
    unresolved: str
    remaining: str | None
    resets_at: str | None


class BudgetsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of budgets; `next` is the cursor of the page behind it, which may have none."""

    budgets: tuple[BudgetWords, ...]
    next: str | None


def budgets_answer(page: BudgetPage, following: str | None) -> BudgetsAnswer:
    """Write a page; `following` is the next one's cursor as a client has it."""
    return BudgetsAnswer(budgets=tuple(map(_words, page.rows)), next=following)


def unit_on_the_wire(unit: str) -> str:
    """Name what the whole numbers of a unit count."""
    return _UNITS.get(unit, unit)


def _words(row: BudgetRow) -> BudgetWords:
    ends_at = row.ends_at_unix_ns
    return BudgetWords(
        budget=row.budget_id,
        scope=row.scope,
        period=row.period,
        is_allowance=row.is_allowance,
        unit=unit_on_the_wire(row.unit),
        limit=amount_on_the_wire(row.limit),
        posted=str(row.posted),
        held=str(row.held),
        leased=str(row.held),
        unresolved=str(row.unresolved),
        remaining=amount_on_the_wire(row.remaining),
        resets_at=None if ends_at is None else rfc3339(ends_at),
    )


def amount_on_the_wire(amount: int | None) -> str | None:
    """Write a whole number of a unit; None for what is not known."""
    return None if amount is None else str(amount)
