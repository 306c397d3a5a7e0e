"""`tollspan doctor` and `tollspan ledger rebuild`: what works, what does not, and the way out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from opentelemetry.instrumentation.dependencies import get_dependency_conflicts

from tollspan.budget import read_rules
from tollspan.launch import (
    SDKS,
    AnthropicInstrumentor,
    MCPInstrumentor,
    OpenAIInstrumentor,
    Settings,
    load_prices,
    read_settings,
)
from tollspan.ledger import (
    LEDGER_FILE,
    LedgerReader,
    Sighting,
    SQLiteLedger,
    rebuild,
    rescued_files,
)
from tollspan.usage import LedgerError, TollspanError, rfc3339

_GOOD, _LOOK, _BAD = "ok  ", "look", "BAD "
Finding = tuple[str, str]
_SUPPORTED = {
    one.supported.partition(" ")[0]: one.supported
    for one in (OpenAIInstrumentor, AnthropicInstrumentor, MCPInstrumentor)
}
_MCP = "mcp"


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
        book = load_prices(settings)
    except TollspanError as error:
        yield _BAD, f"prices: {error}"
        return
    own = "" if settings.prices is None else f", with your own prices of {settings.prices}"
    yield _GOOD, f"prices: book {book.book_id}{own}"


def _providers() -> Iterator[Finding]:
    for sdk in SDKS:
        methods = sum(len(path.methods) for path in sdk.paths if not path.shape().is_free)
        yield _package(sdk.package, f"{methods} methods")
    yield _package(_MCP, "calls of tools")


def _package(package: str, what: str) -> Finding:
    """Say of an installed package whether what it does is gated."""
    try:
        found = version(package)
    except PackageNotFoundError:
        return _LOOK, f"{package}: not installed in this Python"
    supported = _SUPPORTED[package]
    versions = supported.partition(" ")[2]
    if get_dependency_conflicts([supported]) is not None:
        text = f"not a supported version ({versions}); nobody has tested whether it is gated"
        return _LOOK, f"{package} {found}: {text}"
    text = f"{what} gated, metered and priced; see docs/reference/providers.md"
    return _GOOD, f"{package} {found} (supported: {versions}): {text}"


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
        calls = len({hold.call_id for hold in unresolved})
        yield (
            _LOOK,
            f"budgets: what {calls} calls of dead processes may have used counts as unresolved",
        )
    for sighting in reader.sightings():
        yield _LOOK, _sighted(sighting)


def _sighted(sighting: Sighting) -> str:
    """Say what happened that should not: a request past the gate, or a change in the SDK."""
    last = f"{sighting.count} times, last {rfc3339(sighting.last_unix_ns)[:19]}"
    if sighting.kind == "past_the_gate" and " POST " not in sighting.name:
        return f"not metered yet: {sighting.name.partition(' ')[2]}, {last}"
    return f"{sighting.kind.replace('_', ' ')}: {sighting.name}, {last}"
