"""The SQLite authority: accounts and leases of many hosts and tenants in one file of a server.

It decides as the authority in memory does, in steps: each is one transaction, durable when it is
answered, with the file's own lock from its beginning. So several processes may have the file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from tollspan.budget import LeaseSettings, StateAuthority
from tollspan.usage import LedgerError, LedgerUnavailableError

from ._session import ledger_error
from ._shared_state import SQLiteState
from ._shared_tables import TABLES, VERSION
from .inspecting import ServerReport

_DEFAULTS: Final = LeaseSettings()
_BUSY_SECONDS: Final = 5.0
_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # whoever was answered forgets what it asked
    "PRAGMA temp_store = MEMORY",
)


class SharedFile:
    """A file with the authorities of many tenants. Safe for threads; one step at a time.

    Args:
        path: Made when it is missing, for this user alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    def run(self, statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        """Run a statement within a step."""
        assert self._connection is not None
        return self._connection.execute(statement, values)

    def begin(self) -> None:
        """Begin a step, once nobody else is in one.

        Raises:
            LedgerUnavailableError: The file can't be used.
        """
        self._lock.acquire()
        try:
            if self._connection is None:
                self._connection = self._open()
            self._connection.execute("BEGIN IMMEDIATE")
        except (sqlite3.Error, OSError) as error:
            self._give_up()
            self._lock.release()
            raise ledger_error(error, self.path) from error

    def commit(self) -> None:
        """End a step, and keep what it has changed.

        Raises:
            LedgerUnavailableError: It can't be kept.
        """
        try:
            assert self._connection is not None
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._give_up()
            raise ledger_error(error, self.path) from error
        finally:
            self._lock.release()

    def abort(self) -> None:
        """End a step as if it had never been."""
        self._give_up()
        self._lock.release()

    def close(self) -> None:
        """Close the file; the next step opens it again."""
        with self._lock:
            self._give_up()

    def _give_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()  # and with it the transaction

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION:
            raise LedgerUnavailableError(
                f"{self.path} is of version {version}, this program keeps {VERSION}"
            )
        connection.execute("COMMIT")


class _Step:
    """Is held for each question of one tenant."""

    def __init__(self, file: SharedFile, state: SQLiteState) -> None:
        self._file = file
        self._state = state

    def __enter__(self) -> None:
        self._file.begin()
        try:
            self._state.begin()
        except BaseException as error:
            self._abort(error)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, LedgerError):
            self._abort(error)
            return
        try:
            self._state.finish()
        except BaseException as failure:
            self._abort(failure)
            raise
        self._file.commit()

    def _abort(self, error: BaseException) -> None:
        """Undo the step.

        Raises:
            LedgerUnavailableError: It was the file.
        """
        self._file.abort()
        if isinstance(error, sqlite3.Error):
            raise ledger_error(error, self._file.path) from error


class SQLiteAuthority(StateAuthority):
    """A shared authority of one tenant in a file. Safe for threads.

    Args:
        file: Where.
        tenant: Whose.
        settings: The life of leases and the horizon.
        clock: Unix time in nanoseconds.
    """

    def __init__(
        self,
        file: SharedFile,
        tenant: str,
        settings: LeaseSettings = _DEFAULTS,
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._file = file
        state = SQLiteState(file.run, tenant)
        super().__init__(state, _Step(file, state), settings, clock=clock)

    @property
    def place(self) -> str:
        """Where it is."""
        return f"sqlite:{self._file.path}"

    def inspect(self) -> ServerReport:
        """Say what keeps it.

        Raises:
            LedgerUnavailableError: The file can't be used.
        """
        asked_at = time.time_ns()
        self.epoch()
        now = self._clock()
        return ServerReport(
            server=f"SQLite {sqlite3.sqlite_version}",
            clock_unix_ns=now,
            asked_at_unix_ns=asked_at,
            answered_at_unix_ns=time.time_ns(),
            risks=(),
        )

    def close(self) -> None:
        """Close the file; the next question opens it again."""
        self._file.close()
