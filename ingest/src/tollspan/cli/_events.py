"""`tollspan events`: calls and refusals, one by one; and following them as they come."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

from tollspan.launch import ledger_home_in_force
from tollspan.ledger import LEDGER_FILE, EventTail, LedgerReader
from tollspan.usage import Event, UsageEvent, format_usd, rfc3339

from ._arguments import FILTERS
from ._event_line import event_line
from ._terminal import (
    GAP,
    Cell,
    Column,
    Style,
    Value,
    columns_that_fit,
    has_looks,
    plain,
    print_json_line,
    print_line,
    print_table,
)

NOBODY = "unattributed"
"""What is shown where nobody said whom a call was for."""
_NEWEST_IN_TABLE = 50
_LOOK_SECONDS = 0.2
_COLUMNS = (
    Column("time"),
    Column("customer"),
    Column("model", is_wide=True),
    Column("outcome"),
    Column("in", is_number=True, may_go=True),
    Column("out", is_number=True, may_go=True),
    Column("cost USD", is_number=True),
    Column("call", may_go=True),
)
# While events come in, nobody knows the widest: these are wide enough for most.
_FOLLOWED_WIDTHS = (19, 12, 28, 9, 8, 7, 12, 32)
_OUTCOME_STYLES: dict[str, Style] = {"ok": "good", "denied": "bad", "error": "bad"}


def events(parsed: argparse.Namespace) -> int:
    """Show calls and refusals, oldest first."""
    reader = LedgerReader(ledger_home_in_force() / LEDGER_FILE)
    where = wanted(parsed)
    if parsed.follow and parsed.until is not None:
        sys.stderr.write("tollspan events: --follow has no end: leave --until out\n")
        return 2
    if parsed.follow:
        return _follow(reader, where, parsed)
    newest: int | None = parsed.newest
    if parsed.json:
        for event in reader.events(
            since_unix_ns=parsed.since, until_unix_ns=parsed.until, newest=newest, where=where
        ):
            print_json_line(event_line(event))
        return 0
    found = list(
        reader.events(
            since_unix_ns=parsed.since,
            until_unix_ns=parsed.until,
            newest=(newest or _NEWEST_IN_TABLE) + 1,
            where=where,
        )
    )
    shown = found[-(newest or _NEWEST_IN_TABLE) :]
    print_table(_COLUMNS, [_row(event) for event in shown])
    if newest is None and len(found) > len(shown):
        sys.stdout.flush()
        sys.stderr.write(
            f"tollspan events: only the {len(shown)} newest are shown; -n shows more, "
            "--since and --customer choose, --json prints all\n"
        )
    return 0


def wanted(parsed: argparse.Namespace) -> dict[str, str | None]:
    """Return the filter of the options: dimension → value; `unattributed` stands for none."""
    named: dict[str, str | None] = {
        name: getattr(parsed, name) for name in FILTERS if getattr(parsed, name) is not None
    }
    named.update(parsed.tag)
    return {name: None if value == NOBODY else value for name, value in named.items()}


def _follow(
    reader: LedgerReader, where: Mapping[str, str | None], parsed: argparse.Namespace
) -> int:
    tail = EventTail(reader, where=where, since_unix_ns=parsed.since)
    newest = parsed.newest if parsed.newest is not None else 0 if parsed.since == 0 else sys.maxsize
    first = tail.start(newest=newest)
    if not parsed.json:
        _print_followed(tuple(column.title for column in _COLUMNS))
    _show(first, is_json=parsed.json)
    while True:
        time.sleep(_LOOK_SECONDS)
        _show(tail.new(), is_json=parsed.json)


def _show(found: Iterable[Event], *, is_json: bool) -> None:
    for event in found:
        if is_json:
            print_json_line(event_line(event))
        else:
            _print_followed(_row(event))
    sys.stdout.flush()


def _print_followed(row: Sequence[Value]) -> None:
    screen = shutil.get_terminal_size().columns if has_looks() else sys.maxsize
    parts: list[Value] = []
    for number in columns_that_fit(_COLUMNS, _FOLLOWED_WIDTHS, screen):
        value, width = row[number], _FOLLOWED_WIDTHS[number]
        cell = value if isinstance(value, Cell) else Cell(str(value))
        text = plain(cell.text)
        padded = text.rjust(width) if _COLUMNS[number].is_number else text.ljust(width)
        parts += [Cell(padded, cell.style), " " * GAP]
    print_line(*parts[:-1])


def _row(event: Event) -> tuple[Value, ...]:
    call = event.call
    started = rfc3339(call.started_at_unix_ns)[:19].replace("T", " ")
    customer = _or_unattributed(call.attribution.customer)
    call_id = Cell(call.id, "quiet")
    if not isinstance(event, UsageEvent):
        model = call.request.model
        became = Cell("denied", "bad") if event.warning is None else Cell("warned", "warning")
        return (started, customer, model, became, "", "", "0", call_id)
    usage = event.usage
    about = "~" if usage is not None and usage.status == "estimated" else ""
    known = usage is not None and usage.status != "unknown"
    amount = event.cost.amount_nanousd
    status = event.outcome.status
    return (
        started,
        customer,
        event.outcome.response.model or call.request.model,
        Cell(status, _OUTCOME_STYLES.get(status, "warning")),
        f"{about}{usage.input_tokens}" if usage is not None and known else "?" if usage else "-",
        f"{about}{usage.output_tokens}" if usage is not None and known else "?" if usage else "-",
        f"{about}{format_usd(amount, places=6)}"
        if amount is not None
        else Cell(event.cost.status, "warning"),
        call_id,
    )


def _or_unattributed(value: str | None) -> Value:
    return Cell(NOBODY, "quiet") if value is None else value
