"""`tollspan prices check` and `update`: are prices in order, and putting others in place."""

from __future__ import annotations

import argparse
import hashlib
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tollspan.launch import PINNED_BOOK, UPDATED_BOOK, Settings, book_in_force, read_settings
from tollspan.pricing import (
    BookInfo,
    Overrides,
    PriceBook,
    inspect_book,
    read_overrides,
    store_book,
)
from tollspan.usage import TOOL_PROVIDER, ConfigError, PriceBookError

_GOOD, _LOOK, _BAD = "ok  ", "look", "BAD "
_Finding = tuple[str, str, str]
_MOST_BYTES = 64 << 20
_FETCH_SECONDS = 30.0
_SHA256 = re.compile("[0-9a-f]{64}")


def check_prices(parsed: argparse.Namespace) -> int:
    """Look over a file, or the prices in force; exit code 1 when something is wrong."""
    settings = read_settings()
    findings = _check_file(parsed.file) if parsed.file else _check_all(settings)
    worst = 0
    for mark, subject, text in findings:
        worst = max(worst, int(mark == _BAD))
        if parsed.json:
            finding = {"finding": mark.strip().lower(), "subject": subject, "text": text}
            print(msgspec.json.encode(finding).decode())
        else:
            print(f"{mark}  {subject}: {text}")
    return worst


def _check_file(path: Path) -> Iterator[_Finding]:
    if path.suffix in {".yaml", ".yml"}:
        yield from _check_own(path, None)
    else:
        yield _check_book(path)


def _check_all(settings: Settings) -> Iterator[_Finding]:
    try:
        in_force = book_in_force(settings)
    except PriceBookError as error:
        yield _BAD, "price book", str(error)
        return
    yield _check_book(in_force)
    updated = settings.home / UPDATED_BOOK
    if in_force is None and updated.is_file():
        yield _LOOK, "price book", f"{updated} is older than the one that ships, and not used"
    if settings.prices is not None:
        yield from _check_own(settings.prices, in_force)


def _check_book(path: Path | None) -> _Finding:
    name = "the one that ships with tollspan" if path is None else str(path)
    try:
        info = inspect_book(path)
    except PriceBookError as error:
        return _BAD, "price book", str(error).removeprefix("price book ")
    return _GOOD, "price book", f"{name}: {_about(info)}"


def _about(info: BookInfo) -> str:
    sources = ", ".join(f"{source.name} {source.version}" for source in info.sources)
    return (
        f"{info.book_id}, {info.models:,} models of {info.providers} providers in {info.rows:,} "
        f"rows, from {sources or 'nowhere'}; sha256 of the file {info.file_sha256}"
    )


def _check_own(path: Path, in_force: Path | None) -> Iterator[_Finding]:
    try:
        own = read_overrides(path)
        book = PriceBook.load(in_force, own)
    except (ConfigError, PriceBookError) as error:
        yield _BAD, "your own prices", str(error)
        return
    models = sum(map(len, own.models.values()))
    aliases = sum(map(len, own.aliases.values()))
    yield _GOOD, "your own prices", f"{path}: {models} models and tools, {aliases} other names"
    yield from _look_over(own, book)


def _look_over(own: Overrides, book: PriceBook) -> Iterator[_Finding]:
    shipped = PriceBook.load()
    for provider in own.models:
        if provider != TOOL_PROVIDER and not shipped.has_provider(provider):
            text = f"{provider!r} is no provider of the book: its prices are yours alone"
            yield _LOOK, "your own prices", text
    for provider, aliases in own.aliases.items():
        for name, alias in aliases.items():
            if book.prices(alias.provider, alias.model) is None:
                target = f"{alias.provider}/{alias.model}"
                text = f"{provider}/{name} stands for {target}, which has no price"
                yield _LOOK, "your own prices", text


def update_prices(parsed: argparse.Namespace) -> int:
    """Check another price book, and put it where programs find it when they next start."""
    settings = read_settings()
    data = _fetch(parsed.origin, parsed.sha256)
    digest = hashlib.sha256(data).hexdigest()
    if parsed.sha256 is not None and digest != parsed.sha256.lower():
        raise PriceBookError(
            f"{parsed.origin}: its sha256 is {digest} and not {parsed.sha256}; nothing was changed"
        )
    running = inspect_book(book_in_force(settings))
    updated, pinned = settings.home / UPDATED_BOOK, settings.home / PINNED_BOOK
    candidate = settings.home / f"{UPDATED_BOOK}.new"
    info = store_book(data, candidate)
    try:
        if info.date < running.date and not parsed.force:
            raise PriceBookError(
                f"{parsed.origin}: its book {info.book_id} is older than {running.book_id}, which "
                "is in force; nothing was changed. --force takes it all the same"
            )
        place = pinned if info.date < running.date else updated
        candidate.replace(place)
        if place is updated:
            pinned.unlink(missing_ok=True)
    except OSError as error:
        raise PriceBookError(f"{settings.home}: can't be written: {error.strerror}") from error
    finally:
        candidate.unlink(missing_ok=True)
    if parsed.json:
        result = {"book_id": info.book_id, "replaces": running.book_id, "file": str(place)}
        print(msgspec.json.encode(result | {"sha256": digest}).decode())
    else:
        print(f"{place}: {_about(info)}")
        print(f"it replaces {running.book_id}; programs use it when they next start")
    return 0


def _fetch(origin: str, sha256: str | None) -> bytes:
    if sha256 is not None and not _SHA256.fullmatch(sha256.lower()):
        raise PriceBookError(f"--sha256 is {sha256!r}; expected 64 hexadecimal digits")
    if not re.match("[a-z]+://", origin):
        return _read(origin)
    if not origin.startswith(("https://", "http://")):
        raise PriceBookError(f"{origin}: only files, https and http are read")
    if sha256 is None:
        raise PriceBookError(f"{origin}: a URL needs --sha256, as its publisher states it")
    try:
        with urllib.request.urlopen(origin, timeout=_FETCH_SECONDS) as reply:  # noqa: S310 - checked
            data: bytes = reply.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise PriceBookError(f"{origin}: {error}") from error
    return _no_more_than_a_book(data, origin)


def _read(name: str) -> bytes:
    try:
        with Path(name).expanduser().open("rb") as file:
            return _no_more_than_a_book(file.read(_MOST_BYTES + 1), name)
    except (OSError, RuntimeError, ValueError) as error:
        raise PriceBookError(
            f"{name or '--from'}: {getattr(error, 'strerror', None) or error}"
        ) from error


def _no_more_than_a_book(data: bytes, origin: str) -> bytes:
    if len(data) > _MOST_BYTES:
        raise PriceBookError(f"{origin}: more than {_MOST_BYTES >> 20} MiB, which is no price book")
    return data
