"""Which questions to an authority change budgets, and so are in the audit log, and how."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import msgspec

from tollspan.budget import ResolveQuestion, SettleQuestion
from tollspan.ledger.central import charges_noted

_SHOWN_CHARACTERS: Final = 64


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
    """Yield what is posted below nothing: no call does that, only an operator's hand.

    However many there are in a question, they are one entry.
    """
    words = tuple(
        [
            one
            for one in asked.settlements
            if any(charge.posted.startswith("-") for charge in one.charges)
        ]
    )
    if not words:
        return
    found = SettleQuestion(settlements=words).values()
    subject = found[0].call_id
    if len(found) > 1:
        names = "\0".join(sorted(one.call_id for one in found))
        digest = hashlib.blake2b(names.encode(), digest_size=8).hexdigest()
        subject = f"{subject[:_SHOWN_CHARACTERS]} and {len(found) - 1} more ({digest})"
    yield Noted(
        action="authority.credited",
        subject=subject,
        details=charges_noted([charge for one in found for charge in one.charges]),
    )


def resolving_noted(asked: ResolveQuestion) -> Iterator[Noted]:
    """Yield that what an ended lease left open was settled by hand."""
    account = asked.account
    yield Noted(
        action="authority.resolved",
        subject=f"{asked.lease_id} {account.budget_id} {account.scope} {account.period}",
        details={"spent": asked.spent, "unit": account.unit},
    )
