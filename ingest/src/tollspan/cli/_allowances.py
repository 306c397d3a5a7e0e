"""What `tollspan budgets` shows of allowances: what was spent while no budget could be asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tollspan.budget import (
    LETS_PASS,
    Account,
    Allowance,
    Balance,
    Budget,
    RuleSet,
    is_allowance,
    plain_period,
)

Row = tuple[Balance, int | None]
"""A balance, and when its period ends, nanoseconds since the epoch."""


def besides(
    balances: Sequence[Balance], budgets: Mapping[str, Budget], rules: RuleSet
) -> Iterator[Balance]:
    """Make balances of the allowances of accounts, where the ledger here has none yet.

    A shared authority knows of them from every host.
    """
    rule = rules.on_unavailable
    if not isinstance(rule, Allowance):
        return
    known = {_name(one.account) for one in balances}
    for one in balances:
        account = one.account
        budget = budgets.get(account.budget_id)
        is_soft = budget is not None and budget.on_exceed in LETS_PASS
        if is_allowance(account.period) or is_soft:
            continue
        beside = rule.beside(account)
        if beside.limit and _name(beside) not in known:
            yield Balance(account=beside)


def is_idle(balance: Balance) -> bool:
    """Say whether a balance is of an allowance of which nothing is granted or spent."""
    return is_allowance(balance.account.period) and not balance.counted


def after_their_budgets(rows: Sequence[Row]) -> list[Row]:
    """Return rows with those of allowances behind those of the accounts that they are beside."""
    places: dict[object, int] = {}
    for nth, (balance, _) in enumerate(rows):
        places.setdefault(_owner(balance.account), nth)
    return sorted(rows, key=lambda row: (places[_owner(row[0].account)], _is_unasked(row)))


def _is_unasked(row: Row) -> bool:
    return is_allowance(row[0].account.period)


def _owner(account: Account) -> tuple[str, str, str, str]:
    return account.budget_id, account.scope, plain_period(account.period), account.unit


def _name(account: Account) -> tuple[str, str, str, str]:
    return account.budget_id, account.scope, account.period, account.unit
