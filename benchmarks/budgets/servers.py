"""Real servers of one's own, each started when it is first needed."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

_SCRIPTS = str(Path(__file__).parents[2] / "scripts")
if _SCRIPTS not in sys.path:  # pytest has it there, a program has not
    sys.path.append(_SCRIPTS)

from tests import services  # noqa: E402


class Servers:
    """The servers that are needed, each started once.

    Args:
        stack: Ends them.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._redis: services.RedisServer | None = None
        self._postgres: services.PostgresServer | None = None
        self._count = 0

    def redis(self) -> str:
        """Return the address of an authority of one's own on a Redis."""
        if self._redis is None:
            self._redis = self._stack.enter_context(services.running_redis())
        self._count += 1
        return f"{self._redis.url}?name=bench-{self._count}"

    def postgres(self) -> str:
        """Return the address of a database of one's own."""
        if self._postgres is None:
            self._postgres = self._stack.enter_context(services.running_postgres())
        self._count += 1
        self._postgres.sql(f"CREATE DATABASE bench_{self._count}")
        return self._postgres.url_of(f"bench_{self._count}")

    def taken(self, url: str) -> int:
        """Return how many bytes the accounts of an authority take: all that its Redis has."""
        if url.startswith("redis"):
            assert self._redis is not None
            lines = self._redis.ask("INFO memory").splitlines()
            return int(next(one for one in lines if one.startswith("used_memory:")).split(":")[1])
        assert self._postgres is not None
        asked = "SELECT pg_total_relation_size('tollspan.accounts')"
        return int(self._postgres.sql(asked, url.rsplit("/", 1)[1]))
