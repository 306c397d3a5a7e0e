"""`tollspan budget raise|set|reset|resolve|history`: postings that an operator makes.

Nothing is edited: each is a posting of its own, with its author and its reason.
"""

from __future__ import annotations

import argparse
import getpass
import os
import socket
import time
from collections.abc import Sequence

import msgspec

from tollspan.budget import (
    Account,
    Balance,
    RuleSet,
    accounts_of,
    fullest,
    parse_amount,
    read_rules,
    read_scope,
)
from tollspan.exporter import SettlingBooks
from tollspan.launch import Settings, settings_in_force
from tollspan.ledger import LEDGER_FILE, LedgerReader, OpenHold, SQLiteLedger, name_of
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

from ._events import NOBODY
from ._periods import period_words
from ._standing import ask_standing, ask_unresolved, is_shared, shared_authority
from ._terminal import Column, print_json, print_table


def raise_(parsed: argparse.Namespace) -> int:
    """Let an account have more in its period."""
    books = _Books(settings_in_force())
    accounts = books.accounts(parsed)
    by = parse_amount(parsed.by, "--by", accounts[0].unit)
    return books.post(parsed, "raise", [(account, -by) for account in accounts])


def set_(parsed: argparse.Namespace) -> int:
    """Leave an account just so much in its period."""
    books = _Books(settings_in_force())
    accounts = books.accounts(parsed)
    left = parse_amount(parsed.left, "--left", accounts[0].unit)
    amounts = [
        (one.account, one.account.limit - one.counted - left) for one in books.balances(accounts)
    ]
    return books.post(parsed, "set", amounts)


def reset(parsed: argparse.Namespace) -> int:
    """Count what an account has spent from nothing again."""
    books = _Books(settings_in_force())
    balances = books.balances(books.accounts(parsed))
    return books.post(parsed, "reset", [(one.account, -one.posted) for one in balances])


def resolve(parsed: argparse.Namespace) -> int:
    """Settle by hand what a dead process, or an ended lease, leaves open."""
    books = _Books(settings_in_force())
    found = [(account, amount) for name, account, amount in books.unresolved() if name == parsed.id]
    if not found:
        raise ConfigError(
            f"nothing of {parsed.id} is unresolved; see `tollspan budgets --unresolved`"
        )
    charges = tuple([_resolved(account, amount, parsed) for account, amount in found])
    books.store(_adjustment("resolve", parsed.reason, charges, lease_id=parsed.id))
    spent = [
        f"{to_decimal(one.posted, one.unit)} {unit_word(one.unit)} in {one.budget_id}"
        for one in charges
    ]
    print(f"{parsed.id}: {', '.join(dict.fromkeys(spent))} was spent; the rest is free again")
    return 0


def history(parsed: argparse.Namespace) -> int:
    """Show what operators have posted, oldest first."""
    settings = settings_in_force()
    found = [
        (one, charge)
        for one in LedgerReader(settings.ledger_home / LEDGER_FILE).adjustments()
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


class _Books:
    """The ledger of this host, and the authority that has the accounts."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_shared = is_shared(settings)

    def accounts(self, parsed: argparse.Namespace) -> tuple[Account, ...]:
        """Name the account that the command line means; of a rolling window, all in force."""
        settings = self._settings
        if settings.document is None:
            raise ConfigError("there are no rules here: set TOLLSPAN_CONFIG")
        rules = read_rules(settings.document)
        return accounts_of(
            rules,
            parsed.budget,
            _owner(rules, parsed.budget, parsed.owner),
            time.time_ns(),
            key=parsed.period,
        )

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand."""
        if self._is_shared:
            return ask_standing(self._settings, accounts)
        ledger = SQLiteLedger(self._settings.ledger_home)
        try:
            return ledger.balances(accounts)
        finally:
            ledger.close()

    def unresolved(self) -> list[tuple[str, Account, int]]:
        """Return what is unresolved: the call or the lease, the account, how much."""
        holds: Sequence[OpenHold]
        if self._is_shared:
            holds = ask_unresolved(self._settings)
        else:
            ledger = SQLiteLedger(self._settings.ledger_home)
            try:
                ledger.sweep()
            finally:
                ledger.close()
            holds = LedgerReader(self._settings.ledger_home / LEDGER_FILE).open_holds()
        return [(one.call_id, one.account, one.amount) for one in holds if one.is_unresolved]

    def post(
        self,
        parsed: argparse.Namespace,
        action: AdjustmentAction,
        amounts: Sequence[tuple[Account, int]],
    ) -> int:
        """Post amounts in the accounts of a budget, and say how it stands then."""
        charges = [
            Charge(
                budget_id=account.budget_id,
                scope=account.scope,
                period=account.period,
                unit=account.unit,
                posted=amount,
            )
            for account, amount in amounts
        ]
        self.store(_adjustment(action, parsed.reason, charges))
        balance = fullest(self.balances([account for account, _ in amounts]))[0]
        account = balance.account
        whose = "".join(f" of {key} {value or NOBODY}" for key, value in read_scope(account.scope))
        left = account.limit - balance.counted
        print(
            f"{account.budget_id}{whose} ({period_words(account.period)}): "
            f"{to_decimal(left, account.unit)} {unit_word(account.unit)} left"
        )
        return 0

    def store(self, adjustment: Adjustment) -> None:
        """Store an adjustment here, and settle it with a shared authority at once."""
        ledger = SQLiteLedger(self._settings.ledger_home)
        try:
            ledger.adjust(adjustment)
            if self._is_shared:
                with shared_authority(self._settings) as authority:
                    name = name_of(self._settings.authority)
                    SettlingBooks(ledger, authority, name=name).settle()
        finally:
            ledger.close()


def _adjustment(
    action: AdjustmentAction,
    reason: str,
    charges: Sequence[Charge],
    *,
    lease_id: str | None = None,
) -> Adjustment:
    now = time.time_ns()
    return Adjustment(
        id=new_call_id(now),
        at_unix_ns=now,
        action=action,
        author=_author(),
        reason=reason,
        charges=tuple(charges),
        lease_id=lease_id,
    )


def _author() -> str:
    """Say who asks, as the system knows him."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # nobody of that number
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


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
