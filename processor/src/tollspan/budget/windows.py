"""Calendar windows: which period a moment falls into, and when it ends, in UTC or a time zone.

Days, weeks and months are the zone's own, however long daylight saving makes them.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

Every = Literal["lifetime", "hour", "day", "week", "month"]
EVERY: tuple[Every, ...] = get_args(Every)
FOREVER_UNIX_NS = 1 << 63
_NS = 1_000_000_000
_HOUR = 3_600
# Clocks are put forward or back on a quarter of an hour, everywhere and since long ago.
_QUARTER = 900


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """When a budget starts anew.

    Attributes:
        every: How long a period is.
        timezone: Whose hours, days, weeks and months: an IANA name, `Europe/Berlin` say.
    """

    every: Every = "lifetime"
    timezone: str = "UTC"


LIFETIME = Window()


def period(window: Window, unix_ns: int) -> tuple[str, int]:
    """Name the period that a moment falls into.

    Args:
        window: The window; its time zone must exist.
        unix_ns: The moment, nanoseconds since the epoch.

    Returns:
        The period's key (`2026-11-22T08`, `2026-11-22`, `2026-W47`, `2026-11`, or `""` for a
        lifetime; hours of a time zone end in its offset) and the moment until which the key holds,
        nanoseconds since the epoch, exclusive.
    """
    if window.every == "lifetime":
        return "", FOREVER_UNIX_NS
    zone = _zone(window.timezone)
    now = unix_ns // _NS
    moment = datetime.fromtimestamp(now, zone)
    if window.every == "hour":
        return _hour(moment, now, zone)
    today = moment.date()
    if window.every == "day":
        return today.isoformat(), _midnight(today + timedelta(days=1), zone)
    if window.every == "week":
        year, week, weekday = today.isocalendar()
        return f"{year}-W{week:02d}", _midnight(today + timedelta(days=8 - weekday), zone)
    following = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return today.strftime("%Y-%m"), _midnight(following, zone)


def ends_at(window: Window, unix_ns: int) -> datetime | None:
    """Return when the period of a moment ends, aware UTC; None for a lifetime."""
    if window.every == "lifetime":
        return None
    return datetime.fromtimestamp(period(window, unix_ns)[1] // _NS, UTC)


def is_timezone(name: str) -> bool:
    """Say whether a time zone of that name is known here."""
    try:
        _zone(name)
    except (LookupError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _hour(moment: datetime, now: int, zone: ZoneInfo) -> tuple[str, int]:
    """Name an hour. The offset is in the name: an hour that comes twice is two of them."""
    start = now - moment.minute * 60 - moment.second
    end = start + _HOUR
    if datetime.fromtimestamp(end - 1, zone).utcoffset() != moment.utcoffset():
        end = now - now % _QUARTER + _QUARTER  # the clock is changed in it: look again soon
    offset = "" if zone.key == "UTC" else moment.strftime("%z")
    return moment.strftime("%Y-%m-%dT%H") + offset, end * _NS


def _midnight(day: date, zone: ZoneInfo) -> int:
    """Return when a day begins; where its midnight is left out, the moment that comes instead."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * _NS
