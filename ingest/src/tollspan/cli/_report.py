"""`tollspan report`: sums of calls, tokens and money by any dimensions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tollspan.launch import ledger_home_in_force
from tollspan.ledger import LEDGER_FILE, LedgerReader, ReportRow
from tollspan.usage import format_usd

from ._events import NOBODY, wanted
from ._terminal import Cell, Column, Value, print_json, print_table


def report(parsed: argparse.Namespace) -> int:
    """Sum calls and money, the dearest first."""
    dimensions: tuple[str, ...] = parsed.by
    rows = LedgerReader(ledger_home_in_force() / LEDGER_FILE).report(
        dimensions,
        since_unix_ns=parsed.since,
        until_unix_ns=parsed.until,
        where=wanted(parsed),
    )
    if parsed.json:
        print_json([_as_json(dimensions, row) for row in rows])
        return 0
    lines = [_line(row) for row in rows]
    if len(rows) > 1:
        total = _line(_total(rows, len(dimensions)))
        lines.append([Cell(_text(value), "strong") for value in total])
    print_table(
        [
            *(Column(name) for name in dimensions),
            Column("calls", is_number=True),
            Column("denied", is_number=True),
            Column("tokens in", is_number=True, may_go=True),
            Column("tokens out", is_number=True, may_go=True),
            Column("cost USD", is_number=True),
            Column("notes", is_wide=True, if_any=True),
        ],
        lines,
    )
    return 0


def _line(row: ReportRow) -> list[Value]:
    notes = [
        f"{count} {name}"
        for count, name in (
            (row.estimated, "estimated"),
            (row.unknown, "unknown usage"),
            (row.unpriced, "unpriced"),
            (row.folded, "folded"),
        )
        if count
    ]
    return [
        *(Cell(NOBODY, "quiet") if value is None else value for value in row.values),
        str(row.calls),
        Cell(str(row.denied), "bad" if row.denied else ""),
        str(row.input_tokens),
        str(row.output_tokens),
        format_usd(row.cost_nanousd, places=6),
        Cell(", ".join(notes), "warning"),
    ]


def _text(value: Value) -> str:
    return value if isinstance(value, str) else value.text if isinstance(value, Cell) else ""


def _total(rows: Sequence[ReportRow], size: int) -> ReportRow:
    return ReportRow(
        values=("total", *([""] * (size - 1))),
        calls=sum(row.calls for row in rows),
        denied=sum(row.denied for row in rows),
        estimated=sum(row.estimated for row in rows),
        unknown=sum(row.unknown for row in rows),
        unpriced=sum(row.unpriced for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cost_nanousd=sum(row.cost_nanousd for row in rows),
        folded=sum(row.folded for row in rows),
    )


def _as_json(dimensions: Sequence[str], row: ReportRow) -> dict[str, object]:
    """Return a row for scripts."""
    values = [NOBODY if value is None else value for value in row.values]
    return {
        **dict(zip(dimensions, values, strict=True)),
        "calls": row.calls,
        "denied": row.denied,
        "estimated": row.estimated,
        "unknown": row.unknown,
        "unpriced": row.unpriced,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_nanousd": str(row.cost_nanousd),
        "folded": row.folded,
    }
