"""Real servers of one's own, each started when it is first needed."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

_SCRIPTS = str(Path(__file__).parents[2] / "scripts")
if _SCRIPTS not in sys.path:  # pytest has it there, a program has not
    sys.path.append(_SCRIPTS)

from tests import services  # noqa: E402
from tests.e2e.ingest import ServeCommand, serving  # noqa: E402
from tollspan.ledger.central import CentralLedger, Scope  # noqa: E402

_SCOPES: tuple[Scope, ...] = ("ingest",)


class Servers:
    """The servers that are needed, each started once.

    Args:
        stack: Ends them.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._redis: services.RedisServer | None = None
        self._postgres: services.PostgresServer | None = None
        self._http: ServeCommand | None = None
        self._home = Path(stack.enter_context(TemporaryDirectory()))
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

    def http(self) -> tuple[str, str]:
        """Return the address of an ingest server on SQLite, and the key of a tenant of one's own.

        It takes questions as fast as they come: what they take is measured, not its bounds.
        """
        if self._http is None:
            command = serving(self._home / "server", "--requests-per-second", "0")
            self._http = self._stack.enter_context(command)
        self._count += 1
        ledger = CentralLedger(f"sqlite:{self._home / 'server' / 'server.db'}")
        try:
            tenant = f"bench-{self._count}"
            ledger.tenants.create(tenant, actor="benchmark")
            _, key = ledger.tenants.create_key(tenant, _SCOPES, actor="benchmark")
        finally:
            ledger.close()
        return self._http.url, key

    def taken(self, url: str) -> int:
        """Return how many bytes the accounts of an authority take: all that its Redis has."""
        if url.startswith("redis"):
            assert self._redis is not None
            lines = self._redis.ask("INFO memory").splitlines()
            return int(next(one for one in lines if one.startswith("used_memory:")).split(":")[1])
        assert self._postgres is not None
        asked = "SELECT pg_total_relation_size('tollspan.accounts')"
        return int(self._postgres.sql(asked, url.rsplit("/", 1)[1]))
