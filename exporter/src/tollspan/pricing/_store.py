"""Looks a price book over from end to end, tells which of two is newer, and puts one in place."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from datetime import date
from pathlib import Path

import msgspec

from tollspan.usage import TOKEN_BUCKETS, UNITS, PriceBookError

from . import _file
from ._rows import row_id

_HEAD = re.compile(rb'"book_id": ?"([0-9]{8})-[0-9a-f]{12}"')
_HEAD_BYTES = 512
_MINUTES_A_DAY = 1_440
_LAST_DAY = "9999"


class BookInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a price book is: its id, date (UTC, ISO), what it holds, and where that is from.

    `file_sha256` is that of the whole file, as `sha256sum` prints it.
    """

    book_id: str
    date: str
    file_sha256: str
    providers: int
    models: int
    rows: int
    sources: tuple[_file.Source, ...]


def inspect_book(path: Path | None = None) -> BookInfo:
    """Check every part of a book, and say what it holds.

    Args:
        path: Its file, or None for the one that ships with tollspan.

    Raises:
        PriceBookError: Something is wrong with it; the text names the place and the fix.
    """
    source = _file.SHIPPED if path is None else path
    book_id, body = _file.read(path)
    models = rows = 0
    for name in body.providers:
        part = _file.provider(body, name)
        if part is None:
            continue
        _check_names(name, part)
        for key in part.models:
            model = _file.model(part, key)
            _check_model(name, key, model, part, len(body.sources))
            models += 1
            rows += len(model.rows)
    for alias, name in body.aliases.items():
        if name not in body.providers:
            _fail(f"alias {alias}", f"it leads to {name!r}, which the book does not have")
    return BookInfo(
        book_id=book_id,
        date=body.date,
        file_sha256=hashlib.sha256(source.read_bytes()).hexdigest(),
        providers=len(body.providers),
        models=models,
        rows=rows,
        sources=body.sources,
    )


def newer_book(path: Path) -> Path | None:
    """Return a book's file, or None if the one that ships with tollspan is newer.

    Only their first bytes are read.

    Raises:
        PriceBookError: It can't be read, or says no date.
    """
    return path if _date(path) >= _date(_file.SHIPPED) else None


def store_book(data: bytes, path: Path) -> BookInfo:
    """Check a book and put it in place, at once and whole; nothing changes if it is no good.

    Args:
        data: The book's bytes.
        path: Where it goes; the folder is made when it is missing.

    Raises:
        PriceBookError: It is no book that this version can use, or can't be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        info = inspect_book(temporary)
        temporary.replace(path)
    except OSError as error:
        raise PriceBookError(f"price book {path}: can't be written: {error.strerror}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
    return info


def _date(path: Path) -> str:
    try:
        with path.open("rb") as file:
            found = _HEAD.search(file.read(_HEAD_BYTES))
    except OSError as error:
        raise PriceBookError(f"price book {path}: {error.strerror}") from error
    if found is None:
        raise PriceBookError(f"price book {path}: it says no date; remove it or update it anew")
    return found[1].decode()


def _check_names(provider: str, part: _file.Provider) -> None:
    for name, key in part.names.items():
        if key not in part.models:
            _fail(f"{provider}, name {name!r}", f"it leads to {key!r}, which is no model")
    for name in part.dated:
        if name not in part.names:
            _fail(f"{provider}, dated name {name!r}", "it is no name")


def _check_model(
    provider: str, key: str, model: _file.Model, part: _file.Provider, sources: int
) -> None:
    seen: list[_file.Row] = []
    for row in model.rows:
        place = row_id(provider, key, row)
        if not 0 <= row.source < sources:
            _fail(place, f"source {row.source} is not among the book's {sources}")
        if row.per < 1 or any(price < 0 for price in row.prices.values()):
            _fail(place, "a price is negative, or is for less than one token")
        unknown = [u for u in row.prices if u not in TOKEN_BUCKETS and u.split(":")[0] not in UNITS]
        if unknown:
            _fail(place, f"{unknown[0]!r} is no kind of token and no unit")
        _check_span(place, row)
        if any(_overlap(row, other) for other in seen):
            _fail(place, "another row holds for the same calls")
        seen.append(row)
    for region, there in model.regions.items():
        if isinstance(there, str) and there not in part.models:
            _fail(f"{provider}/{key}, region {region}", f"it leads to {there!r}, which is no model")
        if not isinstance(there, str) and (there[0] < 0 or there[1] < 1):
            _fail(f"{provider}/{key}, region {region}", "its factor is no ratio")


def _check_span(place: str, row: _file.Row) -> None:
    for day in (row.valid_from, row.valid_to):
        try:
            date.fromisoformat(day or "2026-01-01")
        except ValueError:
            _fail(place, f"{day!r} is no day")
    if (row.valid_from or "") >= (row.valid_to or _LAST_DAY):
        _fail(place, "it ends before it begins")
    if row.minutes is not None and not all(0 <= m < _MINUTES_A_DAY for m in row.minutes):
        _fail(place, f"{row.minutes} are no minutes of a day")


def _overlap(one: _file.Row, other: _file.Row) -> bool:
    if (one.tier, one.above, one.minutes) != (other.tier, other.above, other.minutes):
        return False
    start = max(one.valid_from or "", other.valid_from or "")
    return start < min(one.valid_to or _LAST_DAY, other.valid_to or _LAST_DAY)


def _fail(place: str, problem: str) -> None:
    raise PriceBookError(f"price book, {place}: {problem}; compile it anew")
