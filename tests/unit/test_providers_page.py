"""The page of providers names what our own tables say; the integration tests read the SDKs too."""

from __future__ import annotations

import pytest

import providers_page
from tollspan.instrumentation import Sdk
from tollspan.launch import SDKS

PAGE = providers_page.PAGE.read_text()


@pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.package)
def test_the_page_names_every_gated_path_with_its_methods(sdk: Sdk) -> None:
    assert f"`{providers_page.SUPPORTED[sdk.package]}`" in PAGE
    for path in sdk.paths:
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{path.path}` |")]
        assert [name for name in path.methods if f"`{name}`" not in row] == []


def test_the_page_has_the_table_of_known_hosts() -> None:
    assert providers_page.hosts() in PAGE
