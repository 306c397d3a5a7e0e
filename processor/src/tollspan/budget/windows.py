"""Calendar windows in UTC: which period a moment falls into, and when it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

Window = Literal["lifetime", "hour", "day", "week", "month"]
WINDOWS: tuple[Window, ...] = get_args(Window)
FOREVER_UNIX_NS = 1 << 63
_NS = 1_000_000_000


def period(window: Window, unix_ns: int) -> tuple[str, int]:
    """Name the period that a moment falls into.

    Args:
        window: The window.
        unix_ns: The moment, nanoseconds since the epoch.

    Returns:
        The period's key (`2026-11-22T08`, `2026-11-22`, `2026-W47`, `2026-11`, or `""` for a
        lifetime) and its end, nanoseconds since the epoch, exclusive.
    """
    if window == "lifetime":
        return "", FOREVER_UNIX_NS
    moment = datetime.fromtimestamp(unix_ns // _NS, UTC)
    midnight = moment.replace(hour=0, minute=0, second=0)
    if window == "hour":
        start = moment.replace(minute=0, second=0)
        return start.strftime("%Y-%m-%dT%H"), _ns(start + timedelta(hours=1))
    if window == "day":
        return midnight.strftime("%Y-%m-%d"), _ns(midnight + timedelta(days=1))
    if window == "week":
        year, week, weekday = moment.isocalendar()
        return f"{year}-W{week:02d}", _ns(midnight + timedelta(days=8 - weekday))
    first = midnight.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return first.strftime("%Y-%m"), _ns(following)


def ends_at(window: Window, unix_ns: int) -> datetime | None:
    """Return when the period of a moment ends, aware UTC; None for a lifetime."""
    if window == "lifetime":
        return None
    return datetime.fromtimestamp(period(window, unix_ns)[1] // _NS, UTC)


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * _NS
