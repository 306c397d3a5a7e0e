"""One fixture: each authority that the contract holds for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.authority.conftest import SERVED
from tests.contract.authority.kits import MemoryKit
from tests.contract.idle.kits import IdleKit, MemoryIdle, SharedIdle, SQLiteIdle

NAMES = ("memory", "sqlite", "shared memory")


@pytest.fixture(
    params=[*NAMES, *(pytest.param(name, marks=pytest.mark.service) for name in SERVED)]
)
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IdleKit]:
    name = request.param
    if name == "memory":
        yield MemoryIdle()
    elif name == "shared memory":
        yield SharedIdle(MemoryKit())
    elif name == "sqlite":
        sqlite = SQLiteIdle(tmp_path)
        yield sqlite
        sqlite.close()
    else:
        server, make = SERVED[name]
        with make(request.getfixturevalue(server)) as made:
            yield SharedIdle(made)
