"""One fixture: each ledger that the contract holds for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.ledger.kits import KITS, Kit
from tests.contract.ledger.shared_kit import shared

# Those that need a server, by the fixture that names it.
SERVED = {"leased-redis": "redis_url"}


@pytest.fixture(
    params=[*sorted(KITS), *(pytest.param(name, marks=pytest.mark.service) for name in SERVED)]
)
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    if request.param in SERVED:
        with shared(tmp_path, request.getfixturevalue(SERVED[request.param])) as served:
            yield served
    else:
        with KITS[request.param](tmp_path) as made:
            yield made
