"""`tollspan events`, `report` and `budgets`: tables for people, JSON for programs."""

from __future__ import annotations

import argparse
import contextlib
import re
import time
from collections.abc import Sequence
from typing import cast

import msgspec

from tollspan.budget import Balance, read_scope
from tollspan.launch import read_settings
from tollspan.ledger import LEDGER_FILE, LedgerReader, ReportRow, SQLiteLedger
from tollspan.usage import Event, LedgerError, UsageEvent, format_usd, rfc3339, to_decimal

from ._table import print_table

_DURATION = re.compile(r"([0-9]+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def duration_ns(text: str) -> int:
    """Read `90m`, `24h` or `7d`, in nanoseconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 90m, 24h or 7d")
    return int(match[1]) * _SECONDS[match[2]] * 1_000_000_000


def events(parsed: argparse.Namespace) -> int:
    """Show calls and refusals."""
    found = list(_reader().events(since_unix_ns=_since(parsed), newest=parsed.newest))
    if parsed.json:
        for event in found:
            print(msgspec.json.encode(_flat(event)).decode())
        return 0
    print_table(
        ("time", "model", "outcome", "in", "out", "cost USD", "call"),
        [_event_row(event) for event in found],
        right=(3, 4, 5),
    )
    return 0


def report(parsed: argparse.Namespace) -> int:
    """Sum calls and money."""
    dimensions: tuple[str, ...] = parsed.by
    rows = _reader().report(dimensions, since_unix_ns=_since(parsed))
    if parsed.json:
        for row in rows:
            print(msgspec.json.encode(_report_json(dimensions, row)).decode())
        return 0
    lines = [_report_line(row) for row in rows]
    if len(rows) > 1:
        lines.append(_report_line(_total(rows, len(dimensions))))
    size = len(dimensions)
    print_table(
        (*dimensions, "calls", "denied", "tokens in", "tokens out", "cost USD", "notes"),
        lines,
        right=tuple(range(size, size + 5)),
    )
    return 0


def budgets(parsed: argparse.Namespace) -> int:
    """Show every budget; what dead processes held is shown as unresolved."""
    reader = _reader()
    reader.balances()  # says so when there is no ledger, before one is made
    ledger = SQLiteLedger(reader.path.parent)
    with contextlib.suppress(LedgerError):  # a ledger that can only be read is shown as it is
        ledger.sweep()
    ledger.close()
    found = reader.balances()
    if parsed.json:
        for balance in found:
            print(msgspec.json.encode(_balance_json(balance)).decode())
        return 0
    print_table(
        ("budget", "of", "period", "unit", "limit", "spent", "held", "unresolved", "left"),
        [_balance_row(balance) for balance in found],
        right=(4, 5, 6, 7, 8),
    )
    return 0


def _reader() -> LedgerReader:
    return LedgerReader(read_settings().home / LEDGER_FILE)


def _since(parsed: argparse.Namespace) -> int:
    return time.time_ns() - parsed.since if parsed.since else 0


def _event_row(event: Event) -> tuple[str, ...]:
    call = event.call
    started = rfc3339(call.started_at_unix_ns)[:19].replace("T", " ")
    if not isinstance(event, UsageEvent):
        return (started, call.request.model, "denied", "", "", "0", call.id)
    usage = event.usage
    about = "~" if usage is not None and usage.status == "estimated" else ""
    known = usage is not None and usage.status != "unknown"
    amount = event.cost.amount_nanousd
    return (
        started,
        event.outcome.response.model or call.request.model,
        event.outcome.status,
        f"{about}{usage.input_tokens}" if usage is not None and known else "?" if usage else "-",
        f"{about}{usage.output_tokens}" if usage is not None and known else "?" if usage else "-",
        f"{about}{format_usd(amount, places=6)}" if amount is not None else event.cost.status,
        call.id,
    )


def _flat(event: Event) -> dict[str, object]:
    """Flatten an event for people's scripts: dotted keys, money as strings."""
    flat: dict[str, object] = {"id": event.call.id if isinstance(event, UsageEvent) else event.id}
    flat["type"] = "usage" if isinstance(event, UsageEvent) else "decision"
    flat["time"] = rfc3339(event.call.started_at_unix_ns)
    _flatten(msgspec.to_builtins(event), "", flat)
    if isinstance(event, UsageEvent) and event.usage is not None:
        flat["usage.status"] = event.usage.status
        flat["usage.input_tokens"] = event.usage.input_tokens
        flat["usage.output_tokens"] = event.usage.output_tokens
    if isinstance(event, UsageEvent) and event.cost.difference_nanousd is not None:
        flat["cost.difference_nanousd"] = str(event.cost.difference_nanousd)
    return flat


def _flatten(value: dict[str, object], prefix: str, into: dict[str, object]) -> None:
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict):
            _flatten(cast("dict[str, object]", item), f"{name}.", into)
        elif key.endswith(("_nanousd", "_picousd")) and isinstance(item, int):
            into[name] = str(item)
        elif key == "charges":
            into[name] = _charges(item)
        elif name not in ("type", "call.started_at_unix_ns"):
            into[name] = item


def _charges(items: object) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for item in cast("list[dict[str, object]]", items):
        flat: dict[str, object] = {}
        _flatten(item, "", flat)
        found.append(flat)
    return found


def _report_line(row: ReportRow) -> tuple[str, ...]:
    notes = [
        f"{count} {name}"
        for count, name in (
            (row.estimated, "estimated"),
            (row.unknown, "unknown usage"),
            (row.unpriced, "unpriced"),
        )
        if count
    ]
    return (
        *(value if value is not None else "unattributed" for value in row.values),
        str(row.calls),
        str(row.denied),
        str(row.input_tokens),
        str(row.output_tokens),
        format_usd(row.cost_nanousd, places=6),
        ", ".join(notes),
    )


def _total(rows: Sequence[ReportRow], size: int) -> ReportRow:
    return ReportRow(
        values=("total", *([""] * (size - 1))) if size else (),
        calls=sum(row.calls for row in rows),
        denied=sum(row.denied for row in rows),
        estimated=sum(row.estimated for row in rows),
        unknown=sum(row.unknown for row in rows),
        unpriced=sum(row.unpriced for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cost_nanousd=sum(row.cost_nanousd for row in rows),
    )


def _report_json(dimensions: tuple[str, ...], row: ReportRow) -> dict[str, object]:
    return {
        **dict(zip(dimensions, row.values, strict=True)),
        "calls": row.calls,
        "denied": row.denied,
        "estimated": row.estimated,
        "unknown": row.unknown,
        "unpriced": row.unpriced,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_nanousd": str(row.cost_nanousd),
    }


def _balance_row(balance: Balance) -> tuple[str, ...]:
    account = balance.account
    left = account.limit - balance.counted
    whose = ", ".join(
        f"{key} {value or 'unattributed'}" for key, value in read_scope(account.scope)
    )
    return (
        account.budget_id,
        whose,
        account.period or "lifetime",
        "USD" if account.unit == "usd" else account.unit,
        *(
            format_usd(amount, places=places) if account.unit == "usd" else str(amount)
            for amount, places in (
                (account.limit, 2),
                (balance.posted, 6),
                (balance.held, 6),
                (balance.unresolved, 6),
                (left, 6),
            )
        ),
    )


def _balance_json(balance: Balance) -> dict[str, object]:
    account = balance.account
    unit = account.unit
    return {
        "budget": account.budget_id,
        "scope": dict(read_scope(account.scope)),
        "period": account.period,
        "unit": "USD" if unit == "usd" else unit,
        "limit": to_decimal(account.limit, unit),
        "posted": to_decimal(balance.posted, unit),
        "held": to_decimal(balance.held, unit),
        "unresolved": to_decimal(balance.unresolved, unit),
        "remaining": to_decimal(account.limit - balance.counted, unit),
    }
