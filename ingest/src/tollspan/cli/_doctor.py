"""`tollspan doctor` and `tollspan ledger rebuild`: what works, what does not, and the way out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from tollspan.budget import read_rules
from tollspan.launch import Settings, read_settings
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger, rebuild, rescued_files
from tollspan.pricing import PriceBook
from tollspan.usage import LedgerError, TollspanError, rfc3339, usd

_GOOD, _LOOK, _BAD = "ok  ", "look", "BAD "
Finding = tuple[str, str]


def doctor(parsed: argparse.Namespace) -> int:  # noqa: ARG001 - argparse's signature
    """Print findings; exit code 1 when something is bad."""
    settings = read_settings()
    worst = 0
    for mark, text in _findings(settings):
        print(f"{mark}  {text}")
        worst = max(worst, 1 if mark == _BAD else 0)
    return worst


def rebuild_ledger(parsed: argparse.Namespace) -> int:  # noqa: ARG001 - argparse's signature
    """Make the ledger anew from its events and from what was put aside."""
    path = read_settings().home / LEDGER_FILE
    done = rebuild(path)
    print(f"rebuilt {path} from {done.events} events")
    if done.unreadable:
        print(f"{done.unreadable} events could not be read")
    if done.old_path is not None:
        print(f"the old file is {done.old_path}")
    ledger = SQLiteLedger(path.parent)
    try:
        print(f"{ledger.take_rescued()} events that were put aside were added")
    finally:
        ledger.close()
    return 1 if done.unreadable else 0


def _findings(settings: Settings) -> Iterator[Finding]:
    yield from _rules(settings)
    yield from _prices(settings)
    yield from _providers()
    yield from _ledger(settings)


def _rules(settings: Settings) -> Iterator[Finding]:
    if settings.document is None:
        yield _LOOK, "rules: no tollspan.yaml found: calls are metered, nothing is denied"
        return
    try:
        rules = read_rules(settings.document)
    except TollspanError as error:
        yield _BAD, f"rules: {error}; calls are denied until it is mended"
        return
    yield _GOOD, f"rules: {len(rules.budgets)} budgets in {settings.document}"


def _prices(settings: Settings) -> Iterator[Finding]:
    try:
        book = PriceBook.load(settings.prices)
    except TollspanError as error:
        yield _BAD, f"prices: {error}"
        return
    yield _GOOD, f"prices: book {book.book_id}"


def _providers() -> Iterator[Finding]:
    try:
        found = version("openai")
    except PackageNotFoundError:
        yield _LOOK, "openai: not installed in this Python"
        return
    yield (
        _GOOD,
        (
            f"openai {found}: chat.completions.create is gated, metered and priced; "
            "other methods are not yet"
        ),
    )


def _ledger(settings: Settings) -> Iterator[Finding]:
    path = settings.home / LEDGER_FILE
    ledger = SQLiteLedger(settings.home)
    try:
        ledger.open()
        ledger.sweep()
    except LedgerError as error:
        yield _BAD, f"ledger: {error}"
        return
    finally:
        ledger.close()
    yield _GOOD, f"ledger: {path}"
    for file in rescued_files(settings.home):
        yield (
            _LOOK,
            f"ledger: events wait in {file}; a running program or `ledger rebuild` adds them",
        )
    reader = LedgerReader(path)
    unresolved = [hold for hold in reader.open_holds() if hold.is_unresolved]
    if unresolved:
        total = usd(sum(hold.amount_nanousd for hold in unresolved))
        yield (
            _LOOK,
            f"budgets: {len(unresolved)} holds of dead processes count as unresolved ({total})",
        )
    for sighting in reader.sightings():
        yield (
            _LOOK,
            (
                f"{sighting.kind.replace('_', ' ')}: {sighting.name}, {sighting.count} times, "
                f"last {rfc3339(sighting.last_unix_ns)[:19]}"
            ),
        )
