"""The ledger's file as an auditor reads it: through a connection of its own, and by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tollspan.usage import Fact, decode_fact

Key = tuple[str, str, str, str]
Place = tuple[str, Key]
"""A lease, or a call that holds by itself, and an account."""
OPEN, UNRESOLVED = 0, 1


class Row(msgspec.Struct):
    """A row of the table of holds; a job's is neither open nor unresolved."""

    amount: int
    state: int


class File:
    """A ledger's file.

    Args:
        path: It; opened at the first look.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._last = 0

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    @contextmanager
    def one_instant(self) -> Generator[None]:
        """See what is there at one instant, whatever is looked at."""
        self._opened().execute("BEGIN")
        try:
            yield
        finally:
            self._opened().execute("COMMIT")

    def sums(self) -> dict[Key, tuple[int, int, int]]:
        """Return what each account has posted, held and unresolved."""
        rows = self._opened().execute(
            "SELECT budget_id, scope, period, unit, posted, held, unresolved FROM accounts"
        )
        return {(row[0], row[1], row[2], row[3]): (row[4], row[5], row[6]) for row in rows}

    def rows(self) -> dict[Place, Row]:
        """Return all holds."""
        rows = self._opened().execute(
            "SELECT call_id, budget_id, scope, period, unit, amount, state"
            " FROM holds JOIN accounts ON accounts.id = account_id"
        )
        return {
            (call_id, (budget_id, scope, period, unit)): Row(amount, state)
            for call_id, budget_id, scope, period, unit, amount, state in rows
        }

    def jobs(self) -> set[str]:
        """Return the calls that are jobs whose end nobody has told."""
        return {row[0] for row in self._opened().execute("SELECT call_id FROM jobs")}

    def news(self) -> Iterator[tuple[str, Fact]]:
        """Yield what was stored since the last time, by its id."""
        rows = self._opened().execute(
            "SELECT seq, id, data FROM events WHERE seq > ? ORDER BY seq", (self._last,)
        )
        for number, name, data in rows:
            self._last = number
            yield name, decode_fact(data)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            uri = f"{self._path.as_uri()}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        return self._connection
