"""Opens the central ledger's database: where it is, how its connections behave, what it holds."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tollspan.ledger._files import patiently
from tollspan.usage import ConfigError, LedgerError, LedgerUnavailableError

from .migrations import migrate

_SQLITE: Final = "sqlite:"
_POSTGRESQL: Final = ("postgresql://", "postgres://")
_WAIT_SECONDS: Final = 8.0
"""For a lock or a connection: less than clients wait for an answer, so that they hear why."""
_PRAGMAS: Final = (
    "PRAGMA auto_vacuum = INCREMENTAL",  # of a file that is new: see `retention`
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # who sent an event forgets it when we say that we have it
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -65536",
)
_POOL_SIZE: Final = 16
_WRITES: Final = "writes"
_FIRST_LOCK: Final = 0x746F6C6C  # PostgreSQL's advisory lock of who migrates
_COLLIDED: Final = frozenset({"23505", "40001", "40P01"})
_NO_ROOM: Final = "53100"
_FAMILY: Final = 0xFF  # SQLite's codes have details above
_ALIVE: Final[dict[str, Any]] = {
    "application_name": "tollspan-server",
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""How libpq notices that the other end is gone, in seconds and milliseconds: else a thread would
wait for hours for a machine that has no power."""


Watcher = Callable[[str, str, float], None]
"""Is told of a transaction: `reading` or `writing`; `ok`, `unavailable` or `failed`; seconds."""


def _unwatched(operation: str, result: str, seconds: float) -> None:
    """Is told of it in vain."""


class Database:
    """The connections to one database; safe for threads.

    Attributes:
        name: Where it is, without a password.
        is_postgresql: It is PostgreSQL, not SQLite.
        told: Is told of every transaction.
        trouble: Why nothing could be stored when that was tried last; None where it could.

    Args:
        where: `sqlite:PATH` or `postgresql://…`.
        wait_seconds: How long to wait for a connection that is free, or for another process that
            stores in the same file.

    Raises:
        ConfigError: It is neither, or its driver is not installed.
        LedgerError: It can't be opened, or a newer program has used it.
    """

    def __init__(self, where: str, *, wait_seconds: float = _WAIT_SECONDS) -> None:
        url = _url(where)
        self.name = _shown(url)
        self.is_postgresql = url.get_backend_name() == "postgresql"
        made = _postgresql if self.is_postgresql else _sqlite
        self._engine = made(url, wait_seconds)
        self._writer = self._engine.execution_options(**{_WRITES: True})
        self._turn = nullcontext(None) if self.is_postgresql else threading.Lock()
        self.trouble: LedgerUnavailableError | None = None
        self.told: Watcher = _unwatched
        try:
            with _told(self.name):
                self._prepare()
        except LedgerError:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """Lend a connection that sees one state of the database.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        with self._watched("reading"), _told(self.name), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """Lend a connection whose changes are durable when the block ends, or never were.

        SQLite has one writer at a time: threads wait for each other here, not for its lock.

        Raises:
            LedgerUnavailableError: The database does not answer, or can't store.
        """
        try:
            with (
                self._watched("writing"),
                _told(self.name),
                self._turn,
                self._writer.begin() as connection,
            ):
                yield connection
        except LedgerUnavailableError as error:
            self.trouble = error
            raise
        self.trouble = None

    @contextmanager
    def alone(self) -> Generator[Connection]:
        """Lend a connection to PostgreSQL on which each statement is a transaction of its own.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        engine = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        with _told(self.name), engine.connect() as connection:
            yield connection

    @contextmanager
    def _watched(self, operation: str) -> Generator[None]:
        began = time.monotonic()
        result = "ok"
        try:
            yield
        except LedgerError as error:
            result = "unavailable" if isinstance(error, LedgerUnavailableError) else "failed"
            raise
        finally:
            self.told(operation, result, time.monotonic() - began)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _prepare(self) -> None:
        with self.writing() as connection:
            if self.is_postgresql:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_FIRST_LOCK})")
            migrate(connection, self.name)


@contextmanager
def _told(name: str) -> Generator[None]:
    """Tell the driver's errors as ours; they name no statement and no value."""
    try:
        yield
    except PoolTimeoutError as error:
        raise LedgerUnavailableError(f"{name}: every connection is busy, for too long") from error
    except OperationalError as error:
        told = LedgerUnavailableError(f"{name}: {_said(error)}")
        told.reason = _reason(error) or told.reason
        raise told from error
    except DBAPIError as error:
        kind = LedgerUnavailableError if _may_work_later(error) else LedgerError
        raise kind(f"{name}: {type(error.orig).__name__}: {_said(error)}") from error


def _said(error: DBAPIError) -> str:
    """Return what the driver says, without PostgreSQL's details, which have values in them."""
    return str(error.orig).partition("\n")[0]


def _reason(error: DBAPIError) -> str | None:
    """Say what is wrong with the disk, if it is the disk."""
    code = getattr(error.orig, "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_FULL or sql_state(error) == _NO_ROOM:
        return "the ledger's disk is full"
    if code & _FAMILY == sqlite3.SQLITE_IOERR:
        return "the ledger's disk can't be written or read"
    return None


def has_collided(error: BaseException) -> bool:
    """Say whether a transaction failed because of another one, and may be done again at once."""
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and sql_state(cause) in _COLLIDED


def sql_state(error: DBAPIError) -> str:
    """Return what PostgreSQL says is wrong, in five characters; `""` for nothing."""
    return getattr(error.orig, "sqlstate", None) or ""


def _may_work_later(error: DBAPIError) -> bool:
    """Say so of collisions, of lost connections, and of a standby that is asked to store."""
    is_standby = sql_state(error) == "25006"
    return error.connection_invalidated or is_standby or sql_state(error) in _COLLIDED


def _shown(url: URL) -> str:
    """Return an address as it is named here, without a password."""
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql").render_as_string(hide_password=True)
    return f"sqlite:{url.database}"


def _url(where: str) -> URL:
    if where.startswith(_SQLITE):
        path = where.removeprefix(_SQLITE).removeprefix("//")
        if not path:
            raise ConfigError(f"{where!r} names no file; expected sqlite:PATH")
        return URL.create("sqlite", database=str(Path(path).expanduser().absolute()))
    if where.startswith(_POSTGRESQL):
        try:
            url = make_url(where)
        except (ArgumentError, ValueError):
            raise ConfigError(
                "the database's address can't be read; expected postgresql://USER:PASSWORD@HOST/NAME"
            ) from None
        return url.set(drivername="postgresql+psycopg")
    raise ConfigError(f"{where.partition(':')[0]!r} is no database; "
                      "expected sqlite:PATH or postgresql://…")  # fmt: skip


def _sqlite(url: URL, wait_seconds: float) -> Engine:
    path = Path(url.database or "")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise LedgerUnavailableError(f"{path}: {error.strerror}") from error
    engine = create_engine(
        url, connect_args={"timeout": wait_seconds, "check_same_thread": False},
        pool_size=_POOL_SIZE, max_overflow=_POOL_SIZE, hide_parameters=True,
        pool_timeout=wait_seconds,
    )  # fmt: skip
    event.listen(engine, "connect", partial(_prepare_sqlite, wait_seconds, path))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(
    wait_seconds: float, path: Path, connection: sqlite3.Connection, _: object
) -> None:
    connection.isolation_level = None  # transactions begin where we say so
    for pragma in _PRAGMAS:
        # To change the journal's mode SQLite itself waits for nobody, whatever its time-out is.
        patiently(partial(connection.execute, pragma), wait_seconds, path)


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: URL, wait_seconds: float) -> Engine:
    try:
        return create_engine(
            url, connect_args=_ALIVE, pool_size=_POOL_SIZE, max_overflow=_POOL_SIZE,
            hide_parameters=True,
            pool_pre_ping=True, pool_timeout=wait_seconds,
        )  # fmt: skip
    except ModuleNotFoundError:
        raise ConfigError(
            "PostgreSQL needs its driver: pip install 'tollspan[postgresql]'"
        ) from None
