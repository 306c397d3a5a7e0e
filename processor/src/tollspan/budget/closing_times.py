"""Tells from an account's period alone when it was closed for certain, in any time zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal

import msgspec

from tollspan.usage import BLOCK_PERIOD

from .allowances import plain_period
from .idle import IdlePeriod, lasts_ns, read_idle
from .rolling import read_rolling

Kind = Literal["lifetime", "calendar", "short", "trace", "block", "idle"]
_NS: Final = 1_000_000_000
_DAY_SECONDS: Final = 86_400
_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_HOUR: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d(?:[+-]\d{4}(?:\d\d)?)?")
_WEEK: Final = re.compile(r"(\d{4})-W(\d\d)")
_QUARTER: Final = re.compile(r"(\d{4})-Q([1-4])")
_MONTH: Final = re.compile(r"(\d{4})-(\d\d)")
_DAYS: Final = re.compile(r"(?:\d{4}-\d\d-\d\d/)?(\d{4}-\d\d-\d\d)")
_YEAR: Final = re.compile(r"\d{4}")
_BEHIND: Final = timedelta(days=1)
"""No day ends so long after it has ended in UTC: no clock was ever set 24 hours behind that."""


class Closing(msgspec.Struct, frozen=True):
    """When an account was closed.

    Attributes:
        kind: `short` for windows below a day. No clock closes a `trace` or a `block`: they are over
            when nothing was heard of them for long. Nor does one close an `idle` window, of which
            the authority besides knows who is in it. A `lifetime` is never over, nor is a period
            that nobody here can read.
        at_unix_ns: No call that starts then or later is counted in it; None where no clock says so.
        sum_period: The period under which it is summed: its own; of windows below a day and rolling
            ones the month in which they end, of idle ones that in which they began, of traces and
            blocks one for all of them.
        lasts_seconds: Of an idle window, how long it may last after the last word of its owner.
    """

    kind: Kind
    at_unix_ns: int | None = None
    sum_period: str = ""
    lasts_seconds: int = 0


_NEVER: Final = Closing("lifetime")
_OF_TRACES: Final = Closing("trace", None, "traces")
_OF_BLOCKS: Final = Closing("block", None, "blocks")


@lru_cache(maxsize=4_096)
def closing_of(period: str) -> Closing:
    """Tell of a period when it was closed, whatever time zone its days are of.

    Args:
        period: As accounts name it; that of an allowance is closed with the one that it is beside.
    """
    plain = plain_period(period)
    if plain == period:
        return _closing_of(plain)
    found = _closing_of(plain)
    return msgspec.structs.replace(found, sum_period=found.sum_period + period[len(plain) :])


def _closing_of(period: str) -> Closing:
    if period == BLOCK_PERIOD:
        return _OF_BLOCKS
    if _TRACE.fullmatch(period):
        return _OF_TRACES
    idle, rolling = read_idle(period), read_rolling(period)
    try:
        if idle is not None:
            return _idle(idle)
        if rolling is not None:
            return _rolling(rolling.seconds, rolling.ends_at_unix_ns)
        if _HOUR.fullmatch(period):
            return _hour(period)
        following = _following(period)
    except (ValueError, OverflowError):
        return _NEVER
    if following is None:
        return _NEVER
    midnight = datetime(following.year, following.month, following.day, tzinfo=UTC)
    return Closing("calendar", _unix_ns(midnight + _BEHIND), period)


def _idle(period: IdlePeriod) -> Closing:
    month = _month_of(period.began_at_us // 1_000_000)
    return Closing("idle", None, f"{month} idle", lasts_ns(period.idle_seconds) // _NS + 1)


def _rolling(seconds: int, ends_at_unix_ns: int) -> Closing:
    kind: Kind = "short" if seconds < _DAY_SECONDS else "calendar"
    return Closing(kind, ends_at_unix_ns, f"{_month_of(ends_at_unix_ns // _NS)} rolling")


def _month_of(unix_seconds: int) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m")


def _hour(period: str) -> Closing:
    """Close an hour one later than it ends: where clocks are changed in it, another may begin."""
    start = datetime.fromisoformat(f"{period[:13]}:00{period[13:] or '+0000'}")
    return Closing("short", _unix_ns(start + timedelta(hours=2)), f"{period[:7]} hours")


def _following(period: str) -> date | None:
    """Return the first day after a period of days; None where it is none."""
    if days := _DAYS.fullmatch(period):
        return date.fromisoformat(days[1]) + timedelta(days="/" not in period)
    if week := _WEEK.fullmatch(period):
        return date.fromisocalendar(int(week[1]), int(week[2]), 1) + timedelta(days=7)
    if quarter := _QUARTER.fullmatch(period):
        return _month_after(int(quarter[1]), int(quarter[2]) * 3)
    if month := _MONTH.fullmatch(period):
        return _month_after(int(month[1]), int(month[2]))
    if _YEAR.fullmatch(period):
        return _month_after(int(period), 12)
    return None


def _month_after(year: int, month: int) -> date:
    first = date(year, month, 1)
    return date(first.year + month // 12, month % 12 + 1, 1)


def _unix_ns(moment: datetime) -> int:
    return int(moment.timestamp()) * _NS
