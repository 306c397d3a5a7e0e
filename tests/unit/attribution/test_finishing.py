"""The mark of calls that finish what was begun."""

from __future__ import annotations

from typing import Any

import pytest

from tollspan.api import AttributionError, argument, attribution, finishing
from tollspan.attribution import capture
from tollspan.usage import read_attribution


def test_a_block_marks_what_is_called_in_it_and_in_the_blocks_within() -> None:
    assert not capture().finishing
    with finishing():
        assert capture().finishing
        with attribution(customer="acme"):
            assert capture().finishing
            assert capture().customer == "acme"
    assert not capture().finishing


def test_a_function_is_marked_too() -> None:
    @finishing()
    def one() -> bool:
        return capture().finishing

    @attribution(customer=argument("customer"), finishing=True)
    def other(customer: str) -> tuple[str | None, bool]:
        return capture().customer, capture().finishing

    assert one()
    assert other("acme") == ("acme", True)
    assert not capture().finishing


@pytest.mark.parametrize("wrong", [1, "yes", 0.5])
def test_the_mark_is_true_or_false(wrong: Any) -> None:
    assert read_attribution({"finishing": True}).finishing
    assert not read_attribution({"finishing": False}).finishing
    with pytest.raises(AttributionError, match=r"finishing is of type .*; expected True or False"):
        read_attribution({"finishing": wrong})
