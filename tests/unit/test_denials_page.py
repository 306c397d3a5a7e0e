"""The page of denials names every kind of them, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tollspan import api
from tollspan.usage import CallDeniedError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "denials.md"
ROW = re.compile(r"\| `(\w+Error)` \| `(tollspan\.\w+)` \|")


def kinds(of: type[CallDeniedError] = CallDeniedError) -> Iterator[type[CallDeniedError]]:
    """Yield every kind of denial."""
    for kind in of.__subclasses__():
        if kind.__module__.startswith("tollspan."):
            yield kind
            yield from kinds(kind)


def test_every_kind_of_denial_has_its_row() -> None:
    rows = dict(ROW.findall(PAGE.read_text("utf-8")))
    assert rows == {kind.__name__: kind.error_type for kind in kinds()}


def test_every_kind_has_an_error_type_of_its_own_and_can_be_caught_by_a_program() -> None:
    types = [kind.error_type for kind in kinds()]
    assert len(set(types)) == len(types)
    assert all(getattr(api, kind.__name__) is kind for kind in kinds())
