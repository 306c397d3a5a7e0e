"""One fixture: each shared authority that the contract holds for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.authority.kits import KITS, SERVICES, Kit

PARAMS = [
    pytest.param(name, marks=[pytest.mark.service] if name in SERVICES else [])
    for name in sorted(KITS)
]


@pytest.fixture(params=PARAMS)
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    with KITS[request.param](request) as made:
        yield made
