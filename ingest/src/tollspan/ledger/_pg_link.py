"""One connection to PostgreSQL: a question and its answer, within a time. Not safe for threads.

Questions are single statements without a name or a transaction block around them, and nothing is
set for the session: behind a pooler, each may reach another connection of the server's.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Final

from tollspan.usage import ConfigError

from ._pg_errors import LinkError, refusal_of, unreachable

if TYPE_CHECKING:
    from psycopg import Connection

_CONNECT_SECONDS: Final = 5
_JSONB_OID: Final = 3802


class Place:
    """Where the database is. Says nothing of the password, whoever prints it.

    Args:
        url: A URL of libpq's, whose environment fills in what it leaves open.

    Raises:
        ConfigError: It is none, or psycopg is missing.
    """

    def __init__(self, url: str) -> None:
        try:
            from psycopg import Error  # noqa: PLC0415 - an extra, and loaded where it is used
            from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(
                "a PostgreSQL authority needs psycopg: pip install 'tollspan[postgresql]'"
            ) from error
        if not url.startswith(("postgresql://", "postgres://")):
            raise ConfigError("expected postgresql://USER@HOST/DATABASE")
        try:
            self._params = conninfo_to_dict(url)
        except Error:
            # Not libpq's words, which quote what was given, and not its exception.
            raise ConfigError(
                "this URL is none for libpq; expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
                " with special characters as %40 and so on"
            ) from None

    def __repr__(self) -> str:
        host, database = self._params.get("host"), self._params.get("dbname")
        return f"PostgreSQL at {host or 'its default host'}/{database or ''}"

    def without_secrets(self, text: str) -> str:
        """Return a text without the password."""
        for name in ("password", "sslpassword"):
            secret = self._params.get(name)
            if secret:
                text = text.replace(str(secret), "***")
        return " ".join(text.split())

    def connect(self) -> Link:
        """Open a connection; waits for names, hosts and handshakes, seconds if need be.

        Raises:
            LedgerUnavailableError: It can't be had.
        """
        import psycopg  # noqa: PLC0415 - as above
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415

        params = {
            "connect_timeout": _CONNECT_SECONDS,
            "fallback_application_name": "tollspan",
            **self._params,
            "client_encoding": "utf8",
        }
        try:
            connection = psycopg.connect(
                make_conninfo("", **params), autocommit=True, prepare_threshold=None
            )
        except psycopg.Error as error:
            raise unreachable(self, str(error)) from None
        return Link(connection, self)


class Link:
    """A connection that answers questions.

    Args:
        connection: Open, and nobody else's.
        place: Where it leads.
    """

    def __init__(self, connection: Connection, place: Place) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._place = place

    def is_alive(self) -> bool:
        """Say whether the server has not ended it, as far as can be seen without asking.

        Between questions a server says nothing but that.
        """
        try:
            return not _wait(self._pgconn.socket, is_writing=False, seconds=0)
        except (OSError, ValueError):
            return False

    def ask(self, statement: str, question: str | None, ends_at: float) -> str:
        """Run a statement with one parameter, or several without any; return its last value.

        Args:
            statement: SQL; with a question, one statement.
            question: JSON, for `$1`.
            ends_at: By the monotonic clock.

        Raises:
            LinkError: It was refused, or there is no answer. Then the connection may be of no use.
        """
        from psycopg import Error  # noqa: PLC0415 - as above

        pgconn = self._pgconn
        try:
            if question is None:
                pgconn.send_query(statement.encode())
            else:
                pgconn.send_query_params(
                    statement.encode(), [question.encode()], param_types=[_JSONB_OID]
                )
            return self._receive(ends_at)
        except (Error, OSError) as error:
            raise LinkError(self._place.without_secrets(str(error)), is_broken=True) from None

    def _receive(self, ends_at: float) -> str:
        pgconn = self._pgconn
        while pgconn.flush():
            self._wait_until(ends_at, is_writing=True)
            pgconn.consume_input()
        value = b""
        refused: LinkError | None = None
        while True:
            while pgconn.is_busy():
                self._wait_until(ends_at)
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                break
            refused = refused or refusal_of(result, self._place)
            if result.ntuples:
                value = result.get_value(0, 0) or b""
        if refused is not None:
            raise refused
        return value.decode()

    def _wait_until(self, ends_at: float, *, is_writing: bool = False) -> None:
        seconds = ends_at - time.monotonic()
        if seconds <= 0 or not _wait(self._pgconn.socket, is_writing=is_writing, seconds=seconds):
            raise LinkError(f"{self._place} did not answer in time", is_broken=True)

    def close(self) -> None:
        """End the connection; never raises, and waits for nobody."""
        self._connection.close()

    def abandon(self) -> None:
        """Let go of it in a forked child, without a word to the server: the parent uses it."""
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            os.dup2(nothing, self._pgconn.socket)
        finally:
            os.close(nothing)
        self._connection.close()


def _wait(descriptor: int, *, is_writing: bool, seconds: float) -> bool:
    """Wait until a socket can be read, or written too; False when it can't in time."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLIN | (select.POLLOUT if is_writing else 0))
        return bool(poll.poll(max(0.0, seconds) * 1000))
    writing = [descriptor] if is_writing else []
    return any(select.select([descriptor], writing, [], max(0.0, seconds)))
