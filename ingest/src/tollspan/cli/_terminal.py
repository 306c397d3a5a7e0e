"""What commands print: tables for people, with colours and bars on a terminal, and JSON.

Looks need the library `rich`, and a terminal. Everywhere else the same tables are plain text.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import IO, Literal, NamedTuple

import msgspec

Style = Literal["", "good", "warning", "bad", "quiet", "strong"]
_STYLES: dict[Style, str] = {
    "": "",
    "good": "green",
    "warning": "yellow",
    "bad": "bold red",
    "quiet": "dim",
    "strong": "bold",
}
_BAR_CELLS = 10
GAP = 2
_LEAST_WIDE = 24
_EIGHTHS = " ▏▎▍▌▋▊▉"
_JSON_INDENT = 2


class Cell(NamedTuple):
    """A text in a table, and how it looks."""

    text: str
    style: Style = ""


class Column(NamedTuple):
    """A column of a table; numbers stand at its right.

    Where a terminal is too narrow, columns that may go are left out, the last of them first, and
    the one that is wide wraps. One that is shown `if_any` is left out where all of it is empty.
    """

    title: str
    is_number: bool = False
    is_wide: bool = False
    may_go: bool = False
    if_any: bool = False


class Bar(NamedTuple):
    """How much of something is used, as a share (may exceed 1); None where nobody can say."""

    share: float | None
    style: Style = ""


Value = str | Cell | Bar


def has_looks(stream: IO[str] | None = None) -> bool:
    """Say whether tables get colours, bars and lines here."""
    out = sys.stdout if stream is None else stream
    if os.environ.get("TERM") == "dumb" or find_spec("rich") is None:
        return False
    return out.isatty() or bool(os.environ.get("FORCE_COLOR"))


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[Value]]) -> None:
    """Print rows under titles, columns aligned."""
    lines = [[_as_cell(value) for value in row] for row in rows]
    shown = [
        number
        for number, column in enumerate(columns)
        if not column.if_any or any(line[number].text for line in lines)
    ]
    titles = [columns[number] for number in shown]
    print_lines = _print_rich_table if has_looks() else _print_plain_table
    print_lines(titles, [[line[number] for number in shown] for line in lines])


def columns_that_fit(
    columns: Sequence[Column], widths: Sequence[int], screen: int
) -> tuple[int, ...]:
    """Return the columns that are shown on a screen so wide, each with a gap behind it."""
    shown = list(range(len(columns)))
    for number in reversed(range(len(columns))):
        if sum(widths[one] + GAP for one in shown) <= screen:
            break
        if columns[number].may_go:
            shown.remove(number)
    return tuple(shown)


def print_line(*parts: Value) -> None:
    """Print a line of text in pieces."""
    cells = [_as_cell(part) for part in parts]
    if not has_looks():
        print("".join(cell.text for cell in cells))
        return
    from rich.console import Console  # noqa: PLC0415 - 80 ms that a pipe does not need
    from rich.text import Text  # noqa: PLC0415

    text = Text()
    for cell in cells:
        text.append(cell.text, _STYLES[cell.style])
    Console(highlight=False, soft_wrap=True).print(text)


def print_json(value: object) -> None:
    """Print one JSON document, laid out for people."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=_JSON_INDENT).decode())
    sys.stdout.write("\n")


def print_json_line(value: object) -> None:
    """Print one JSON document in one line."""
    sys.stdout.write(f"{msgspec.json.encode(value).decode()}\n")


def plain(text: str) -> str:
    """Return a text whose every character prints: what would move a terminal's cursor is escaped.

    Names of models and customers come from programs, and may hold anything.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def prepare_streams() -> None:
    """Have output in UTF-8 whatever the locale, as JSON has to be."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="backslashreplace")


def _as_cell(value: Value) -> Cell:
    match value:
        case Bar(share, style):
            return Cell(_bar(share) if has_looks() else _percent(share), style)
        case Cell(text, style):
            return Cell(plain(text), style)
        case _:
            return Cell(plain(value))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{min(share, 9.99):.0%}"


def _bar(share: float | None) -> str:
    if share is None:
        return ""
    eighths = round(min(max(share, 0.0), 1.0) * _BAR_CELLS * 8)
    full, rest = divmod(eighths, 8)
    bar = ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(_BAR_CELLS, "░")
    return f"{bar} {_percent(share):>4}"


def _print_plain_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    lines = [[column.title for column in columns], *([cell.text for cell in row] for row in rows)]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]
    for number, line in enumerate(lines):
        cells = [
            text.rjust(width) if column.is_number else text.ljust(width)
            for column, text, width in zip(columns, line, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def _print_rich_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    from rich import box  # noqa: PLC0415 - 80 ms that a pipe does not need
    from rich.cells import cell_len  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    lengths = [
        max(len(column.title), *(cell_len(row[number].text) for row in rows), 0)
        for number, column in enumerate(columns)
    ]
    least = [
        min(length, _LEAST_WIDE) if column.is_wide else length
        for column, length in zip(columns, lengths, strict=True)
    ]
    shown = columns_that_fit(columns, least, console.width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for number in shown:
        column = columns[number]
        table.add_column(
            Text(column.title),
            justify="right" if column.is_number else "left",
            overflow="fold",
            no_wrap=not column.is_wide,
        )
    for row in rows:
        table.add_row(*(Text(row[number].text, _STYLES[row[number].style]) for number in shown))
    # What fits nowhere is wrapped by the terminal, as plain text would be.
    console.width = max(console.width, sum(least[number] + GAP for number in shown))
    console.print(table)
