"""One fixture: each authority whose accounts can be folded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.folding.kits import KITS, Kit, postgres, redis

SERVED = {"postgres": ("postgres_server", postgres), "redis": ("redis_url", redis)}


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
