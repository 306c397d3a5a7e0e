"""The spans of time that the page shows, in UTC: named ones, and those between two days."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

import msgspec

from tollspan.ledger.central import Bucket
from tollspan.server.problems import ProblemError

RangeName = Literal["today", "24h", "7d", "30d", "month", "last-month", "year"]
RANGES: Final[Mapping[RangeName, str]] = {
    "today": "today",
    "24h": "the last 24 hours",
    "7d": "the last 7 days",
    "30d": "the last 30 days",
    "month": "this month",
    "last-month": "last month",
    "year": "this year",
}
"""Every name, as people say it."""
_HOURLY: Final = timedelta(days=3)
_DAILY: Final = timedelta(days=100)
_FIRST: Final = date(1970, 1, 2)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A span of time.

    Attributes:
        since, until: From, and before; whole hours, so that sums that are kept answer for it.
        words: What people call it.
    """

    since: datetime
    until: datetime
    words: str

    @property
    def during(self) -> str:
        """Say when that is: `in the last 7 days`, `this month`, `from one day to another`."""
        before = "in " if self.words.startswith("the ") else "from " if " to " in self.words else ""
        return before + self.words

    @property
    def bucket(self) -> Bucket:
        """Return the size of the parts that a picture of it has."""
        length = self.until - self.since
        return "hour" if length <= _HOURLY else "day" if length <= _DAILY else "month"


def named_span(name: RangeName, now: datetime) -> Span:
    """Return what a name stands for at a time; it never ends before the hour that is going on."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    today = hour.replace(hour=0)
    month = today.replace(day=1)
    ends = tomorrow = today + timedelta(days=1)
    match name:
        case "today":
            since = today
        case "24h":
            since, ends = hour - timedelta(hours=23), hour + timedelta(hours=1)
        case "7d":
            since = today - timedelta(days=6)
        case "30d":
            since = today - timedelta(days=29)
        case "month":
            since = month
        case "last-month":
            since, ends = (month - timedelta(days=1)).replace(day=1), month
        case "year":
            since, ends = month.replace(month=1), tomorrow
    return Span(since=since, until=ends, words=RANGES[name])


def span_of_days(first: date | None, last: date | None, now: datetime) -> Span:
    """Return the time from the start of a day to the end of another.

    Raises:
        ProblemError: It ends before it begins.
    """
    first = first or _FIRST
    last = last or now.date()
    if first > last:
        raise ProblemError(400, "query.from: expected a day that is not after `to`")
    try:
        until = _midnight(last) + timedelta(days=1)
    except OverflowError:
        raise ProblemError(400, "query.to: expected a day before the year 9999 ends") from None
    words = f"{first.isoformat()} to {last.isoformat()}"
    return Span(since=_midnight(first), until=until, words=words)


def month_end(now: datetime) -> datetime:
    """Return when the month of a time ends."""
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (start + timedelta(days=32)).replace(day=1)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
