"""`tollspan reconcile`: what a provider billed beside what was counted here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tollspan.reports import (
    PROVIDERS,
    BilledLine,
    Difference,
    read_export,
    reconcile,
)
from tollspan.usage import ConfigError, format_usd

from ._checks import many
from ._sources import counted
from ._terminal import Cell, Column, Value, print_json, print_table

_NS = 10**9
_DAY_NS = 86_400 * _NS


def reconcile_with(parsed: argparse.Namespace) -> int:
    """Show the differences, day by day and model by model."""
    billed = _billed(parsed)
    if not billed:
        sys.stderr.write(f"tollspan reconcile: {parsed.file} has no line with a cost\n")
        return 1
    provider: str = parsed.provider or PROVIDERS[parsed.export]
    days = [line.day for line in billed]
    sums = counted(
        parsed, provider, since_unix_ns=_midnight(min(days)),
        until_unix_ns=_midnight(max(days)) + _DAY_NS,
    )  # fmt: skip
    found = reconcile(billed, sums, aliases=dict(parsed.alias))
    if parsed.json:
        print_json([_as_json(one) for one in found])
        return 0
    _print(found)
    return 0


def _billed(parsed: argparse.Namespace) -> list[BilledLine]:
    try:
        with parsed.file.open(encoding="utf-8-sig", newline="") as file:
            return list(read_export(file, parsed.export, source=str(parsed.file)))
    except OSError as error:
        raise ConfigError(f"{parsed.file}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{parsed.file}: is no text in UTF-8 ({error.reason})") from error


def _midnight(day: str) -> int:
    moment = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) * _NS


def _print(found: Sequence[Difference]) -> None:
    total = sum((one.difference_usd for one in found), Decimal(0))
    lines: list[Sequence[Value]] = [_line(one) for one in found]
    billed = sum((one.billed_usd or Decimal(0) for one in found), Decimal(0))
    ours = sum(one.counted_nanousd or 0 for one in found)
    lines.append(
        [
            Cell(text, "strong")
            for text in ("total", "", _usd(billed), format_usd(ours, places=6), _usd(total), "")
        ]
    )
    print_table(
        (
            Column("day"),
            Column("model"),
            Column("billed USD", is_number=True),
            Column("counted USD", is_number=True),
            Column("difference", is_number=True),
            Column("notes", is_wide=True, if_any=True),
        ),
        lines,
    )


def _line(one: Difference) -> Sequence[Value]:
    notes = [
        "not on the bill" if one.billed_usd is None else "",
        "not counted here" if one.counted_nanousd is None else "",
        f"{many(one.unpriced, 'call')} unpriced" if one.unpriced else "",
        f"{many(one.estimated, 'call')} estimated" if one.estimated else "",
    ]
    return (
        one.day,
        Cell(one.model or "of no model", "" if one.model else "quiet"),
        "" if one.billed_usd is None else _usd(one.billed_usd),
        "" if one.counted_nanousd is None else format_usd(one.counted_nanousd, places=6),
        Cell(_usd(one.difference_usd), "warning" if one.difference_usd else "good"),
        ", ".join(note for note in notes if note),
    )


def _usd(amount: Decimal) -> str:
    """Write an amount with as many decimals as it has, six at least."""
    text = f"{amount:f}"
    whole, _, digits = text.partition(".")
    return f"{whole}.{digits.rstrip('0').ljust(6, '0')}"


def _as_json(one: Difference) -> dict[str, object]:
    return {
        "day": one.day,
        "model": one.model or None,
        "billed_usd": None if one.billed_usd is None else f"{one.billed_usd:f}",
        "counted_nanousd": None if one.counted_nanousd is None else str(one.counted_nanousd),
        "difference_usd": f"{one.difference_usd:f}",
        "calls": one.calls,
        "unpriced": one.unpriced,
        "estimated": one.estimated,
    }
