"""Names the periods of budgets for people."""

from __future__ import annotations

from datetime import UTC, datetime

from tollspan.budget import is_allowance, plain_period, read_idle, read_rolling

_LENGTHS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def period_words(key: str) -> str:
    """Name a period for people: of a rolling window its length, `last 60s` say.

    Of an idle window it is when it began, in UTC: `since 2026-11-28 14:05`.
    """
    if is_allowance(key):
        return f"{period_words(plain_period(key))} (allowance)"
    idle = read_idle(key)
    if idle is not None:
        began = datetime.fromtimestamp(idle.began_at_us // 1_000_000, UTC)
        return f"since {began:%Y-%m-%d %H:%M}"
    rolling = read_rolling(key)
    return key or "lifetime" if rolling is None else f"last {length_words(rolling.seconds)}"


def length_words(seconds: int) -> str:
    """Write a length of time as rules do, in the largest unit that has it whole: `5m`."""
    each, unit = next(one for one in _LENGTHS if seconds % one[0] == 0)
    return f"{seconds // each}{unit}"
