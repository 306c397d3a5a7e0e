"""The servers that more than one contract is held with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.authority.http_kit import MoneyServer, money_servers


@pytest.fixture(scope="session")
def money_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MoneyServer]:
    yield from money_servers(tmp_path_factory.mktemp("money"))
