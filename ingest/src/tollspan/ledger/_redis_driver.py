"""Talks to Redis through its client library; the one module that imports that.

What the library would do by itself is off: it never sends anything twice. What may be sent twice is
said by who asks, since only that knows what counts once.
"""

from __future__ import annotations

import hashlib
import threading
import time
from functools import cache
from pathlib import Path
from typing import Final, Protocol, cast

from redis import BlockingConnectionPool, Redis
from redis import exceptions as errors
from redis.backoff import NoBackoff
from redis.retry import Retry

from tollspan.usage import LedgerUnavailableError

from ._redis_inspecting import (
    OLDEST_VERSION,
    evicts,
    is_too_old,
    name_of_server,
    read_setting,
    risks_of,
)
from ._redis_place import RedisPlace
from ._redis_words import Word, texts
from .inspecting import ServerReport, worst_first

_SCRIPTS: Final = Path(__file__).with_name("redis_scripts")
_MOST_CONNECTIONS: Final = 64
_MOST_MOVES: Final = 3


class _Pool(Protocol):
    """What we use of the library's pool, which says little of its types."""

    connection_kwargs: dict[str, object]

    def disconnect(self) -> None: ...


class _PoolType(Protocol):
    """The same of its class."""

    def from_url(self, url: str, **options: object) -> _Pool: ...


class _Client(Protocol):
    """The same of its client."""

    def execute_command(self, *words: Word) -> object: ...


class RedisDriver:
    """A pool of connections to one Redis. Safe for threads; in a forked child it connects anew.

    Args:
        place: Where.
        timeout_seconds: How long to wait for a connection, and for an answer.
    """

    def __init__(self, place: RedisPlace, timeout_seconds: float) -> None:
        self._place = place
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._moved_to: tuple[str, int] | None = None
        self._pool, self._client = self._connect()

    def _connect(self) -> tuple[_Pool, _Client]:
        pool = cast("_PoolType", BlockingConnectionPool).from_url(
            self._place.url,
            max_connections=_MOST_CONNECTIONS,
            timeout=self._timeout_seconds,
            socket_timeout=self._timeout_seconds,
            socket_connect_timeout=self._timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # no messages that nobody asked for, and no HELLO before the first answer
        )
        if self._moved_to is not None:
            pool.connection_kwargs.update(host=self._moved_to[0], port=self._moved_to[1])
        return pool, cast("_Client", Redis(connection_pool=cast("BlockingConnectionPool", pool)))

    def run(self, script: str, *words: Word, may_repeat: bool) -> list[str]:
        """Run a script on the authority's keys, in one round trip.

        Args:
            script: A file in `redis_scripts`.
            words: Its arguments.
            may_repeat: Sent twice, it counts once: it is, where a connection broke.

        Returns:
            What it replies.

        Raises:
            LedgerUnavailableError: There is no answer, or none that helps; the text has no secret.
        """
        source, digest = _source(script)
        key = f"{self._place.tag}meta"
        try:
            found = self._ask("EVALSHA", digest, 1, key, *words, may_repeat=may_repeat)
        except errors.NoScriptError:
            found = self._tell("EVAL", source, 1, key, *words, may_repeat=may_repeat)
        return texts(found)

    def command(self, *words: Word, may_repeat: bool) -> object:
        """Run a command; raises as `run` does."""
        return self._tell(*words, may_repeat=may_repeat)

    def check_server(self) -> None:
        """See that the server can be relied on.

        Raises:
            LedgerUnavailableError: It can't be used, is too old, or may throw keys away.
        """
        found = self._info()
        if is_too_old(found):
            version = found.get("redis_version")
            raise LedgerUnavailableError(
                f"{self._place.shown} is Redis {version}; it takes {OLDEST_VERSION} or newer"
            )
        policy = evicts(found)
        if policy is not None:
            raise LedgerUnavailableError(
                f"{self._place.shown} may throw away what was spent (its maxmemory-policy is"
                f" {policy}): run `CONFIG SET maxmemory-policy noeviction` there; it was not opened"
            )

    def inspect(self) -> ServerReport:
        """Ask the server how it is set up.

        Raises:
            LedgerUnavailableError: It can't be reached, or does not say.
        """
        asked_at = time.time_ns()
        seconds, microseconds = cast("tuple[int, int]", self.command("TIME", may_repeat=True))
        answered_at = time.time_ns()
        info = self._info()

        def ask(name: str) -> object:
            return self.command("CONFIG GET", name, may_repeat=True)

        return ServerReport(
            server=name_of_server(info),
            clock_unix_ns=seconds * 1_000_000_000 + microseconds * 1_000,
            asked_at_unix_ns=asked_at,
            answered_at_unix_ns=answered_at,
            risks=worst_first(risks_of(info, lambda name: read_setting(ask, name))),
        )

    def _info(self) -> dict[str, object]:
        return cast("dict[str, object]", self.command("INFO", may_repeat=True))

    def close(self) -> None:
        """Close all connections; used again, it opens new ones."""
        self._pool.disconnect()

    def _tell(self, *words: Word, may_repeat: bool) -> object:
        try:
            return self._ask(*words, may_repeat=may_repeat)
        except errors.NoScriptError as error:
            raise self._unavailable(error) from None

    def _ask(self, *words: Word, may_repeat: bool) -> object:
        """Send a command and return its answer.

        Raises:
            NoScriptError: The script is to be sent whole.
            LedgerUnavailableError: As `run`.
        """
        for _ in range(_MOST_MOVES):
            client = self._client
            try:
                return _once_or_twice(client, words, may_repeat=may_repeat)
            except errors.NoScriptError:
                raise
            except errors.MovedError as error:
                self._move(client, _new_place(error))
            except (errors.ConnectionError, errors.TimeoutError) as error:
                self._move(client, None)
                raise self._unavailable(error) from None
            except (errors.RedisError, OSError) as error:
                raise self._unavailable(error) from None
        raise LedgerUnavailableError(f"{self._place.shown} can't be used: its keys move about")

    def _move(self, client: _Client, place: tuple[str, int] | None) -> None:
        """Go where a cluster has the keys; with None, back to where the URL leads."""
        with self._lock:
            if client is self._client and place != self._moved_to:
                self._moved_to = place
                self._pool, self._client = self._connect()

    def _unavailable(self, error: Exception) -> LedgerUnavailableError:
        if isinstance(error, errors.TimeoutError):
            reason = f"no answer within {self._timeout_seconds} s"
        elif isinstance(error, errors.AuthenticationError):
            reason = "it does not take the password"
        else:
            reason = self._place.without_secrets(str(error))[:300]
        return LedgerUnavailableError(f"{self._place.shown} can't be used: {reason}")


def _once_or_twice(client: _Client, words: tuple[Word, ...], *, may_repeat: bool) -> object:
    """Send a command; again where the connection broke, which a server's restart does to each."""
    try:
        return client.execute_command(*words)
    except (errors.AuthenticationError, errors.BusyLoadingError):
        raise
    except errors.ConnectionError:
        if not may_repeat:
            raise
        return client.execute_command(*words)


def _new_place(error: Exception) -> tuple[str, int]:
    """Read `MOVED`'s slot and `host:port`."""
    host, _, port = str(error).split()[-1].rpartition(":")
    return host, int(port)


@cache
def _source(script: str) -> tuple[str, str]:
    """Return a script with what all of them need in front, and the name that Redis gives it."""
    parts = ("_numbers", "_state", script)
    source = "\n".join((_SCRIPTS / f"{part}.lua").read_text("utf-8") for part in parts)
    return source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
