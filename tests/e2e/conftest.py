"""What most of these tests stand on: a provider, and a temp folder of their own."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import FakeOpenAI
from tests.services import (
    DURABLE,
    PostgresServer,
    RedisServer,
    Server,
    running_postgres,
    running_redis,
)
from tollspan.cli import main

_NUMBERS = itertools.count(1)


@pytest.fixture
def spare_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the last resort for events a temp folder of its own."""
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    return spare


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    """Serve ordinary answers."""
    with FakeOpenAI() as started:
        yield started


@pytest.fixture(scope="session")
def durable_redis() -> Iterator[RedisServer]:
    """Run a Redis that loses nothing when it crashes, for tests that make it crash."""
    with running_redis(*DURABLE) as server:
        yield server


@pytest.fixture(scope="session")
def durable_postgres() -> Iterator[PostgresServer]:
    """Run a PostgreSQL for tests that make it crash."""
    with running_postgres("max_connections=300") as server:
        yield server


@pytest.fixture(
    params=[
        pytest.param(one, marks=pytest.mark.service)
        for one in ("durable_redis", "durable_postgres")
    ]
)
def crashing_server(request: pytest.FixtureRequest) -> Server:
    """Name the server of `crashing_authority`."""
    server: Server = request.getfixturevalue(request.param)
    if not server.is_ready():
        server.kill()
        server.start()
    return server


@pytest.fixture
def crashing_authority(crashing_server: Server) -> str:
    """Open a new authority, on a server that may be stopped and must be started again."""
    name = f"fleet_{next(_NUMBERS)}"
    if isinstance(crashing_server, PostgresServer):
        crashing_server.sql(f"CREATE DATABASE {name}")
        url = crashing_server.url_of(name)
    else:
        url = f"{crashing_server.url}?name={name}"
    assert main(["authority", "open", url]) == 0
    return url
