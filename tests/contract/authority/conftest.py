"""One fixture: each shared authority that the contract holds for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.contract.authority.kits import KITS, Kit
from tests.contract.authority.postgres_kit import postgres_kit
from tests.contract.authority.redis_kit import redis_kit

# Those that need a server, by the fixture that runs it.
SERVED: dict[str, tuple[str, Callable[..., AbstractContextManager[Kit]]]] = {
    "postgres": ("postgres_server", postgres_kit),
    "redis": ("redis_url", redis_kit),
}


@pytest.fixture(
    params=[*sorted(KITS), *(pytest.param(name, marks=pytest.mark.service) for name in SERVED)]
)
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    if request.param in SERVED:
        server, make = SERVED[request.param]
        with make(request.getfixturevalue(server)) as made:
            yield made
    else:
        with KITS[request.param](tmp_path) as made:
            yield made
