"""Calendar windows: every moment is in exactly one period, and periods follow each other."""

from __future__ import annotations

import calendar
from datetime import date, datetime
from functools import cache
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollspan.budget import (
    ANCHORED,
    EVERY,
    FOREVER_UNIX_NS,
    LIFETIME,
    Every,
    Window,
    begins_at,
    ends_at,
    length_seconds,
    period,
)

NS = 1_000_000_000
MOMENTS = st.integers(min_value=0, max_value=4_000_000_000 * NS)
HOUR_NS = 3600 * NS
CALENDAR = tuple(Window(every=every) for every in EVERY if every != "lifetime")
# Half hours, a midnight that is left out, one that comes twice, half an hour of daylight saving,
# a day that never was, clocks that are put back over midnight.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "America/Sao_Paulo",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Cairo",
    "America/St_Johns",
)


def at(*parts: int, zone: str = "UTC") -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp()) * NS  # type: ignore[misc,arg-type]  # parts are year to second


@pytest.mark.parametrize(
    ("window", "moment", "key", "end"),
    [
        pytest.param(
            Window(every="hour"), at(2026, 11, 22, 8, 59, 59), "2026-11-22T08", at(2026, 11, 22, 9)
        ),
        pytest.param(
            Window(every="day"), at(2024, 2, 29, 23), "2024-02-29", at(2024, 3, 1), id="leap day"
        ),
        pytest.param(
            Window(every="week"), at(2026, 12, 31), "2026-W53", at(2027, 1, 4), id="ISO week 53"
        ),
        pytest.param(
            Window(every="week"), at(2026, 11, 23), "2026-W48", at(2026, 11, 30), id="Monday is new"
        ),
        pytest.param(
            Window(every="month"), at(2026, 12, 31, 23), "2026-12", at(2027, 1, 1), id="year's end"
        ),
        pytest.param(
            Window(every="month"), at(2026, 2, 1), "2026-02", at(2026, 3, 1), id="first instant"
        ),
        pytest.param(Window(every="lifetime"), at(2026, 2, 1), "", FOREVER_UNIX_NS),
    ],
)
def test_a_moment_falls_into_its_period(window: Window, moment: int, key: str, end: int) -> None:
    assert period(window, moment) == (key, end)


@given(st.sampled_from(CALENDAR), MOMENTS)
def test_a_period_ends_where_the_next_begins(window: Window, moment: int) -> None:
    key, end = period(window, moment)
    assert moment < end
    assert period(window, end - 1) == (key, end)
    assert period(window, end)[0] > key


@given(MOMENTS)
def test_the_end_is_told_as_a_time(moment: int) -> None:
    assert ends_at(LIFETIME, moment) is None
    end = ends_at(Window(every="day"), moment)
    assert end is not None
    assert end.utcoffset() is not None
    assert int(end.timestamp()) * NS == period(Window(every="day"), moment)[1]


@pytest.mark.parametrize(
    ("every", "zone", "moment", "key", "end"),
    [
        pytest.param(
            "day",
            "America/New_York",
            at(2026, 11, 23, 4, 59),
            "2026-11-22",
            at(2026, 11, 23, 5),
            id="yesterday still, over there",
        ),
        pytest.param(
            "month",
            "Asia/Kolkata",
            at(2026, 11, 30, 18, 30),
            "2026-12",
            at(2026, 12, 31, 18, 30),
            id="half an hour",
        ),
        pytest.param(
            "day",
            "Europe/Berlin",
            at(2026, 10, 25, 12),
            "2026-10-25",
            at(2026, 10, 25, 23),
            id="a day of 25 hours",
        ),
        pytest.param(
            "day",
            "Europe/Berlin",
            at(2026, 3, 29, 0),
            "2026-03-29",
            at(2026, 3, 29, 22),
            id="a day of 23 hours",
        ),
        pytest.param(
            "day",
            "America/Sao_Paulo",
            at(2018, 11, 4, 2, 59),
            "2018-11-03",
            at(2018, 11, 4, 3),
            id="the next midnight is left out",
        ),
        pytest.param(
            "hour",
            "Europe/Berlin",
            at(2026, 10, 25, 0, 30),
            "2026-10-25T02+0200",
            at(2026, 10, 25, 1),
            id="an hour that comes twice, the first time",
        ),
        pytest.param(
            "hour",
            "Europe/Berlin",
            at(2026, 10, 25, 1, 30),
            "2026-10-25T02+0100",
            at(2026, 10, 25, 2),
            id="and the second",
        ),
        pytest.param(
            "day",
            "Pacific/Apia",
            at(2011, 12, 30, 9, 59),
            "2011-12-29",
            at(2011, 12, 30, 10),
            id="a day that never was",
        ),
    ],
)
def test_a_time_zone_has_periods_of_its_own(
    every: Every, zone: str, moment: int, key: str, end: int
) -> None:
    assert period(Window(every=every, timezone=zone), moment) == (key, end)


@given(st.sampled_from(EVERY[1:]), st.sampled_from(ZONES), MOMENTS)
def test_every_moment_until_the_end_has_the_key_and_the_end_has_another(
    every: Every, zone: str, moment: int
) -> None:
    window = Window(every=every, timezone=zone)
    key, end = period(window, moment)
    assert moment < end
    assert period(window, end - 1)[0] == period(window, (moment + end) // 2)[0] == key
    if every != "hour":  # an hour in which the clock is changed is looked at again within it
        assert period(window, end)[0] > key


@given(
    st.sampled_from(
        (
            *CALENDAR,
            *(Window(every=every, timezone="Europe/Berlin") for every in EVERY if every != "hour"),
            Window(every="month", anchor=date(2026, 1, 31)),
            Window(every="week", anchor=date(2026, 11, 14)),
            Window(every="day", anchor=date(2026, 11, 14), count=10),
        )
    ),
    MOMENTS,
)
def test_a_period_is_as_long_as_from_its_beginning_to_its_end(window: Window, moment: int) -> None:
    key, end = period(window, moment)
    length = length_seconds(window, moment)
    if window.every == "lifetime":
        assert length is None
        return
    assert length is not None
    begins = end - length * NS
    assert period(window, begins)[0] == key
    assert period(window, begins - 1)[0] != key


def test_a_rolling_window_is_as_long_as_it_says_and_nobody_knows_how_long_others_are() -> None:
    assert length_seconds(Window(every="rolling", seconds=90), at(2026, 11, 22)) == 90
    assert length_seconds(Window(every="idle", seconds=90), at(2026, 11, 22)) is None
    assert length_seconds(Window(every="trace"), at(2026, 11, 22)) is None


def test_two_people_who_look_at_different_moments_of_a_period_agree() -> None:
    for zone in ZONES:
        for every in EVERY[1:]:
            window = Window(every=every, timezone=zone)
            moment = at(2026, 3, 27)
            keys: list[str] = []
            while moment < at(2026, 4, 6):
                key, end = period(window, moment)
                for step in range(0, 60, 7):
                    later = moment + step * HOUR_NS // 60
                    assert later >= end or period(window, later)[0] == key
                keys += [] if keys[-1:] == [key] else [key]
                moment += HOUR_NS // 2
            assert len(keys) == len(set(keys)), zone  # none comes back


@cache
def changes(zone: str) -> tuple[int, ...]:
    """Return the moments at which a zone's clocks are changed, to the minute, 1990 to 2035."""
    found: list[int] = []
    hours = range(at(1990, 1, 1) // NS, at(2035, 1, 1) // NS, 3600)
    known = ZoneInfo(zone)
    before = datetime.fromtimestamp(hours[0], known).utcoffset()
    for hour in hours:
        after = datetime.fromtimestamp(hour, known).utcoffset()
        if after != before:
            minutes = range(hour - 3600, hour + 1, 60)
            found += [
                minute * NS
                for minute in minutes
                if datetime.fromtimestamp(minute, known).utcoffset() != before
            ][:1]
        before = after
    return tuple(found)


DAYS = st.dates(min_value=date(1999, 1, 1), max_value=date(2040, 1, 1)) | st.sampled_from(
    [date(2026, 1, 31), date(2024, 2, 29), date(2025, 12, 31), date(2026, 11, 30)]
)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Draw a window of days or more, with an anchor or without."""
    zone = draw(st.sampled_from(ZONES))
    every = draw(st.sampled_from(EVERY[2:]))
    anchor = draw(DAYS if every in ANCHORED else st.none())
    if draw(st.booleans()):
        return Window(every=every, timezone=zone, anchor=draw(st.sampled_from([anchor, None])))
    count = draw(st.integers(min_value=1, max_value=400))
    return Window(every="day", timezone=zone, anchor=draw(DAYS), count=count)


@st.composite
def moments(draw: st.DrawFn, zone: str) -> int:
    """Draw a moment, often one close to a change of the clocks."""
    near = changes(zone)
    if draw(st.booleans()) and near:
        change = draw(st.sampled_from(near))
        return change + draw(st.integers(-26 * HOUR_NS, 26 * HOUR_NS))
    return draw(MOMENTS)


@settings(deadline=None)  # the first look for the changes of a zone takes long
@given(st.data(), windows())
def test_periods_tile_time(data: st.DataObject, window: Window) -> None:
    moment = data.draw(moments(window.timezone))
    key, end = period(window, moment)
    assert moment < end
    inside = data.draw(st.integers(moment, end - 1))
    assert period(window, inside) == period(window, end - 1) == (key, end)
    following, later = period(window, end)
    assert following > key
    assert later > end
    assert later - end < 401 * 25 * HOUR_NS


@given(windows().filter(lambda window: window.anchor is not None), st.sampled_from(range(40)))
def test_a_period_begins_on_the_anchors_day(window: Window, periods: int) -> None:
    anchor = window.anchor
    assert anchor is not None
    moment = begins_at(anchor, window.timezone)
    key, end = period(window, moment)
    assert begins_at(date.fromisoformat(key.partition("/")[0]), window.timezone) == moment
    for _ in range(periods):
        key, end = period(window, end)
    first = date.fromisoformat(key.partition("/")[0])
    if window.every in ("month", "quarter", "year"):
        months = {"month": 1, "quarter": 3, "year": 12}[window.every] * periods
        assert (first.year - anchor.year) * 12 + first.month - anchor.month == months
        last = calendar.monthrange(first.year, first.month)[1]
        assert first.day == min(anchor.day, last)
    else:
        length = 7 if window.every == "week" else window.count
        assert (first - anchor).days == length * periods


@pytest.mark.parametrize(
    ("window", "moment", "key"),
    [
        pytest.param(Window(every="quarter"), at(2026, 12, 31, 23), "2026-Q4", id="quarter"),
        pytest.param(Window(every="year"), at(2026, 12, 31, 23), "2026", id="year"),
        *[
            pytest.param(
                Window(every="month", anchor=date(2026, 1, 31)), moment, key, id=f"the 31st: {key}"
            )
            for moment, key in (
                (at(2026, 2, 27, 23), "2026-01-31/2026-02-28"),
                (at(2026, 2, 28), "2026-02-28/2026-03-31"),
                (at(2026, 3, 30, 23), "2026-02-28/2026-03-31"),
                (at(2026, 4, 30), "2026-04-30/2026-05-31"),
                (at(2024, 2, 29), "2024-02-29/2024-03-31"),
                (at(2025, 12, 31), "2025-12-31/2026-01-31"),
            )
        ],
        pytest.param(
            Window(every="year", anchor=date(2024, 2, 29)),
            at(2027, 2, 28),
            "2027-02-28/2028-02-29",
            id="a leap day's year",
        ),
        pytest.param(
            Window(every="quarter", anchor=date(2026, 11, 30)),
            at(2027, 2, 28),
            "2027-02-28/2027-05-30",
            id="a quarter from the 30th",
        ),
        pytest.param(
            Window(every="week", anchor=date(2026, 11, 14)),
            at(2026, 11, 13, 23),
            "2026-11-07/2026-11-14",
            id="a week before its anchor",
        ),
        pytest.param(
            Window(every="day", count=30, anchor=date(2026, 11, 14), timezone="Europe/Berlin"),
            at(2026, 11, 13, 23),
            "2026-11-14/2026-12-14",
            id="30 days",
        ),
        pytest.param(
            Window(every="day", timezone="America/St_Johns"),
            at(2010, 11, 7, 2, 45),
            "2010-11-07",
            id="clocks put back over midnight: the new day goes on",
        ),
    ],
)
def test_a_moment_falls_into_the_period_of_its_anchor(
    window: Window, moment: int, key: str
) -> None:
    assert period(window, moment)[0] == key


@given(windows(), windows(), MOMENTS)
def test_one_name_is_one_period(one: Window, other: Window, moment: int) -> None:
    zone = one.timezone
    (key, end), (same, until) = (
        period(msgspec.structs.replace(window, timezone=zone), moment) for window in (one, other)
    )
    assert (key == same) <= (end == until)
