"""`tollspan budgets`: every budget's limit, what is spent, held and left, and when it resets."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Container, Iterator, Mapping, Sequence

import msgspec

from tollspan.budget import (
    FOLDED,
    IDLE,
    OWN_AUTHORITIES,
    TRACE,
    Account,
    Balance,
    Budget,
    LimitsInForce,
    RuleSet,
    end_of_key,
    fullest,
    idle_past,
    is_allowance,
    periods,
    plain_period,
    read_rolling,
    read_rules,
    read_scope,
)
from tollspan.launch import Settings, read_settings, with_rules
from tollspan.ledger import LEDGER_FILE, LedgerReader, OpenHold
from tollspan.usage import (
    BudgetUnit,
    ConfigError,
    format_usd,
    rfc3339,
    to_decimal,
    unit_word,
)

from ._allowances import after_their_budgets, besides, is_idle
from ._event_line import unit_name
from ._events import NOBODY
from ._in_force import accounts_in_force
from ._periods import period_words
from ._terminal import Bar, Cell, Column, Style, Value, print_json, print_table

_NEARLY = 0.8
_TRACE = re.compile("[0-9a-f]{32}")
_SOFT = {"warn": "only warns", "shadow": "only notes"}


def budgets(parsed: argparse.Namespace) -> int:
    """Show every budget; what dead processes held is shown as unresolved."""
    settings = read_settings()
    document = _rules(settings)
    settings = with_rules(settings, document)
    rules = {budget.id: budget for budget in document.budgets}
    limits = LimitsInForce(document)
    now = time.time_ns()
    is_shared = settings.authority not in OWN_AUTHORITIES
    with accounts_in_force(settings) as accounts:
        accounts.sweep()
        if parsed.unresolved:
            return _show_unresolved(accounts.unresolved(), is_json=parsed.json)
        found = _known(settings)
        every = (*found, *_untouched(found, rules, now))
        named = [_in_force(one, limits) for one in every]
        if is_shared:
            named += besides(named, rules, document)
        standing = accounts.balances([one.account for one in named])
        asked = () if parsed.all else [one.account for one in standing]
        past = idle_past(asked, accounts.touch)
    rows = [(one, _ends_at(one.account, rules)) for one in _at_once(standing, now)]
    rows = [
        row for row in rows if parsed.all or (_is_open(*row, now, past) and not is_idle(row[0]))
    ]
    shown = after_their_budgets(rows)
    if parsed.json:
        # What is held at a shared authority is what hosts have leased there.
        print_json([_as_json(*row, is_leased=is_shared) for row in shown])
    else:
        _print(shown, rules)
    return 0


def _known(settings: Settings) -> tuple[Balance, ...]:
    """Name the accounts that this host's calls have touched."""
    path = settings.ledger_home / LEDGER_FILE
    return LedgerReader(path).balances() if path.exists() else ()


def _rules(settings: Settings) -> RuleSet:
    """Read the rules that are in force here; without any, the ledger alone is shown."""
    if settings.document is None:
        return RuleSet()
    try:
        return read_rules(settings.document)
    except ConfigError as error:
        sys.stderr.write(f"tollspan budgets: {error}; shown is what the ledger knows\n")
        return RuleSet()


def _at_once(balances: Sequence[Balance], now_unix_ns: int) -> list[Balance]:
    """Return balances, but of a rolling window that runs only the fullest."""
    kept = {id(one) for one in fullest(one for one in balances if _rolls(one, now_unix_ns))}
    return [one for one in balances if id(one) in kept or not _rolls(one, now_unix_ns)]


def _rolls(balance: Balance, now_unix_ns: int) -> bool:
    rolling = read_rolling(plain_period(balance.account.period))
    return rolling is not None and rolling.ends_at_unix_ns > now_unix_ns


def _in_force(balance: Balance, limits: LimitsInForce) -> Balance:
    """Return a balance with the limit that the rules have now: the ledger's is the last call's."""
    account = limits.of(balance.account)
    return balance if account is None else msgspec.structs.replace(balance, account=account)


def _is_open(
    balance: Balance, ends_at: int | None, now_unix_ns: int, past: Container[tuple[str, str, str]]
) -> bool:
    """Say whether an account may be used still; traces come to an end that nobody tells."""
    if balance.account.scope == FOLDED:
        return False
    if ends_at is None:
        account = balance.account
        period = plain_period(account.period)
        is_over = (account.budget_id, account.scope, period) in past
        return not (is_over or _TRACE.fullmatch(period))
    return ends_at > now_unix_ns


def _untouched(
    balances: Sequence[Balance], rules: Mapping[str, Budget], now_unix_ns: int
) -> Iterator[Balance]:
    """Make balances of the undivided budgets that no call has touched in this period."""
    touched = {(one.account.budget_id, one.account.period, one.account.unit) for one in balances}
    for budget in rules.values():
        if budget.per or budget.window.every in (TRACE, IDLE):
            continue
        keys, _ = periods(budget.window, now_unix_ns)
        if not touched.isdisjoint([(budget.id, key, budget.unit) for key in keys]):
            continue
        yield Balance(
            account=Account(
                budget_id=budget.id, scope="", period=keys[0], limit=budget.limit, unit=budget.unit
            )
        )


def _ends_at(account: Account, rules: Mapping[str, Budget]) -> int | None:
    budget = rules.get(account.budget_id)
    return end_of_key(account.period, "UTC" if budget is None else budget.window.timezone)


def _print(rows: Sequence[tuple[Balance, int | None]], rules: Mapping[str, Budget]) -> None:
    print_table(
        (
            Column("budget"),
            Column("of", if_any=True),
            Column("period", may_go=True),
            Column("used"),
            Column("unit"),
            Column("limit", is_number=True),
            Column("spent", is_number=True),
            Column("held", is_number=True, may_go=True),
            Column("unresolved", is_number=True, may_go=True),
            Column("left", is_number=True),
            Column("resets (UTC)", may_go=True, if_any=True),
            Column("notes", may_go=True, if_any=True),
        ),
        [_line(balance, ends_at, rules) for balance, ends_at in rows],
    )


def _line(balance: Balance, ends_at: int | None, rules: Mapping[str, Budget]) -> tuple[Value, ...]:
    account = balance.account
    unit = account.unit
    left = account.limit - balance.counted
    share = balance.counted / account.limit if account.limit else 1.0
    style: Style = "bad" if share >= 1 else "warning" if share >= _NEARLY else "good"
    whose = ", ".join(f"{key} {value or NOBODY}" for key, value in read_scope(account.scope))
    budget = rules.get(account.budget_id)
    return (
        account.budget_id,
        whose,
        period_words(account.period),
        Bar(share, style),
        unit_word(unit),
        _amount(account.limit, unit, places=2),
        _amount(balance.posted, unit),
        _amount(balance.held, unit),
        Cell(_amount(balance.unresolved, unit), "warning" if balance.unresolved else ""),
        Cell(_amount(left, unit), "bad" if left <= 0 else ""),
        "" if ends_at is None else rfc3339(ends_at)[:16].replace("T", " "),
        Cell("" if budget is None else _SOFT.get(budget.on_exceed, ""), "quiet"),
    )


def _amount(amount: int, unit: BudgetUnit, *, places: int = 6) -> str:
    if unit == "usd":
        return format_usd(amount, places=places)
    whole, point, part = to_decimal(abs(amount), unit).partition(".")
    return f"{'-' * (amount < 0)}{int(whole):,}{point}{part}"


def _as_json(balance: Balance, ends_at: int | None, *, is_leased: bool) -> dict[str, object]:
    account = balance.account
    unit = account.unit
    return {
        "budget": account.budget_id,
        "scope": dict(read_scope(account.scope)),
        "period": plain_period(account.period),
        "is_allowance": is_allowance(account.period),
        "unit": unit_name(unit),
        "limit": to_decimal(account.limit, unit),
        "posted": to_decimal(balance.posted, unit),
        "held": to_decimal(balance.held, unit),
        "leased": to_decimal(balance.held if is_leased else 0, unit),
        "unresolved": to_decimal(balance.unresolved, unit),
        "remaining": to_decimal(account.limit - balance.counted, unit),
        "resets_at": None if ends_at is None else rfc3339(ends_at),
    }


def _show_unresolved(holds: Sequence[OpenHold], *, is_json: bool) -> int:
    found = _each_once([hold for hold in holds if hold.is_unresolved])
    if is_json:
        print_json([_hold_json(hold) for hold in found])
        return 0
    print_table(
        (
            Column("started (UTC)"),
            Column("budget"),
            Column("unit"),
            Column("held", is_number=True),
            Column("call"),
        ),
        [
            (
                rfc3339(hold.started_at_unix_ns)[:19].replace("T", " "),
                hold.account.budget_id,
                unit_word(hold.account.unit),
                _amount(hold.amount, hold.account.unit),
                Cell(hold.call_id, "quiet"),
            )
            for hold in found
        ],
    )
    return 0


def _each_once(holds: Sequence[OpenHold]) -> list[OpenHold]:
    """Return what a call holds in the accounts of one rolling window once."""
    found: dict[object, OpenHold] = {}
    for hold in holds:
        account = hold.account
        rolling = read_rolling(plain_period(account.period))
        when = (
            account.period if rolling is None else (rolling.seconds, is_allowance(account.period))
        )
        place = (hold.call_id, account.budget_id, account.scope, account.unit, hold.amount, when)
        found.setdefault(place, hold)
    return list(found.values())


def _hold_json(hold: OpenHold) -> dict[str, object]:
    return {
        "call_id": hold.call_id,
        "budget": hold.account.budget_id,
        "unit": unit_name(hold.account.unit),
        "amount": to_decimal(hold.amount, hold.account.unit),
        "started_at": rfc3339(hold.started_at_unix_ns),
    }
