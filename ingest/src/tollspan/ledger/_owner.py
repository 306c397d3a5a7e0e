"""Who is alive: each process keeps a locked file, which the system unlocks when it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Generator
from pathlib import Path


class Owner:
    """This process as the owner of holds: a name, and a locked file that proves it is alive."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "run"
        for folder in (home, self._folder):  # one by one: parents would get the default mode
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.name = secrets.token_hex(8)
        self._path = self._folder / f"{self.name}.lock"
        self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except BaseException:
            self.leave()
            raise
        with contextlib.suppress(OSError):  # for people only, and a full disk takes nothing
            os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def leave(self) -> None:
        """Say goodbye: the lock goes, the file too."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        self.forget()

    def forget(self) -> None:
        """Close the file without unlocking it for others: what a forked child must do."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def is_alive(home: Path, name: str) -> bool:
    """Say whether the process that took this name still runs; True when in doubt."""
    path = home / "run" / f"{name}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        with contextlib.suppress(OSError):
            path.unlink()
        return False
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone(home: Path, what: str) -> Generator[bool]:
    """Say whether no other process does something; none may until the block ends, or it dies.

    Raises:
        OSError: The home takes no file.
    """
    folder = home / "run"
    for each in (home, folder):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / what, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            try:
                yield True
            finally:  # a child that was forked meanwhile has the file open too
                fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)
