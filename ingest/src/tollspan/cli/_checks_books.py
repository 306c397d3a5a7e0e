"""The doctor looks at the disk, the ledger, the clock, and what the ledger has seen."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tollspan.launch import Settings, book_in_force, shipper_of
from tollspan.ledger import (
    FOLDED_UNSENT,
    LEDGER_FILE,
    NETWORK_FILE_SYSTEMS,
    LedgerReader,
    Sighting,
    SQLiteLedger,
    file_system,
    rescued_files,
)
from tollspan.pricing import inspect_book
from tollspan.usage import LedgerCorruptError, LedgerError, TollspanError, format_amount, rfc3339

from ._checks import Check, Patient, good, many, problem, warning

_MIB = 1 << 20
_LITTLE_BYTES, _TOO_LITTLE_BYTES = 512 * _MIB, 32 * _MIB
_CONTAINER_FILE_SYSTEMS = {"overlay", "aufs", "fuse-overlayfs"}
_MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs"}
_CLOCK_SLACK_NS = 120 * 1_000_000_000
_NS = 1_000_000_000
_MOST_NAMED = 5
_DAY_NS = 86_400 * _NS
_OLD_NS = 300 * _NS
_SEEN = {
    "past_the_gate": (
        "no request that may cost money went past the gate",
        "requests that may cost money went past the gate",
        "call it in a way that docs/reference/providers.md lists as gated",
    ),
    "not_metered": (
        "nothing was used that is known and not metered yet",
        "calls that are known and not metered yet",
        "docs/reference/providers.md says what is metered instead",
    ),
    "not_enforced": (
        "no instrumentor went on with a call that was refused",
        "calls went on though their spans were refused, and were paid for",
        "docs/reference/enforcement.md says which instrumentors stop, and which SDKs have a gate",
    ),
    FOLDED_UNSENT: (
        "no event was folded that no server has",
        "there was no room for each event by itself: they are in totals that keep every sum",
        "make TOLLSPAN_LEDGER_SIZE larger, or see why events are not sent: `tollspan outbox list`",
    ),
    "unwrapped": (
        "every method that tollspan wraps was found",
        "methods that tollspan wraps were not found in an SDK, and calls by them are not gated",
        "install a supported version of the SDK",
    ),
}
_BEFORE_INSTALL = "imported_before_install"


def _disk(patient: Patient) -> Iterator[Check]:
    home = patient.settings.ledger_home
    folder = next((one for one in (home, *home.parents) if os.path.isdir(one)), Path("/"))
    kind = file_system(folder)
    if os.path.exists(home) and not os.path.isdir(home):
        yield problem("disk", f"{home} is no folder", "set TOLLSPAN_HOME to a folder")
        return
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"?")
    except OSError as error:
        yield problem(
            "disk",
            f"{home} can't be {'written' if folder == home else 'made'} "
            f"({error.strerror or error}): `on_unavailable` decides",
            "set TOLLSPAN_HOME to a folder that the program's user may write",
        )
        return
    if kind in NETWORK_FILE_SYSTEMS:
        yield problem(
            "disk",
            f"{home} is on a network file system ({kind}), whose locks can't be trusted",
            "set TOLLSPAN_HOME to a local disk",
        )
        return
    yield good("disk", f"{home} can be written{f' ({kind})' if kind else ''}")
    yield _space(folder)
    yield _container(home, kind)


def _space(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    text = f"{free // _MIB:,} MiB are free"
    if free < _TOO_LITTLE_BYTES:
        return problem(
            "disk.space", f"{text}: the ledger will soon take no more", "make room on the disk"
        )
    if free < _LITTLE_BYTES:
        return warning("disk.space", text, "make room on the disk")
    return good("disk.space", text)


def _container(home: Path, kind: str) -> Check:
    if kind in _MEMORY_FILE_SYSTEMS:
        return warning(
            "disk.container",
            f"{home} is in memory ({kind}): every budget starts anew when the host does",
            "set TOLLSPAN_HOME to a folder on a disk",
        )
    if kind in _CONTAINER_FILE_SYSTEMS:
        return warning(
            "disk.container",
            f"{home} is on a container's own disk ({kind}): what was spent is forgotten, and every "
            "budget starts anew, when the container goes",
            "mount a volume, and set TOLLSPAN_HOME to a folder on it",
        )
    return good("disk.container", "the folder outlives containers")


def _books(patient: Patient) -> Iterator[Check]:
    home = patient.settings.ledger_home
    path = home / LEDGER_FILE
    if not os.path.exists(path):
        yield good("ledger", f"no program ran yet: the first one makes {path}")
        yield _clock(patient, None)
        return
    ledger = SQLiteLedger(home)
    reader = LedgerReader(path)
    try:
        ledger.open()
        ledger.sweep()
        yield good(
            "ledger",
            f"{path} opens: {many(len(reader.balances()), 'account')}, "
            f"{many(reader.highest_number(), 'event')}",
        )
        yield _room(reader, patient.settings.ledger_bytes)
        yield _rescued(home)
        yield from _shipping(patient.settings, ledger)
        yield _clock(patient, reader.newest_unix_ns())
        yield _unresolved(reader)
        yield from _sightings(reader.sightings())
    except LedgerError as error:
        is_damaged = isinstance(error, LedgerCorruptError)
        yield problem(
            "ledger",
            f"{error}; `on_unavailable` decides over calls until it works",
            "run `tollspan ledger rebuild`" if is_damaged else "see the checks of the disk",
        )
    finally:
        ledger.close()


def _room(reader: LedgerReader, most_bytes: int) -> Check:
    used = reader.used_bytes()
    text = f"{used // _MIB:,} MiB of {most_bytes // _MIB:,} MiB are used"
    if used > most_bytes:
        return warning(
            "ledger.room",
            f"{text}: events are folded into totals, which keep every sum",
            "make TOLLSPAN_LEDGER_SIZE larger, where each event is wanted by itself",
        )
    return good("ledger.room", text)


def _rescued(home: Path) -> Check:
    files = rescued_files(home)
    if files:
        return warning(
            "ledger.rescued",
            f"events wait in {', '.join(str(file) for file in files)}",
            "a running program adds them; so does `tollspan ledger rebuild`",
        )
    return good("ledger.rescued", "no event waits outside the ledger")


def _shipping(settings: Settings, ledger: SQLiteLedger) -> Iterator[Check]:
    """Say how sending to the ingest API goes, where events are sent."""
    shipper = shipper_of(settings, ledger)
    if shipper is None:
        return
    status = shipper.status()
    waits = status.waits
    count = 0 if waits is None else waits.count
    text = f"{many(count, 'event')} to send to {status.destination}"
    if status.problem is not None:
        yield warning("outbox", f"{text}: {status.problem}", "try `tollspan outbox send`")
    elif waits is not None and count and (waits.oldest_unix_ns or 0) < time.time_ns() - _OLD_NS:
        since = rfc3339(waits.oldest_unix_ns or 0)[:19]
        yield warning(
            "outbox",
            f"{text}, the oldest of {since}Z",
            "a running program sends them; so does `tollspan outbox send`",
        )
    else:
        yield good("outbox", text)
    if waits is not None and waits.dead:
        yield warning(
            "outbox.dead_letters",
            f"{many(waits.dead, 'event')} that {status.destination} refused for good",
            "see `tollspan outbox list`, then `tollspan outbox replay`",
        )


def _clock(patient: Patient, newest_unix_ns: int | None) -> Check:
    now = time.time_ns()
    if newest_unix_ns is not None and newest_unix_ns > now + _CLOCK_SLACK_NS:
        seconds = (newest_unix_ns - now) // _NS
        return problem(
            "clock",
            f"the newest event started at {rfc3339(newest_unix_ns)[:19]}Z, {seconds:,} s after "
            "this clock's now: the clock jumped back, or was ahead. Budgets' periods go by it",
            "set the clock right; periods that were charged by the wrong one stay as they are",
        )
    made = _book_date(patient)
    today = datetime.now(UTC).date().isoformat()
    if made is not None and today < made:
        return problem(
            "clock",
            f"it is {today} by this clock, which is before the price book was made ({made})",
            "set the clock right",
        )
    return good("clock", f"it is {rfc3339(now)[:19]}Z, after the newest event and the price book")


def _book_date(patient: Patient) -> str | None:
    try:
        return inspect_book(book_in_force(patient.settings)).date
    except TollspanError:  # the check of the prices says so
        return None


def _unresolved(reader: LedgerReader) -> Check:
    calls = {hold.call_id for hold in reader.open_holds() if hold.is_unresolved}
    unresolved = [balance for balance in reader.balances() if balance.unresolved]
    if unresolved or calls:
        texts = [
            f"{one.account.budget_id} {format_amount(one.unresolved, one.account.unit)}"
            for one in unresolved
        ]
        named = list(dict.fromkeys(texts))  # the accounts of a rolling window once
        amounts = ", ".join(named[:_MOST_NAMED])
        more = ", …" if len(named) > _MOST_NAMED else ""
        return warning(
            "budgets.unresolved",
            f"counted though nobody knows whether it was spent: {amounts}{more}; it is of "
            f"{len(calls)} calls whose processes died, and of calls that were not told whole",
            "`tollspan budgets --unresolved` lists the calls of dead processes; it stays counted",
        )
    return good("budgets.unresolved", "nothing is counted that may not have been spent")


def _sightings(seen: tuple[Sighting, ...]) -> Iterator[Check]:
    early = [_last(one) for one in seen if one.kind == _BEFORE_INSTALL]
    if early:
        yield good(
            "install.order",
            f"programs imported an SDK before tollspan was installed: {'; '.join(early)}. Clients "
            "made by then are gated all the same; only calls made before install() were not",
        )
    else:
        yield good("install.order", "tollspan was always installed before an SDK was imported")
    yield _modes([one for one in seen if one.kind == "mode"])
    for kind, (nothing, what, fix) in _SEEN.items():
        found = [_last(one) for one in seen if _kind(one) == kind]
        if found:
            yield warning(f"sightings.{kind}", f"{what}: {'; '.join(found)}", fix)
        else:
            yield good(f"sightings.{kind}", nothing)


def _modes(seen: list[Sighting]) -> Check:
    if not seen:
        return good("sightings.mode", "every program ran with the gate in force")
    text = f"programs ran with TOLLSPAN_MODE set: {'; '.join(map(_last, seen))}"
    if time.time_ns() - max(one.last_unix_ns for one in seen) < _DAY_NS:
        return warning("sightings.mode", text, "take the variable out where the incident is over")
    return good("sightings.mode", text)


def _kind(one: Sighting) -> str:
    """Return what was seen; a client that is left out goes past the gate by its name alone."""
    is_client = one.kind == "past_the_gate" and " POST " not in one.name
    return "not_metered" if is_client else one.kind


def _last(one: Sighting) -> str:
    name = one.name
    if one.kind == "past_the_gate" and " POST " not in name:
        name = name.partition(" ")[2]
    return f"{name}, {one.count} times, last {rfc3339(one.last_unix_ns)[:19]}Z"


CHECKS = (_disk, _books)
