"""One fixture: each shared authority that the contract holds for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.authority.kits import KITS, Kit


@pytest.fixture(params=sorted(KITS))
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    with KITS[request.param](tmp_path) as made:
        yield made
