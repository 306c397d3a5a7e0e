"""One fixture: the authorities of tenants, wherever they may be kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.services import PostgresServer
from tollspan.budget import LeaseSettings
from tollspan.ledger import TenantAuthorities


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        pytest.param("redis", marks=pytest.mark.service),
        pytest.param("postgres", marks=pytest.mark.service),
    ]
)
def authorities(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TenantAuthorities]:
    address = {"memory": "memory:", "sqlite": f"sqlite:{tmp_path / 'money.db'}"}.get(request.param)
    if request.param == "redis":
        address = request.getfixturevalue("redis_url")
    elif request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        address = server.url
    assert address is not None
    with closing(TenantAuthorities(address, LeaseSettings(wait_seconds=10))) as made:
        yield made
