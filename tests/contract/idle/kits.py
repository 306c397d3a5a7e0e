"""The authorities that the contract holds for, each with a clock that a test sets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from tests.contract.authority.kits import Kit as SharedKit
from tollspan.budget import MemoryLedger, Touch
from tollspan.ledger import SQLiteLedger


class Toucher(Protocol):
    """Who says which period an owner is in."""

    def touch(self, touch: Touch) -> str: ...


class IdleKit(Protocol):
    """An authority that nobody else uses."""

    def touch(self, touch: Touch) -> str:
        """Ask it."""
        ...

    def other(self) -> Toucher:
        """Return another client of the same authority."""
        ...

    def advance(self, seconds: float) -> None:
        """Put its clock forward, or back."""
        ...


class MemoryIdle:
    """The memory of one process."""

    def __init__(self) -> None:
        self._now = 0
        self.memory = MemoryLedger(clock=lambda: self._now)

    def touch(self, touch: Touch) -> str:
        return self.memory.touch(touch)

    def other(self) -> Toucher:
        return self.memory

    def advance(self, seconds: float) -> None:
        self._now += int(seconds * 1_000_000_000)


class SQLiteIdle:
    """The ledger of one host."""

    def __init__(self, home: Path) -> None:
        self._ahead = 0
        self.home = home
        self._opened: list[SQLiteLedger] = []
        self.sqlite = self.open()

    def open(self) -> SQLiteLedger:
        ledger = SQLiteLedger(self.home, wait_seconds=5, clock=lambda: time.time_ns() + self._ahead)
        self._opened.append(ledger)
        return ledger

    def touch(self, touch: Touch) -> str:
        return self.sqlite.touch(touch)

    def other(self) -> Toucher:
        return self.open()

    def advance(self, seconds: float) -> None:
        self._ahead += int(seconds * 1_000_000_000)

    def close(self) -> None:
        for ledger in self._opened:
            ledger.close()


class SharedIdle:
    """A shared authority."""

    def __init__(self, kit: SharedKit) -> None:
        self._kit = kit

    def touch(self, touch: Touch) -> str:
        return self._kit.authority.touch(touch)

    def other(self) -> Toucher:
        return self._kit.other()

    def advance(self, seconds: float) -> None:
        self._kit.advance(seconds)
