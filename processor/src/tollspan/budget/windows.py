"""Windows: which period a moment falls into, and when it ends, in UTC or a time zone.

Days, weeks, months and years are the zone's own, however long daylight saving makes them.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

from .idle import lasts_ns, read_idle, unnamed_key
from .rolling import read_rolling, rolling_keys

Every = Literal[
    "lifetime", "hour", "day", "week", "month", "quarter", "year", "trace", "rolling", "idle"
]
TRACE: Final = "trace"
ROLLING: Final = "rolling"
IDLE: Final = "idle"
EVERY: tuple[Every, ...] = tuple(
    [one for one in get_args(Every) if one not in (TRACE, ROLLING, IDLE)]
)
"""The windows that go by the calendar."""
ANCHORED: tuple[Every, ...] = ("week", "month", "quarter", "year")
"""Windows whose periods may begin on another day than the calendar's; so may numbers of days."""
BILLED: tuple[Every, ...] = ("month", "quarter", "year")
"""Windows that a customer's own billing period may anchor."""
FOREVER_UNIX_NS = 1 << 63
_MONTHS: dict[Every, int] = {"month": 1, "quarter": 3, "year": 12}
_WEEK = 7
_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = 3_600
# Clocks are put forward or back on a quarter of an hour, everywhere and since long ago.
_QUARTER = 900


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """When a budget starts anew.

    Attributes:
        every: How long a period is; `trace` for one account for each trace, which no clock ends;
            `rolling` for every stretch of time of a length, whenever it begins; `idle` for as long
            as its owner is not silent for a time.
        timezone: Whose hours, days, weeks and months: an IANA name, `Europe/Berlin` say.
        anchor: A day on which a period begins, for `ANCHORED` windows and numbers of days; None for
            the calendar's own beginnings. A month that has no such day begins on its last.
        count: How many days a period has, with `day` and an anchor; else 1.
        seconds: The length of a rolling window, or the idle time; else 0.
    """

    every: Every = "lifetime"
    timezone: str = "UTC"
    anchor: date | None = None
    count: int = 1
    seconds: int = 0


LIFETIME = Window()


def periods(window: Window, unix_ns: int) -> tuple[tuple[str, ...], int]:
    """Name all periods that a moment falls into: one, but several of a rolling window.

    Returns:
        Their keys, the one that began last first, and the moment until which these are all. Of an
        idle window, what stands for the key until the authority was asked.
    """
    if window.every == ROLLING:
        return rolling_keys(window.seconds, unix_ns)
    key, end = period(window, unix_ns)
    return (key,), end


def period(window: Window, unix_ns: int) -> tuple[str, int]:
    """Name the period that a moment falls into; of a rolling window, the one that began last.

    Args:
        window: The window; its time zone must exist. Of traces the moment says nothing.
        unix_ns: The moment, nanoseconds since the epoch.

    Returns:
        The period's key (`2026-11-22T08`, `2026-11-22`, `2026-W47`, `2026-11`, `2026-Q4`, `2026`,
        or `""` for a lifetime; hours of a time zone end in its offset; with an anchor the first day
        and the first one after, `2026-11-14/2026-12-14`) and the moment until which the key holds,
        nanoseconds since the epoch, exclusive.
    """
    if window.every in ("lifetime", TRACE):
        return "", FOREVER_UNIX_NS
    if window.every == IDLE:
        return unnamed_key(window.seconds), FOREVER_UNIX_NS
    if window.every == ROLLING:
        keys, until = rolling_keys(window.seconds, unix_ns)
        return keys[0], until
    zone = _zone(window.timezone)
    now = unix_ns // _NS
    moment = datetime.fromtimestamp(now, zone)
    if window.every == "hour":
        return _hour(moment, now, zone)
    today = _day(moment, now, zone)
    if window.anchor is None:
        key, following = _calendar(window.every, today)
    else:
        first, following = _anchored(window, window.anchor, today)
        key = f"{first}/{following}"
    return key, _midnight(following, zone) * _NS


def ends_at(window: Window, unix_ns: int) -> datetime | None:
    """Return when the period of a moment ends, aware UTC; None for a lifetime and for traces.

    Of a rolling window: when all is back that was spent until then.
    """
    if window.every in ("lifetime", TRACE, IDLE):
        return None
    if window.every == ROLLING:
        return end_of(window, period(window, unix_ns)[0], unix_ns)
    return datetime.fromtimestamp(period(window, unix_ns)[1] // _NS, UTC)


def end_of(window: Window, key: str, unix_ns: int) -> datetime | None:
    """Return when the period of an account ends, aware UTC; None for a lifetime.

    Of an idle window: if its owner was active at that moment, and is not any more.

    Args:
        window: The budget's window, whose anchor may be another than the account's.
        key: The account's period; with an anchor or of a rolling window, it says itself when it
            ends.
        unix_ns: A moment in it, nanoseconds since the epoch.
    """
    if read_idle(key) is not None and window.every == IDLE:
        return _EPOCH + timedelta(microseconds=(unix_ns + lasts_ns(window.seconds)) // 1_000)
    rolling = read_rolling(key)
    if rolling is not None:
        return _EPOCH + timedelta(microseconds=-(-rolling.ends_at_unix_ns // 1_000))
    following = key.partition("/")[2]
    if not following:
        return ends_at(window, unix_ns)
    end = begins_at(date.fromisoformat(following), window.timezone)
    return datetime.fromtimestamp(end // _NS, UTC)


def length_seconds(window: Window, unix_ns: int) -> int | None:
    """Return how long the period of a moment is, in seconds, however long its days are.

    None for a lifetime, for traces and for idle windows: no clock ends them.
    """
    if window.every in ("lifetime", TRACE, IDLE):
        return None
    if window.every == ROLLING:
        return window.seconds
    if window.every == "hour":
        return _HOUR
    zone = _zone(window.timezone)
    today = _day(datetime.fromtimestamp(unix_ns // _NS, zone), unix_ns // _NS, zone)
    if window.anchor is not None:
        first, following = _anchored(window, window.anchor, today)
    else:
        following = _calendar(window.every, today)[1]
        months = _MONTHS.get(window.every)
        days = timedelta(days=_WEEK if window.every == "week" else 1)
        first = following - days if months is None else _month_on(following, -months)
    return _midnight(following, zone) - _midnight(first, zone)


def begins_at(day: date, timezone: str) -> int:
    """Return when a day of a time zone begins, nanoseconds since the epoch.

    Where its midnight is left out, that is the moment that comes instead.
    """
    return _midnight(day, _zone(timezone)) * _NS


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


def _calendar(every: Every, today: date) -> tuple[str, date]:
    """Name the calendar's own period of a day, and the day on which the next begins."""
    if every == "day":
        return today.isoformat(), today + timedelta(days=1)
    if every == "week":
        year, week, weekday = today.isocalendar()
        return f"{year}-W{week:02d}", today + timedelta(days=_WEEK + 1 - weekday)
    months = _MONTHS[every]
    number = (today.month - 1) // months
    following = _month_on(today.replace(day=1), (number + 1) * months - today.month + 1)
    if every == "month":
        return today.strftime("%Y-%m"), following
    return f"{today.year}-Q{number + 1}" if every == "quarter" else f"{today.year}", following


def _anchored(window: Window, anchor: date, today: date) -> tuple[date, date]:
    """Return the first day of the period of a day, and that of the next."""
    months = _MONTHS.get(window.every)
    if months is None:
        days = _WEEK if window.every == "week" else window.count
        first = today - timedelta(days=(today - anchor).days % days)
        return first, first + timedelta(days=days)
    passed = (today.year - anchor.year) * 12 + today.month - anchor.month
    passed -= passed % months
    if _month_on(anchor, passed) > today:
        passed -= months
    return _month_on(anchor, passed), _month_on(anchor, passed + months)


def _month_on(day: date, months: int) -> date:
    """Return the same day so many months on; the last of a month that has no such day."""
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(day.day, last))


def _day(moment: datetime, now: int, zone: ZoneInfo) -> date:
    """Return the day that began last.

    Where clocks are put back over midnight, into the day before, the new day goes on.
    """
    today = moment.date()
    following = today + timedelta(days=1)
    return following if _midnight(following, zone) <= now else today


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
