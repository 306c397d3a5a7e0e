"""The PostgreSQL authority for the contract: on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.contract.authority.kits import SETTINGS
from tests.services import PostgresServer
from tollspan.budget import SharedAuthority
from tollspan.ledger import PostgresAuthority

_NAME = "contract"
_TABLES = (
    "authority",
    "accounts",
    "leases",
    "parts",
    "settled",
    "told",
    "idle_periods",
    "folding",
)
_BACK_UP = "DROP SCHEMA IF EXISTS copy CASCADE; CREATE SCHEMA copy" + "".join(
    f"; CREATE TABLE copy.{name} AS TABLE tollspan.{name}" for name in (*_TABLES, "serial")
)
_RESTORE = (
    "; ".join(
        f"TRUNCATE tollspan.{name}; INSERT INTO tollspan.{name} SELECT * FROM copy.{name}"
        for name in _TABLES
    )
    + "; SELECT setval('tollspan.serial', last_value, is_called) FROM copy.serial"
)
_FORGET = """
TRUNCATE tollspan.accounts, tollspan.leases, tollspan.parts, tollspan.settled, tollspan.told,
    tollspan.idle_periods;
ALTER SEQUENCE tollspan.serial RESTART;
UPDATE tollspan.folding SET state = '', cursor = NULL;
UPDATE tollspan.authority SET epoch = NULL, last_epoch = '', closed_why = NULL
"""
# In place of the machine's clock, which runs on while a test says what comes next.
_OWN_CLOCK = """
CREATE TABLE public.clock AS SELECT clock_timestamp() AS at;
CREATE OR REPLACE FUNCTION tollspan.now_v1() RETURNS timestamptz LANGUAGE sql AS $$
    SELECT at FROM public.clock
$$
"""
_SECONDS = 10.0  # a machine that is busy with other tests is slower than a network


class PostgresKit:
    """A PostgreSQL authority; the next one finds the same database, with nothing in it."""

    largest = 1 << 62

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._clients: list[PostgresAuthority] = []
        self.authority: SharedAuthority = self.other()
        is_new = not server.sql(f"SELECT 1 FROM pg_database WHERE datname = '{_NAME}'")
        if is_new:
            server.sql(f"CREATE DATABASE {_NAME}")
        self._direct = psycopg.connect(server.url_of(_NAME), autocommit=True)
        if is_new:
            self.authority.open_epoch()
            self._sql(_OWN_CLOCK)
        else:
            self.lose()
            self.authority.open_epoch()

    def other(self) -> SharedAuthority:
        client = PostgresAuthority(
            self._server.url_of(_NAME),
            life_seconds=SETTINGS.life_seconds,
            horizon_seconds=SETTINGS.horizon_seconds,
            timeout_seconds=_SECONDS,
        )
        self._clients.append(client)
        return client

    def advance(self, seconds: float) -> None:
        self._sql(f"UPDATE public.clock SET at = at + interval '{seconds} s'")

    def backup(self) -> None:
        self._sql(_BACK_UP)

    def restore(self) -> None:
        """Put its rows back; real dumps and files are restored in the tests of PostgreSQL alone."""
        self._let_go()
        self._sql(_RESTORE)

    def lose(self) -> None:
        self._let_go()
        self._sql(_FORGET)

    def close(self) -> None:
        self._let_go()
        self._direct.close()

    def _let_go(self) -> None:
        """Close all connections of clients, of which a test may make many; they open again."""
        for client in self._clients:
            client.close()

    def _sql(self, statements: str) -> None:
        self._direct.execute(statements.encode())


@contextmanager
def postgres_kit(server: PostgresServer) -> Iterator[PostgresKit]:
    kit = PostgresKit(server)
    try:
        yield kit
    finally:
        kit.close()
