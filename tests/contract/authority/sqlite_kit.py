"""The SQLite authority of a server, for the contract: two processes' worth of clients of a file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.contract.authority.kits import SETTINGS
from tollspan.budget import SharedAuthority
from tollspan.ledger import SharedFile, SQLiteAuthority


class SQLiteKit:
    """A file with nothing in it but what another tenant has, and a clock that a test sets."""

    largest = 1 << 62

    def __init__(self, home: Path) -> None:
        self._path = home / "authority.db"
        self._copy = home / "copy"
        self._ahead = 0
        self._files: list[SharedFile] = []
        self.authority: SharedAuthority = self.other()
        self.authority.open_epoch()

    def other(self) -> SharedAuthority:
        file = SharedFile(self._path)
        self._files.append(file)
        return SQLiteAuthority(file, "acme", SETTINGS, clock=lambda: time.time_ns() + self._ahead)

    def advance(self, seconds: float) -> None:
        self._ahead += int(seconds * 1_000_000_000)

    def backup(self) -> None:
        self._replace(self._path, self._copy)

    def restore(self) -> None:
        self._replace(self._copy, self._path)

    def lose(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _replace(self, source: Path, target: Path) -> None:
        self.close()  # the last one to close a file leaves no log beside it
        shutil.copy(source, target)


@contextmanager
def sqlite_kit(home: Path) -> Iterator[SQLiteKit]:
    kit = SQLiteKit(home)
    try:
        yield kit
    finally:
        kit.close()
