"""Calendar windows: every moment is in exactly one period, and periods follow each other."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.budget import EVERY, FOREVER_UNIX_NS, LIFETIME, Every, Window, ends_at, period

NS = 1_000_000_000
MOMENTS = st.integers(min_value=0, max_value=4_000_000_000 * NS)
HOUR_NS = 3600 * NS
CALENDAR = tuple(Window(every=every) for every in EVERY if every != "lifetime")
# Half hours, a midnight that is left out, one that comes twice, half an hour of daylight saving.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "America/Sao_Paulo",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Cairo",
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
