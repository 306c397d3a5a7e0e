"""One fixture: the address of an empty central ledger, in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tollspan.ledger.central import CentralLedger


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Name a database that is empty."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return f"sqlite:{tmp_path / 'central.db'}"


@pytest.fixture
def ledger(where: str) -> Iterator[CentralLedger]:
    """Open it."""
    ledger = CentralLedger(where)
    yield ledger
    ledger.close()
