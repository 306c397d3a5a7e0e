"""What those who send events are answered, as it is written: amounts are strings."""

from __future__ import annotations

from datetime import datetime

import msgspec

from tollspan.usage import BudgetUnit, EventVerdict


class ExceededWords(msgspec.Struct, frozen=True, kw_only=True):
    """An account that is used up, named as the charges of events name it; amounts in its unit."""

    budget_id: str
    scope: str
    period: str
    unit: BudgetUnit
    limit: str
    spent: str
    held: str
    resets_at: datetime | None


class EventsAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a batch, event by event, in its order.

    `rules` is the ETag of the rules in force; `exceeded` all accounts that are used up, left out
    where the server can't say.
    """

    results: tuple[EventVerdict, ...]
    rules: str | None = None
    exceeded: tuple[ExceededWords, ...] | None = None
