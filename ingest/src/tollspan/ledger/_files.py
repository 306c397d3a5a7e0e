"""The ledger's files: made, opened and moved so that no process takes another's log for its own."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import os
import random
import sqlite3
import stat
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

from tollspan.usage import LedgerUnavailableError

SUFFIXES = ("", "-wal", "-shm")
READY = ".ready"
"""What the name of a moved ledger has in addition for the file that is to take its place."""
_BUSY_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_FIRST_PAUSE_SECONDS = 20e-6
_LONGEST_PAUSE_SECONDS = 1e-3
_LEAST_TRIES = 12
_Result = TypeVar("_Result")


def is_busy(error: Exception) -> bool:
    """Say whether somebody else has the file, and nothing worse."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY_CODES


def patiently(action: Callable[[], _Result], wait_seconds: float, path: Path) -> _Result:
    """Do something that needs the file for itself, again and again while others have it.

    Where the CPU is short, time goes by without a try: it is not given up before some were made.

    Raises:
        LedgerUnavailableError: Others had it all the time.
    """
    give_up_at = time.monotonic() + wait_seconds
    pause = _FIRST_PAUSE_SECONDS
    for tries in itertools.count(1):
        try:
            return action()
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            if tries >= _LEAST_TRIES and time.monotonic() >= give_up_at:
                raise LedgerUnavailableError(
                    f"{path} is locked by other processes for {wait_seconds} s"
                ) from error
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
    raise AssertionError("counting has no end")


def inode(path: Path) -> int:
    """Return a file's number in its file system; 0 when there is no such file."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def connect(path: Path, wait_seconds: float) -> tuple[sqlite3.Connection, int]:
    """Open a ledger's file; make an empty one, readable by its owner only, when there is none.

    Returns:
        The connection, and the number of the file that was there before it was opened.

    Raises:
        sqlite3.Error, OSError, LedgerUnavailableError: It can't be opened or made.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with exclusively(path, wait_seconds):
            _create(path)
    number = inode(path)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",  # never make one here: it was moved this instant
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    return connection, number


@contextlib.contextmanager
def exclusively(path: Path, wait_seconds: float) -> Generator[None]:
    """Make or move a ledger's files while no other process does.

    Raises:
        LedgerUnavailableError: Another process did, all the time.
    """
    descriptor = os.open(
        path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600
    )
    give_up_at = time.monotonic() + wait_seconds
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= give_up_at:
                    raise LedgerUnavailableError(
                        f"another process makes or moves {path} for {wait_seconds} s"
                    ) from error
            time.sleep(_LONGEST_PAUSE_SECONDS)
        yield
    finally:
        # A child that was forked meanwhile has the descriptor too: closing ours would not do.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def keep_open(connection: sqlite3.Connection) -> None:
    """Let nothing ever close a connection, not even the interpreter's end.

    A forked child must not close what its parent uses (SQLite, "How To Corrupt", section 2.6).
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def change_places(ready: Path, path: Path, old: Path) -> None:
    """Put a finished file in a ledger's place, and the ledger's files under another name.

    The caller is alone. If it is killed at it, whoever finds no ledger goes on.
    """
    for suffix in SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{old}{suffix}")
    os.rename(ready, path)


def go_on_changing_places(path: Path) -> None:
    """Finish what somebody was killed at who had moved the ledger away; the caller is alone."""
    if path.exists():
        return
    for ready in path.parent.glob(f"{path.name}.*{READY}"):
        if moved(ready).exists():
            change_places(ready, path, moved(ready))
            return


def moved(ready: Path) -> Path:
    """Name the file that a finished one is to take the place of, once that was moved."""
    return ready.with_name(ready.name.removesuffix(READY))


def _create(path: Path) -> None:
    """Make an empty file; the caller is alone.

    Side files of a ledger that was deleted would be mixed up with the new one: they go first.
    """
    go_on_changing_places(path)
    if path.exists():
        return
    for suffix in SUFFIXES[1:]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, stat.S_IRUSR | stat.S_IWUSR))
