"""`docs/reference/providers.md` says what the code and the installed SDKs say."""

from __future__ import annotations

import pytest

import providers_page
from tollspan.instrumentation import Sdk
from tollspan.launch import SDKS

PAGE = providers_page.PAGE.read_text()


@pytest.fixture(scope="module")
def found() -> dict[str, providers_page.Found]:
    """What the SDKs post, by package."""
    return {sdk.package: providers_page.read_sdk(sdk) for sdk in SDKS}


def test_the_page_is_current() -> None:
    if not all(version in PAGE for version in providers_page.versions()):
        pytest.skip("it was made from other versions of the SDKs")
    assert providers_page.page() == PAGE


@pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.package)
def test_every_request_of_an_sdk_is_found(sdk: Sdk, found: dict[str, providers_page.Found]) -> None:
    posted = found[sdk.package].posted
    assert len(posted) >= 8
    paths = {providers_page.gated_path(sdk, path) for _, path in posted}
    assert set(sdk.paths) <= paths


def test_what_is_counted_by_the_tripwire_is_named(found: dict[str, providers_page.Found]) -> None:
    openai, anthropic = SDKS
    assert "`images.generate`" in providers_page.counted(openai, found["openai"])
    assert "`chat.completions.create`" not in providers_page.counted(openai, found["openai"])
    assert "`AnthropicBedrock`" in providers_page.counted(anthropic, found["anthropic"])
    assert "`beta.deployments.run`" in providers_page.counted(anthropic, found["anthropic"])
    assert "`beta.deployments.create`" not in providers_page.counted(anthropic, found["anthropic"])
