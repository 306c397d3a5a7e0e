"""The surfaces that the contract holds for. A new provider adds its kits here, and no tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.instrumentors.anthropic_kits import ANTHROPIC_KITS
from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.openai_kits import OPENAI_KITS

KITS: tuple[Kit, ...] = (*OPENAI_KITS, *ANTHROPIC_KITS)


def kits(
    having: Callable[[Kit], object], *, missing: Callable[[Kit], str | None] = lambda kit: None
) -> pytest.MarkDecorator:
    """Run a test with the kits that have something.

    Args:
        having: Whether one has it.
        missing: Why a version of its SDK has not.
    """
    found = [
        pytest.param(kit, id=str(kit), marks=[pytest.mark.skip(reason=why)] if why else [])
        for kit, why in ((kit, missing(kit)) for kit in KITS if having(kit))
    ]
    return pytest.mark.parametrize("kit", found)


streaming = kits(lambda kit: kit.streams)
representative = kits(lambda kit: kit.stands_for_others)
