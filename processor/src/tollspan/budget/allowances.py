"""What may be spent while the authority can't answer: `on_unavailable: {allow_up_to: 5%}`.

Beside each account that refuses there is one that counts what its budget lets through unasked. Its
limit is the allowance; what processes may use of it they were granted before, in slices.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from tollspan.usage import BudgetUnit

from .values import Account

_SUFFIX: Final = "+allowance"


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """How much of each account may be spent unasked, beside its limit.

    Attributes:
        share: Of the account's limit; None where it is an amount.
        amount: In the unit, but no more than the account's limit; other units have none.
        unit: What the amount counts.
    """

    share: Decimal | None = None
    amount: int = 0
    unit: BudgetUnit = "usd"

    def beside(self, account: Account) -> Account:
        """Name the account that counts what is spent unasked beside another one's."""
        return msgspec.structs.replace(
            account, period=f"{account.period}{_SUFFIX}", limit=self.of(account)
        )

    def of(self, account: Account) -> int:
        """Return how much that is, in the account's unit; rounded down."""
        if self.share is not None:
            return int(account.limit * self.share)
        return min(self.amount, account.limit) if self.unit == account.unit else 0


def is_allowance(period: str) -> bool:
    """Say whether a period's key is of an account that counts what was spent unasked."""
    return period.endswith(_SUFFIX)


def plain_period(period: str) -> str:
    """Return the key of the period that such an account is for; of any other, its own."""
    return period.removesuffix(_SUFFIX)
