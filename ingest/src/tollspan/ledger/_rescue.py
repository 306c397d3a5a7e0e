"""Where events go that the ledger can't take: a file beside it, else one in the temp folder.

One JSON event a line, written with one system call, so that it survives the death of the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import tempfile
import threading
import time
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


def _folders(home: Path, *, make: bool = False) -> tuple[Path, ...]:
    """Name the home and, if nobody else can write there, a place in the temp folder."""
    ours = Path(tempfile.gettempdir()) / f"tollspan-{os.getuid()}"
    try:
        if make:
            ours.mkdir(mode=0o700, exist_ok=True)
        found = ours.lstat()
    except OSError:
        return (home,)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        return (home,)
    return home, ours / hashlib.sha256(os.fsencode(home)).hexdigest()[:16]


class Rescue:
    """Keeps events while the ledger can't, and hands them over when it can again."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._handing_over = threading.Lock()
        self._in_memory: list[Event] = []
        self.dropped = 0

    def keep(self, event: Event, owner: str) -> None:
        """Keep an event: on a disk that takes it, else in memory until one does. Never raises."""
        line = encode_event(event) + b"\n"
        with self._lock:
            for folder in _folders(self._home, make=True):
                if _append(folder, f"{_PREFIX}{owner}{_SUFFIX}", line):
                    return
            if len(self._in_memory) < _KEEP_IN_MEMORY:
                self._in_memory.append(event)
                return
            self.dropped += 1
        _logger.error("tollspan can't keep this event anywhere: %s", line.decode().rstrip())

    @property
    def is_in_memory(self) -> bool:
        """Whether events wait that would end with this process."""
        return bool(self._in_memory)

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
        with self._handing_over:
            return self._hand_over_all(owner, store)

    def _hand_over_all(self, owner: str, store: Callable[[list[Event]], None]) -> int:
        count = self._hand_over_memory(store)
        for path in self._waiting(owner):
            claimed = path
            if not path.name.endswith(f".{owner}{_CLAIMED}"):
                # A name of its own: a file that could not be handed over yet may still be there.
                stem = path.name.split(".")[0]
                claimed = path.with_name(f"{stem}.{time.time_ns()}.{owner}{_CLAIMED}")
                try:
                    # Under the lock: no event of ours may be on its way into a file that is taken.
                    with self._lock:
                        path.rename(claimed)
                except OSError:
                    continue
            count += self._hand_over_file(claimed, store)
        return count

    def _hand_over_memory(self, store: Callable[[list[Event]], None]) -> int:
        with self._lock:
            events, self._in_memory = self._in_memory, []
        if not events:
            return 0
        try:
            store(events)
        except LedgerError:
            with self._lock:
                self._in_memory[:0] = events
            raise
        return len(events)

    def last_words(self) -> None:
        """At exit, log what is only in memory: the log is the last place left."""
        with self._lock:
            events, self._in_memory = self._in_memory, []
        for event in events:
            _logger.critical("tollspan could not store: %s", encode_event(event).decode())

    def _waiting(self, owner: str) -> list[Path]:
        found: list[Path] = []
        for folder in _folders(self._home):
            for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
                name = path.name[len(_PREFIX) : -len(_SUFFIX)]
                if name == owner or not is_alive(self._home, name):
                    found.append(path)
            for path in folder.glob(f"{_PREFIX}*{_CLAIMED}"):
                name = path.name.rsplit(".", 2)[1]
                if name == owner or not is_alive(self._home, name):
                    found.append(path)
        return found

    def _hand_over_file(self, claimed: Path, store: Callable[[list[Event]], None]) -> int:
        """Store a file's events; where that fails it stays claimed, and is taken again later."""
        events, torn = _read(claimed)
        store(events)
        if torn:
            with contextlib.suppress(OSError):
                claimed.with_suffix(".torn").write_bytes(b"\n".join(torn) + b"\n")
            _logger.error("tollspan can't read %d lines of %s; see its .torn", len(torn), claimed)
        claimed.unlink(missing_ok=True)
        return len(events)


def _append(folder: Path, name: str, line: bytes) -> bool:
    """Append one line in one system call; False when it did not go in whole."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(
            folder / name, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600
        )
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
