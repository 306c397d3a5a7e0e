"""Where events go that the ledger can't take: a file beside it, else one in the temp folder.

One JSON event a line, written with one system call, so that it survives the death of the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import secrets
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tollspan.usage import (
    Event,
    LedgerUnavailableError,
    decode_event,
    encode_event,
)

from ._files import inode
from ._owner import is_alive
from ._waiting import Waiting, count_waiting

_logger = logging.getLogger("tollspan.ledger")
_PREFIX, _SUFFIX, _CLAIMED = "rescue-", ".jsonl", ".claimed"
_KEEP_IN_MEMORY = 100_000
_OTHERS_WAIT_SECONDS = 5.0
_WRITERS_WAIT_SECONDS = 1.0
NO_EVENT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)
"""What reading or storing a line raises that is no event, or one with numbers beyond SQLite's."""


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
    try:  # where no folder takes a file, `gettempdir` says so
        ours = Path(tempfile.gettempdir()) / f"tollspan-{os.getuid()}"
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
        self._left_alone: set[str] = set()
        self.dropped = 0

    def keep(self, event: Event, owner: str) -> None:
        """Keep an event: on a disk that takes it, else in memory until one does. Never raises."""
        line = encode_event(event) + b"\n"
        with self._lock:
            for folder in _folders(self._home, make=True):
                if _append(folder / f"{_PREFIX}{owner}{_SUFFIX}", line):
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

    def waiting(self) -> Waiting:
        """Count what waits, in the files of every process of the home and in our memory."""
        with self._lock:
            in_memory = list(self._in_memory)
        return count_waiting(rescued_files(self._home), in_memory)

    def is_empty(self, home_owner: str) -> bool:
        """Say whether nothing of this process or of a dead one waits."""
        return not self._in_memory and not any(self._waiting(home_owner))

    def hand_over(self, owner: str, store: Callable[[list[Event]], None]) -> int:
        """Give everything that waits to `store`, which must keep all of it or raise.

        Files of dead processes are taken too. What can't be read stays in a `.torn` file; a file
        that can't be opened stays where it is.

        Returns:
            How many events were handed over.

        Raises:
            LedgerError: The ledger still can't take them; they stay where they are.
        """
        if not self._handing_over.acquire(timeout=_OTHERS_WAIT_SECONDS):
            raise LedgerUnavailableError("another thread hands over what was put aside")
        try:
            return self._hand_over_all(owner, store)
        finally:
            self._handing_over.release()

    def _hand_over_all(self, owner: str, store: Callable[[list[Event]], None]) -> int:
        count = self._hand_over_memory(store)
        for path in self._waiting(owner):
            try:
                count += self._hand_over_file(self._claim(path, owner), store)
            except OSError as error:
                self._leave_alone(path, error)
        return count

    def _hand_over_memory(self, store: Callable[[list[Event]], None]) -> int:
        """Store what only memory has; it goes from there when it is stored, not before."""
        with self._lock:
            events = list(self._in_memory)
        if events:
            for line in _store(events, store):
                _logger.error("tollspan can't store this event anywhere: %s", line.decode())
            with self._lock:
                del self._in_memory[: len(events)]
        return len(events)

    def _claim(self, path: Path, owner: str) -> Path:
        """Take a file, so that no other process does and no event goes into it any more.

        Raises:
            OSError: Another process was first, or still writes.
        """
        claimed = path
        if not path.name.endswith(f".{owner}{_CLAIMED}"):
            # A name of its own: a file that could not be handed over yet may still be there.
            stem = path.name.split(".")[0]
            claimed = path.with_name(f"{stem}.{secrets.token_hex(8)}.{owner}{_CLAIMED}")
            path.rename(claimed)
        _wait_for_writers(claimed)
        return claimed

    def _leave_alone(self, path: Path, error: OSError) -> None:
        """Say once of a file that it can't be taken: it must not stop the others."""
        stem = path.name.split(".")[0]
        if not isinstance(error, FileNotFoundError) and stem not in self._left_alone:
            self._left_alone.add(stem)
            _logger.error("tollspan can't take the events out of %s: %s", path, error)

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
        beyond = _store(events, store)
        torn += beyond
        if torn:
            claimed.with_suffix(".torn").write_bytes(b"\n".join(torn) + b"\n")
            _logger.error("tollspan can't read %d lines of %s; see its .torn", len(torn), claimed)
        claimed.unlink(missing_ok=True)
        return len(events) - len(beyond)


def _append(path: Path, line: bytes) -> bool:
    """Append one line in one system call; False when it did not go in whole."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while (is_in := _append_to_what_is_there(path, line)) is None:
            pass
    except OSError:
        return False
    return is_in


def _append_to_what_is_there(path: Path, line: bytes) -> bool | None:
    """Append a line, unless somebody takes the file away this instant: then None.

    Who takes it renames it first, and then waits for the locks: a line is either seen or not in it.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        except OSError:
            pass  # a file system without locks is still better than memory
        found = os.fstat(descriptor)
        if inode(path) != found.st_ino:
            return None
        if os.write(descriptor, line) == len(line):
            return True
        os.ftruncate(descriptor, found.st_size)
        return False
    finally:
        _unlock_and_close(descriptor)


def _wait_for_writers(path: Path) -> None:
    """Wait until nobody is about to append to a file that was renamed.

    Raises:
        OSError: It can't be opened, is no file, or somebody takes too long.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    give_up_at = time.monotonic() + _WRITERS_WAIT_SECONDS
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is no file")
        while not _lock_alone(descriptor):
            if time.monotonic() >= give_up_at:
                raise OSError(errno.EBUSY, "is written by somebody for too long")
            time.sleep(0.001)
    finally:
        _unlock_and_close(descriptor)


def _lock_alone(descriptor: int) -> bool:
    """Say whether nobody else has a lock; True where the file system has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _unlock_and_close(descriptor: int) -> None:
    """Let go of a file; a child that was forked meanwhile has it too, so closing would not do."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _store(events: list[Event], store: Callable[[list[Event]], None]) -> list[bytes]:
    """Store events; return the lines of those that have numbers no ledger can take."""
    try:
        store(events)
    except OverflowError:
        return [line for event in events for line in _store_alone(event, store)]
    return []


def _store_alone(event: Event, store: Callable[[list[Event]], None]) -> list[bytes]:
    try:
        store([event])
    except OverflowError:
        return [encode_event(event)]
    return []


def _read(path: Path) -> tuple[list[Event], list[bytes]]:
    """Read the whole events of a rescue file, and the lines that are none."""
    events: list[Event] = []
    torn: list[bytes] = []
    for line in path.read_bytes().split(b"\n"):
        if not line.strip():
            continue
        try:
            events.append(decode_event(line))
        except NO_EVENT:
            torn.append(line)
    return events, torn
