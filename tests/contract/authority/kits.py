"""The shared authorities that the contract holds for. A new one adds a kit here, and no tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import pytest

from tests.contract.authority.postgres_kit import postgres_kit
from tests.contract.authority.redis_kit import redis_kit
from tests.contract.authority.settings import FOREVER, SETTINGS
from tollspan.budget import MemoryAuthority, SharedAuthority

__all__ = ["FOREVER", "KITS", "SERVICES", "SETTINGS", "Kit"]


class Kit(Protocol):
    """A shared authority that nobody else uses, opened once.

    Attributes:
        authority: It.
        largest: The largest limit that it takes.
    """

    authority: SharedAuthority
    largest: int

    def other(self) -> SharedAuthority:
        """Return another client of the same store, as another host has it."""
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass for the authority."""
        ...

    def backup(self) -> None:
        """Keep a copy of all that the store knows."""
        ...

    def restore(self) -> None:
        """Put the copy in the place of what the store knows."""
        ...

    def lose(self) -> None:
        """Make the store lose everything."""
        ...


class MemoryKit:
    """The reference, in memory."""

    largest = 1 << 62

    def __init__(self) -> None:
        self._unix_ns = 1_795_348_800_000_000_000
        self._memory = MemoryAuthority(SETTINGS, clock=lambda: self._unix_ns)
        self.authority: SharedAuthority = self._memory
        self._nothing = self._memory.backup()
        self._copy = self._nothing
        self._memory.open_epoch()

    def other(self) -> SharedAuthority:
        return self._memory

    def advance(self, seconds: float) -> None:
        self._unix_ns += int(seconds * 1_000_000_000)

    def backup(self) -> None:
        self._copy = self._memory.backup()

    def restore(self) -> None:
        self._memory.restore(self._copy)

    def lose(self) -> None:
        self._memory.restore(self._nothing)


@contextmanager
def memory(request: pytest.FixtureRequest) -> Iterator[Kit]:
    yield MemoryKit()


KITS = {"memory": memory, "postgres": postgres_kit, "redis": redis_kit}
SERVICES = {"postgres", "redis"}
"""Those that need a server."""
