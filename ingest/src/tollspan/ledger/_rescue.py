"""Where events go that the ledger can't take: a file beside it, else one in the temp folder.

One JSON event a line, written with one system call, so that it survives the death of the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from tollspan.usage import Event, LedgerError, decode_event, encode_event

from ._owner import is_alive

_logger = logging.getLogger("tollspan.ledger")
_PREFIX, _SUFFIX, _CLAIMED = "rescue-", ".jsonl", ".claimed"
_KEEP_IN_MEMORY = 100_000


def rescued_files(home: Path) -> tuple[Path, ...]:
    """List the files in which events wait for the ledger of a home."""
    return tuple(
        path
        for folder in _folders(home)
        for path in sorted(folder.glob(f"{_PREFIX}*"))
        if path.suffix in (_SUFFIX, _CLAIMED)
    )


def _folders(home: Path) -> tuple[Path, ...]:
    spare = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return home, Path(tempfile.gettempdir()) / f"tollspan-{os.getuid()}" / spare


class Rescue:
    """Keeps events while the ledger can't, and hands them over when it can again."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._in_memory: list[Event] = []
        self.dropped = 0

    def folders(self) -> tuple[Path, ...]:
        """Name the places, best first."""
        return _folders(self._home)

    def keep(self, event: Event, owner: str) -> None:
        """Keep an event: on a disk that takes it, else in memory until one does. Never raises."""
        line = encode_event(event) + b"\n"
        with self._lock:
            for folder in self.folders():
                if _append(folder / f"{_PREFIX}{owner}{_SUFFIX}", line):
                    return
            if len(self._in_memory) < _KEEP_IN_MEMORY:
                self._in_memory.append(event)
                return
            self.dropped += 1
        _logger.error("tollspan can't keep this event anywhere: %s", line.decode().rstrip())

    def is_empty(self, home_owner: str) -> bool:
        """Say whether nothing of this process or of a dead one waits."""
        return not self._in_memory and not any(self._waiting(home_owner))

    def hand_over(self, owner: str, store: Callable[[list[Event]], None]) -> int:
        """Give everything that waits to `store`, which must keep all of it or raise.

        Files of dead processes are taken too. What can't be read stays in a `.torn` file.

        Returns:
            How many events were handed over.

        Raises:
            LedgerError: The ledger still can't take them; they stay where they are.
        """
        count = 0
        with self._lock:
            if self._in_memory:
                store(self._in_memory)
                count += len(self._in_memory)
                self._in_memory = []
        for path in list(self._waiting(owner)):
            claimed = path.with_suffix(f".{owner}{_CLAIMED}")
            try:
                path.rename(claimed)
            except OSError:
                continue
            count += self._hand_over_file(claimed, path, store)
        return count

    def last_words(self) -> None:
        """At exit, log what is only in memory: the log is the last place left."""
        for event in self._in_memory:
            _logger.critical("tollspan could not store: %s", encode_event(event).decode())

    def _waiting(self, owner: str) -> list[Path]:
        found: list[Path] = []
        for folder in self.folders():
            for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
                name = path.name[len(_PREFIX) : -len(_SUFFIX)]
                if name == owner or not is_alive(self._home, name):
                    found.append(path)
            for path in folder.glob(f"{_PREFIX}*{_CLAIMED}"):
                name = path.name.rsplit(".", 2)[1]
                if name == owner or not is_alive(self._home, name):
                    found.append(path)
        return found

    def _hand_over_file(
        self, claimed: Path, path: Path, store: Callable[[list[Event]], None]
    ) -> int:
        events, torn = _read(claimed)
        try:
            store(events)
        except LedgerError:
            if not path.exists():
                with contextlib.suppress(OSError):
                    claimed.rename(path)
            raise
        if torn:
            with contextlib.suppress(OSError):
                claimed.with_suffix(".torn").write_bytes(b"\n".join(torn) + b"\n")
            _logger.error("tollspan can't read %d lines of %s; see %s", len(torn), path, claimed)
        claimed.unlink(missing_ok=True)
        return len(events)


def _append(path: Path, line: bytes) -> bool:
    """Append one line in one system call; False when it did not go in whole."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        size = os.fstat(descriptor).st_size
        written = os.write(descriptor, line)
        if written != len(line):
            os.ftruncate(descriptor, size)
            return False
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def _read(path: Path) -> tuple[list[Event], list[bytes]]:
    """Read the whole events of a rescue file, and the lines that are none."""
    events: list[Event] = []
    torn: list[bytes] = []
    for line in path.read_bytes().split(b"\n"):
        if not line.strip():
            continue
        try:
            events.append(decode_event(line))
        except (msgspec.DecodeError, msgspec.ValidationError):
            torn.append(line)
    return events, torn
