"""What programs put into requests, and what tests of every shape try."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


class Text(str):
    """A string of somebody's own class."""

    __slots__ = ()


class Count(enum.IntEnum):
    """A number of somebody's own class."""

    FIVE = 5


class Hostile:
    """Raises whatever it is asked."""

    def model_dump(self, **_: object) -> object:
        raise KeyError("no")


def nest(depth: int) -> object:
    """Nest lists."""
    value: object = []
    for _ in range(depth):
        value = [value]
    return value


def text_bytes(value: object) -> int:
    """Add up the UTF-8 bytes of every string in a value."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping):
        return sum(text_bytes(key) + text_bytes(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return sum(map(text_bytes, value))
    return 0
