"""Times of questions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_NS: Final = (1 << 63) - 1


def nanoseconds(moment: datetime) -> int:
    """Return a time in nanoseconds since the epoch; the nearest that there is, for those beyond."""
    microseconds = (moment - _EPOCH) // timedelta(microseconds=1)
    return min(max(0, microseconds * 1_000), _LATEST_NS)
