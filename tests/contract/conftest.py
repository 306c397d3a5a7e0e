"""The servers that more than one contract is held with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.contract.authority.http_kit import MoneyServer


@pytest.fixture(scope="session")
def money_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MoneyServer]:
    # Imported late: the contract of the instrumentors is held without the server's packages, too.
    from tests.contract.authority.http_kit import money_servers

    yield from money_servers(tmp_path_factory.mktemp("money"))
