"""`tollspan budget raise|set|reset|resolve|history`: postings that an operator makes.

Nothing is edited: each is a posting of its own, with its author and its reason.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import msgspec

from tollspan.budget import (
    MOST_CHARGES,
    Account,
    Balance,
    RuleSet,
    accounts_of,
    fullest,
    named_in_force,
    parse_amount,
    read_rules,
    read_scope,
)
from tollspan.launch import Settings, ledger_home_in_force, settings_in_force
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.usage import (
    DIMENSIONS,
    Adjustment,
    AdjustmentAction,
    Attribution,
    Charge,
    ConfigError,
    new_call_id,
    read_attribution,
    rfc3339,
    to_decimal,
    unit_word,
)

from ._author import author
from ._events import NOBODY
from ._in_force import Accounts, accounts_in_force
from ._periods import period_words
from ._terminal import Column, print_json, print_table


def raise_(parsed: argparse.Namespace) -> int:
    """Let an account have more in its period."""
    return _post(parsed, "raise", lambda one: -parse_amount(parsed.by, "--by", one.account.unit))


def set_(parsed: argparse.Namespace) -> int:
    """Leave an account just so much in its period."""

    def amount(one: Balance) -> int:
        left = parse_amount(parsed.left, "--left", one.account.unit)
        return one.account.limit - one.counted - left

    return _post(parsed, "set", amount)


def reset(parsed: argparse.Namespace) -> int:
    """Count what an account has spent from nothing again."""
    return _post(parsed, "reset", lambda one: -one.posted)


def resolve(parsed: argparse.Namespace) -> int:
    """Settle by hand what a dead process, or an ended lease, leaves open."""
    with accounts_in_force() as accounts:
        accounts.sweep()
        found = [one for one in accounts.unresolved() if one.call_id == parsed.id]
        if not found:
            raise ConfigError(
                f"nothing of {parsed.id} is unresolved; see `tollspan budgets --unresolved`"
            )
        charges = tuple([_resolved(one.account, one.amount, parsed) for one in found])
        for first in range(0, len(charges), MOST_CHARGES):
            some = charges[first : first + MOST_CHARGES]
            accounts.store(adjustment("resolve", parsed.reason, some, lease_id=parsed.id))
    spent = [
        f"{to_decimal(one.posted, one.unit)} {unit_word(one.unit)} in {one.budget_id}"
        for one in charges
    ]
    print(f"{parsed.id}: {', '.join(dict.fromkeys(spent))} was spent; the rest is free again")
    return 0


def history(parsed: argparse.Namespace) -> int:
    """Show what operators have posted, oldest first."""
    home = ledger_home_in_force()
    found = [
        (one, charge)
        for one in LedgerReader(home / LEDGER_FILE).adjustments()
        for charge in one.charges
        if parsed.budget in (None, charge.budget_id)
    ]
    if parsed.json:
        print_json([_as_json(*pair) for pair in found])
        return 0
    print_table(
        (
            Column("at (UTC)"),
            Column("action"),
            Column("budget"),
            Column("of", if_any=True),
            Column("period", may_go=True),
            Column("posted", is_number=True),
            Column("unit"),
            Column("by"),
            Column("reason"),
        ),
        [
            (
                rfc3339(one.at_unix_ns)[:16].replace("T", " "),
                one.action,
                charge.budget_id,
                ", ".join(f"{key} {value or NOBODY}" for key, value in read_scope(charge.scope)),
                period_words(charge.period),
                to_decimal(charge.posted, charge.unit),
                unit_word(charge.unit),
                one.author,
                one.reason,
            )
            for one, charge in found
        ],
    )
    return 0


def _accounts(
    settings: Settings, parsed: argparse.Namespace, accounts: Accounts
) -> tuple[Account, ...]:
    """Name the account that the command line means; of a rolling window, all in force."""
    if settings.document is None:
        raise ConfigError("there are no rules here: set TOLLSPAN_CONFIG")
    rules = read_rules(settings.document)
    named = accounts_of(
        rules,
        parsed.budget,
        _owner(rules, parsed.budget, parsed.owner),
        time.time_ns(),
        key=parsed.period,
    )
    return named_in_force(named, accounts.touch)


def _post(
    parsed: argparse.Namespace, action: AdjustmentAction, amount_of: Callable[[Balance], int]
) -> int:
    """Post in the accounts that are meant, and say how the budget stands then.

    Args:
        parsed: The command line.
        action: What it is.
        amount_of: How much to post in an account, as it stands.
    """
    settings = settings_in_force()
    with accounts_in_force(settings) as accounts:
        meant = _accounts(settings, parsed, accounts)
        charges = [
            Charge(
                budget_id=one.account.budget_id,
                scope=one.account.scope,
                period=one.account.period,
                unit=one.account.unit,
                posted=amount_of(one),
            )
            for one in accounts.balances(meant)
        ]
        accounts.store(adjustment(action, parsed.reason, charges))
        balance = fullest(accounts.balances(meant))[0]
    account = balance.account
    whose = "".join(f" of {key} {value or NOBODY}" for key, value in read_scope(account.scope))
    left = account.limit - balance.counted
    print(
        f"{account.budget_id}{whose} ({period_words(account.period)}): "
        f"{to_decimal(left, account.unit)} {unit_word(account.unit)} left"
    )
    return 0


def adjustment(
    action: AdjustmentAction,
    reason: str,
    charges: Sequence[Charge],
    *,
    lease_id: str | None = None,
    call_id: str | None = None,
) -> Adjustment:
    """Make a posting of whoever asks, now.

    Args:
        action: What he asks for.
        reason: Why.
        charges: What it posts.
        lease_id: As in `Adjustment`.
        call_id: The same.
    """
    now = time.time_ns()
    return Adjustment(
        id=new_call_id(now),
        at_unix_ns=now,
        action=action,
        author=author(),
        reason=reason,
        charges=tuple(charges),
        lease_id=lease_id,
        call_id=call_id,
    )


def _owner(rules: RuleSet, budget_id: str, pairs: Sequence[tuple[str, str]]) -> Attribution:
    """Read whose account is meant: a value for each dimension that divides the budget."""
    budget = next((one for one in rules.budgets if one.id == budget_id), None)
    if budget is None:
        known = ", ".join(one.id for one in rules.budgets) or "none"
        raise ConfigError(f"no budget has the id {budget_id!r}; there are: {known}")
    values = dict(pairs)
    if set(values) != set(budget.per):
        needed = " ".join(f"--for {key}=…" for key in budget.per) or "no --for"
        raise ConfigError(f"budget {budget_id!r} is divided by {budget.per or 'nothing'}: {needed}")
    named = {key: value for key, value in values.items() if value != NOBODY}
    tags = {key.removeprefix("tag."): value for key, value in named.items() if "." in key}
    plain = {key: value for key, value in named.items() if key in DIMENSIONS}
    stated = read_attribution({**plain, "tags": tags}, place="--for: ")
    return msgspec.structs.replace(
        stated, service=named.get("service"), environment=named.get("environment")
    )


def _resolved(account: Account, amount: int, parsed: argparse.Namespace) -> Charge:
    spent = 0 if parsed.nothing else amount
    if parsed.spent is not None:
        spent = parse_amount(parsed.spent, "--spent", account.unit)
    return Charge(
        budget_id=account.budget_id,
        scope=account.scope,
        period=account.period,
        unit=account.unit,
        posted=spent,
        drawn=amount,
    )


def _as_json(one: Adjustment, charge: Charge) -> dict[str, object]:
    return {
        "id": one.id,
        "at": rfc3339(one.at_unix_ns),
        "action": one.action,
        "budget": charge.budget_id,
        "scope": dict(read_scope(charge.scope)),
        "period": charge.period,
        "unit": charge.unit,
        "posted": to_decimal(charge.posted, charge.unit),
        "author": one.author,
        "reason": one.reason,
    }
