"""Which questions to an authority change budgets, and so are in the audit log, and how."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tollspan.budget import ResolveQuestion, Settlement
from tollspan.ledger.central import charges_noted

CREDITED = "authority.credited"
"""The action of what lowered what is counted."""


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """What is noted of a question.

    Attributes:
        action: What was done.
        subject: By what it is told twice.
        details: What else is to be known.
    """

    action: str
    subject: str
    details: dict[str, object]


def credit_noted(one: Settlement) -> Noted:
    """Return how it is noted that a settlement lowered what is counted."""
    return Noted(action=CREDITED, subject=one.call_id, details=charges_noted(one.charges))


def resolving_noted(asked: ResolveQuestion) -> Iterator[Noted]:
    """Yield that what an ended lease left open was settled by hand."""
    account = asked.account
    yield Noted(
        action="authority.resolved",
        subject=f"{asked.lease_id} {account.budget_id} {account.scope} {account.period}",
        details={"spent": asked.spent, "unit": account.unit},
    )
