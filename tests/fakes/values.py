"""Narrowing of parsed JSON, for a fake that has to answer whatever it is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast


def mapping(value: object) -> Mapping[str, object]:
    """Return a JSON object as it is, and an empty one for anything else."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def sequence(value: object) -> Sequence[object]:
    """Return a JSON list as it is, and an empty one for anything else."""
    return cast("Sequence[object]", value) if isinstance(value, list) else ()


def positive_int(value: object) -> int | None:
    """Return an integer from 1 up, and None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value >= 1 else None
