"""What a model's name says of how it bills."""

from __future__ import annotations

# Families that never reason out of sight: for others, what was not seen may have been billed.
_REASONS_ALOUD = ("gpt-3.5", "gpt-4", "chatgpt-4o", "ft:gpt-3.5", "ft:gpt-4")


def reasons_aloud(model: str) -> bool:
    """Say whether all that a model bills as output can be seen."""
    return model.startswith(_REASONS_ALOUD)
