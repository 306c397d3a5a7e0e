"""`tollspan focus`: costs as FOCUS rows, in a file or on standard output."""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tollspan.launch import book_in_force, load_prices, settings_in_force
from tollspan.pricing import PriceBook
from tollspan.reports import (
    FocusRow,
    FocusSettings,
    focus_rows,
    focus_rows_of,
    write_csv,
    write_parquet,
)
from tollspan.usage import ConfigError

from ._checks import many
from ._sources import central_costs, usage_events


def focus(parsed: argparse.Namespace) -> int:
    """Write rows; say on standard error how many, and how many of them have no known cost."""
    rows = _Rows(_rows(parsed))
    if parsed.output is None:
        written = _write(parsed.format, rows, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    else:
        written = _replace(parsed.output, parsed.format, rows)
    note = f"; of {rows.unknown:,} the cost is not known" if rows.unknown else ""
    sys.stderr.write(f"{many(written, 'row')} written{note}\n")
    return 0


def _rows(parsed: argparse.Namespace) -> Iterator[FocusRow]:
    settings = settings_in_force()
    published = PriceBook.load(book_in_force(settings)) if settings.prices is not None else None
    said = FocusSettings(
        billing_account_id=parsed.account,
        billing_account_name=parsed.account_name or parsed.account,
        invoice_issuer=parsed.issuer,
        sub_account=parsed.sub_account,
        grain=parsed.by,
    )
    book = load_prices(settings)
    if parsed.db is None:
        return focus_rows(usage_events(parsed), book, said, published=published)
    return focus_rows_of(central_costs(parsed, book, published), said)


class _Rows:
    """Rows as they come, and how many of them say that their cost is not known."""

    def __init__(self, rows: Iterator[FocusRow]) -> None:
        self._rows = rows
        self.unknown = 0

    def __iter__(self) -> Iterator[FocusRow]:
        for row in self._rows:
            self.unknown += row.x_CostBasis in {"unpriced", "unknown"}
            yield row


def _write(form: str, rows: _Rows, file: IO[bytes]) -> int:
    if form == "parquet":
        return write_parquet(rows, file)
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
    try:
        return write_csv(rows, text)
    finally:
        text.detach()


def _replace(path: Path, form: str, rows: _Rows) -> int:
    """Write a file in one piece: who reads it meanwhile sees the old one, or all of the new."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            try:
                written = _write(form, rows, file.file)
                file.close()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from error
    return written
