"""Which questions to an authority change budgets, and so are in the audit log, and how."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tollspan.budget import ResolveQuestion, SettleQuestion
from tollspan.ledger.central import charges_noted


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


def credits_noted(asked: SettleQuestion) -> Iterator[Noted]:
    """Yield what is posted below nothing: no call does that, only an operator's hand."""
    for words in asked.settlements:
        if not any(one.posted.startswith("-") for one in words.charges):
            continue
        for settlement in SettleQuestion(settlements=(words,)).values():
            yield Noted(
                action="authority.credited",
                subject=settlement.call_id,
                details=charges_noted(settlement.charges),
            )


def resolving_noted(asked: ResolveQuestion) -> Iterator[Noted]:
    """Yield that what an ended lease left open was settled by hand."""
    account = asked.account
    yield Noted(
        action="authority.resolved",
        subject=f"{asked.lease_id} {account.budget_id} {account.scope} {account.period}",
        details={"spent": asked.spent, "unit": account.unit},
    )
