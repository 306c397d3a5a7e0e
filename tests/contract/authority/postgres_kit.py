"""The PostgreSQL authority for the contract: on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.contract.authority.kits import SETTINGS
from tests.services import PostgresServer
from tollspan.budget import SharedAuthority
from tollspan.ledger import PostgresAuthority

_NAME = "contract"
_COPY = "contract_copy"
_FORGET = """
TRUNCATE tollspan.accounts, tollspan.leases, tollspan.parts, tollspan.settled, tollspan.told;
ALTER SEQUENCE tollspan.serial RESTART;
UPDATE tollspan.authority SET epoch = NULL, last_epoch = '', closed_why = NULL
"""
_ADVANCE = """
UPDATE tollspan.leases SET due_at = due_at - {step}, ended_at = ended_at - {step};
UPDATE tollspan.settled SET at = at - {step}
"""
_SECONDS = 10.0  # a machine that is busy with other tests is slower than a network


class PostgresKit:
    """A PostgreSQL authority; the next one finds the same database, with nothing in it."""

    largest = 1 << 62

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._clients: list[PostgresAuthority] = []
        self.authority: SharedAuthority = self.other()
        if server.sql(f"SELECT 1 FROM pg_database WHERE datname = '{_NAME}'"):
            self.lose()
        else:
            server.sql(f"CREATE DATABASE {_NAME}")
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
        """Put all moments back instead: the server's clock is the machine's."""
        self._server.sql(_ADVANCE.format(step=f"interval '{seconds} s'"), _NAME)

    def backup(self) -> None:
        self._copy(_NAME, _COPY)

    def restore(self) -> None:
        self._copy(_COPY, _NAME)

    def lose(self) -> None:
        self._server.sql(_FORGET, _NAME)

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def _copy(self, source: str, target: str) -> None:
        for client in self._clients:
            client.close()
        self._server.sql(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)")
        self._server.sql(f"CREATE DATABASE {target} TEMPLATE {source}")


@contextmanager
def postgres_kit(server: PostgresServer) -> Iterator[PostgresKit]:
    kit = PostgresKit(server)
    try:
        yield kit
    finally:
        kit.close()
