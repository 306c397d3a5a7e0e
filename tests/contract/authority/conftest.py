"""One fixture: each shared authority that the contract holds for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.contract.authority.http_kit import http_kit
from tests.contract.authority.kits import KITS, Kit
from tests.contract.authority.postgres_kit import postgres_kit
from tests.contract.authority.redis_kit import redis_kit
from tests.contract.authority.sqlite_kit import sqlite_kit

# Those that need a server, by the fixture that runs it; this first one is our own.
HERE: dict[str, Callable[[Path], AbstractContextManager[Kit]]] = {**KITS, "sqlite": sqlite_kit}
SERVED: dict[str, tuple[str, Callable[..., AbstractContextManager[Kit]]]] = {
    "http": ("money_server", http_kit),
    "postgres": ("postgres_server", postgres_kit),
    "redis": ("redis_url", redis_kit),
}


@pytest.fixture(
    params=[
        *sorted(HERE),
        "http",
        *(pytest.param(name, marks=pytest.mark.service) for name in SERVED if name != "http"),
    ]
)
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    if request.param in SERVED:
        server, make = SERVED[request.param]
        with make(request.getfixturevalue(server)) as made:
            yield made
    else:
        with HERE[request.param](tmp_path) as made:
            yield made
