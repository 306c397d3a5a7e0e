"""What dead processes leave behind, as rows of the file say it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import cast

from tollspan.budget import Account, Unresolved
from tollspan.usage import BudgetUnit


def unresolved_of(rows: Iterable[tuple[str, int, str]], since_unix_ns: int) -> list[Unresolved]:
    """Read holds that became unresolved.

    Args:
        rows: The call's or the lease's id, the amount, and the account's name as JSON: budget,
            scope, period, unit.
        since_unix_ns: When that was.
    """
    return [
        Unresolved(
            lease_id=holder, account=_account(name), amount=amount, since_unix_ns=since_unix_ns
        )
        for holder, amount, name in rows
    ]


def _account(name: str) -> Account:
    budget_id, scope, period, unit = cast("tuple[str, str, str, BudgetUnit]", json.loads(name))
    return Account(budget_id=budget_id, scope=scope, period=period, unit=unit, limit=0)
