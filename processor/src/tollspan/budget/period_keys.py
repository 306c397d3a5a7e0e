"""Reads the key of a period back: when it ends, whatever the rules say now."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from .allowances import plain_period
from .idle import read_idle
from .rolling import read_rolling
from .windows import Every, Window, begins_at, period

_NS: Final = 1_000_000_000
_FORMATS: Final[tuple[tuple[Every, str], ...]] = (
    ("year", "%Y"),
    ("month", "%Y-%m"),
    ("day", "%Y-%m-%d"),
    ("hour", "%Y-%m-%dT%H"),
    ("hour", "%Y-%m-%dT%H%z"),
)
_QUARTERS: Final = ("1", "2", "3", "4")


def end_of_key(key: str, timezone: str) -> int | None:
    """Return when a period ends, nanoseconds since the epoch.

    None for a lifetime, and of an idle window: no clock ends it.

    Args:
        key: As `tollspan.budget.period` names it.
        timezone: Of the budget's window.
    """
    key = plain_period(key)
    if read_idle(key) is not None:
        return None
    rolling = read_rolling(key)
    if rolling is not None:
        return rolling.ends_at_unix_ns
    _, between, following = key.partition("/")
    if between:
        return begins_at(date.fromisoformat(following), timezone)
    found = _read(key, ZoneInfo(timezone))
    if found is None:
        return None
    every, start = found
    window = Window(every=every, timezone=timezone)
    return period(window, int(start.timestamp()) * _NS)[1]


def _read(key: str, zone: ZoneInfo) -> tuple[Every, datetime] | None:
    """Return a period's window and a moment in it; None for a lifetime, and for no key at all."""
    year, _, week = key.partition("-W")
    if week.isdigit() and year.isdigit():
        day = date.fromisocalendar(int(year), int(week), 1)
        return "week", _noon(datetime(day.year, day.month, day.day, tzinfo=UTC), zone)
    year, _, quarter = key.partition("-Q")
    if quarter in _QUARTERS and year.isdigit():
        return "quarter", datetime(int(year), int(quarter) * 3, 1, 12, tzinfo=zone)
    for every, form in _FORMATS:
        try:
            found = datetime.strptime(key, form)  # noqa: DTZ007 - the zone is put in below
        except ValueError:
            continue
        if every != "hour":
            return every, _noon(found, zone)
        return every, found if found.tzinfo else found.replace(tzinfo=zone)
    return None


def _noon(day: datetime, zone: ZoneInfo) -> datetime:
    """Return a moment of a day that no change of clocks leaves out."""
    return day.replace(hour=12, tzinfo=zone)
