"""`tollspan budgets`: every budget's limit, what is spent, held and left, and when it resets."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

from tollspan.budget import Account, Balance, Budget, RuleSet, Window, period, read_rules
from tollspan.launch import Settings, read_settings
from tollspan.ledger import LEDGER_FILE, LedgerReader, OpenHold, SQLiteLedger
from tollspan.usage import ConfigError, LedgerError, format_usd, rfc3339

from ._event_line import scope_object
from ._terminal import Bar, Cell, Column, Style, Value, print_json, print_table

_NS = 1_000_000_000
_NEARLY = 0.8
_NUMBERS = ("limit", "spent", "held", "unresolved", "left")


def budgets(parsed: argparse.Namespace) -> int:
    """Show every budget; what dead processes held is shown as unresolved."""
    settings = read_settings()
    reader = LedgerReader(settings.home / LEDGER_FILE)
    reader.balances()  # says so when there is no ledger, before one is made
    ledger = SQLiteLedger(settings.home)
    with contextlib.suppress(LedgerError):  # a ledger that can only be read is shown as it is
        ledger.sweep()
    ledger.close()
    if parsed.unresolved:
        return _show_unresolved(reader.open_holds(), is_json=parsed.json)
    rules = {budget.id: budget for budget in _rules(settings).budgets}
    now = time.time_ns()
    rows = [
        (balance, _ends_at(balance.account, rules))
        for balance in (*reader.balances(), *_untouched(reader.balances(), rules, now))
    ]
    rows = [row for row in rows if parsed.all or row[1] is None or row[1] > now]
    if parsed.json:
        print_json([_as_json(*row) for row in rows])
    else:
        _print(rows)
    return 0


def _rules(settings: Settings) -> RuleSet:
    """Read the rules that are in force here; without any, the ledger alone is shown."""
    if settings.document is None:
        return RuleSet()
    try:
        return read_rules(settings.document)
    except ConfigError as error:
        sys.stderr.write(f"tollspan budgets: {error}; shown is what the ledger knows\n")
        return RuleSet()


def _untouched(
    balances: Sequence[Balance], rules: dict[str, Budget], now_unix_ns: int
) -> Iterator[Balance]:
    """Make balances of the budgets that no call has touched in this period."""
    touched = {(one.account.budget_id, one.account.period) for one in balances}
    for budget in rules.values():
        key, _ = period(budget.window, now_unix_ns)
        if (budget.id, key) not in touched:
            yield Balance(
                account=Account(
                    budget_id=budget.id, scope="", period=key, limit_nanousd=budget.limit_nanousd
                )
            )


def _ends_at(account: Account, rules: dict[str, Budget]) -> int | None:  # noqa: ARG001
    """Return when an account's period ends, nanoseconds since the epoch; None for a lifetime."""
    key = account.period
    if not key:
        return None
    window, start = _read_period(key)
    return period(window, int(start.timestamp()) * _NS)[1]


def _read_period(key: str) -> tuple[Window, datetime]:
    """Read a period's key back: its window, and a moment in it."""
    year, _, week = key.partition("-W")
    if week:
        day = date.fromisocalendar(int(year), int(week), 1)
        return "week", datetime(day.year, day.month, day.day, tzinfo=UTC)
    if "T" in key:
        return "hour", datetime.strptime(key, "%Y-%m-%dT%H").replace(tzinfo=UTC)
    if len(key) == len("2026-11"):
        return "month", datetime.strptime(key, "%Y-%m").replace(tzinfo=UTC)
    return "day", datetime.strptime(key, "%Y-%m-%d").replace(tzinfo=UTC)


def _print(rows: Sequence[tuple[Balance, int | None]]) -> None:
    print_table(
        (
            Column("budget"),
            Column("of"),
            Column("period"),
            Column("used"),
            Column("unit"),
            *(Column(title, is_number=True) for title in _NUMBERS),
            Column("resets"),
        ),
        [_line(*row) for row in rows],
    )


def _line(balance: Balance, ends_at: int | None) -> tuple[Value, ...]:
    account = balance.account
    left = account.limit_nanousd - balance.counted_nanousd
    share = _share(balance)
    style: Style = "bad" if share >= 1 else "warning" if share >= _NEARLY else "good"
    whose = ", ".join(
        f"{name} {value or 'unattributed'}" for name, value in scope_object(account.scope).items()
    )
    return (
        account.budget_id,
        whose,
        account.period or "lifetime",
        Bar(share, style),
        "USD",
        format_usd(account.limit_nanousd, places=2),
        format_usd(balance.posted_nanousd, places=6),
        format_usd(balance.held_nanousd, places=6),
        Cell(
            format_usd(balance.unresolved_nanousd, places=6),
            "warning" if balance.unresolved_nanousd else "",
        ),
        Cell(format_usd(left, places=6), "bad" if left <= 0 else ""),
        "" if ends_at is None else rfc3339(ends_at)[:16].replace("T", " "),
    )


def _share(balance: Balance) -> float:
    limit = balance.account.limit_nanousd
    return balance.counted_nanousd / limit if limit else 1.0


def _as_json(balance: Balance, ends_at: int | None) -> dict[str, object]:
    account = balance.account
    return {
        "budget": account.budget_id,
        "scope": scope_object(account.scope),
        "period": account.period,
        "unit": "USD",
        "limit": format_usd(account.limit_nanousd, places=0),
        "posted": format_usd(balance.posted_nanousd, places=0),
        "held": format_usd(balance.held_nanousd, places=0),
        "leased": "0",  # no authority leases yet
        "unresolved": format_usd(balance.unresolved_nanousd, places=0),
        "remaining": format_usd(account.limit_nanousd - balance.counted_nanousd, places=0),
        "resets_at": None if ends_at is None else rfc3339(ends_at),
    }


def _show_unresolved(holds: Sequence[OpenHold], *, is_json: bool) -> int:
    found = [hold for hold in holds if hold.is_unresolved]
    if is_json:
        print_json(
            [
                {
                    "call_id": hold.call_id,
                    "budget": hold.budget_id,
                    "unit": "USD",
                    "amount": format_usd(hold.amount_nanousd, places=0),
                    "started_at": rfc3339(hold.started_at_unix_ns),
                }
                for hold in found
            ]
        )
        return 0
    print_table(
        (
            Column("started"),
            Column("budget"),
            Column("unit"),
            Column("held", is_number=True),
            Column("call"),
        ),
        [
            (
                rfc3339(hold.started_at_unix_ns)[:19].replace("T", " "),
                hold.budget_id,
                "USD",
                format_usd(hold.amount_nanousd, places=6),
                Cell(hold.call_id, "quiet"),
            )
            for hold in found
        ],
    )
    return 0
