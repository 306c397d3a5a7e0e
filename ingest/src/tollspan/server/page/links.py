"""Addresses of the page: every view, range and filter is in them, and nothing else is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from tollspan.server.questions import UNATTRIBUTED

Pairs = Sequence[tuple[str, str]]
"""Names and values of an address's query, in order; a name may come twice."""


def address(path: str, pairs: Pairs) -> str:
    """Write an address; what is empty is left out."""
    query = urlencode([(name, value) for name, value in pairs if value])
    return f"{path}?{query}" if query else path


def filter_pair(dimension: str, value: str | None) -> tuple[str, str]:
    """Return how an address says that calls must have a value, or say none."""
    said = UNATTRIBUTED if value is None else value
    if dimension.startswith("tag."):
        return "tag", f"{dimension.removeprefix('tag.')}={said}"
    return dimension, said


def filter_pairs(where: Mapping[str, str | None]) -> list[tuple[str, str]]:
    """Return how an address says all of them."""
    return [filter_pair(name, value) for name, value in where.items()]
