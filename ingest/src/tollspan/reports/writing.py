"""Writes FOCUS rows to a file, as they come: CSV, or Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from itertools import islice
from typing import IO, Any, Final

import msgspec

from tollspan.usage import ConfigError

from .columns import COLUMNS, PRECISION, SCALE, FocusRow

_ROWS_AT_ONCE: Final = 4_096
_GROUP_ROWS: Final = 65_536


def write_csv(rows: Iterable[FocusRow], file: IO[str], *, with_header: bool = True) -> int:
    """Write rows; return how many. Null is an empty field, as FOCUS has it in CSV.

    Args:
        rows: Taken one after the other.
        file: Opened with `newline=""`.
        with_header: These are the first rows of the file.
    """
    writer = csv.writer(file, lineterminator="\r\n")
    if with_header:
        writer.writerow([name for name, _ in COLUMNS])
    count = 0
    for row in rows:
        writer.writerow([_text(value) for value in msgspec.structs.astuple(row)])
        count += 1
    return count


def write_parquet(rows: Iterable[FocusRow], file: IO[bytes]) -> int:
    """Write rows with exact decimals (`decimal128`); return how many.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    try:  # an extra, and without types
        pa: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise ConfigError("Parquet needs pyarrow: pip install 'tollspan[parquet]'") from None
    kinds: dict[str, Any] = {
        "text": pa.string(),
        "time": pa.timestamp("us", tz="UTC"),
        "decimal": pa.decimal128(PRECISION, SCALE),
    }
    schema = pa.schema([(name, kinds[kind]) for name, kind in COLUMNS])
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in _batches(rows):
            columns = zip(*map(msgspec.structs.astuple, batch), strict=True)
            arrays = [
                pa.array(values, type=field.type)
                for values, field in zip(columns, schema, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema), row_group_size=_GROUP_ROWS)
            count += len(batch)
    return count


def _batches(rows: Iterable[FocusRow]) -> Iterator[list[FocusRow]]:
    left = iter(rows)
    while batch := list(islice(left, _ROWS_AT_ONCE)):
        yield batch


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return _harmless(str(value))


def _harmless(text: str) -> str:
    """Keep a spreadsheet from running what a client named a customer: `=HYPERLINK(…)`."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
