"""Calendar windows: every moment is in exactly one period, and periods follow each other."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.budget import FOREVER_UNIX_NS, WINDOWS, Window, ends_at, period

NS = 1_000_000_000
MOMENTS = st.integers(min_value=0, max_value=4_000_000_000 * NS)
CALENDAR: tuple[Window, ...] = tuple(window for window in WINDOWS if window != "lifetime")


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * NS  # type: ignore[misc,arg-type]  # parts are year to second


@pytest.mark.parametrize(
    ("window", "moment", "key", "end"),
    [
        pytest.param("hour", at(2026, 11, 22, 8, 59, 59), "2026-11-22T08", at(2026, 11, 22, 9)),
        pytest.param("day", at(2024, 2, 29, 23), "2024-02-29", at(2024, 3, 1), id="leap day"),
        pytest.param("week", at(2026, 12, 31), "2026-W53", at(2027, 1, 4), id="ISO week 53"),
        pytest.param("week", at(2026, 11, 23), "2026-W48", at(2026, 11, 30), id="Monday is new"),
        pytest.param("month", at(2026, 12, 31, 23), "2026-12", at(2027, 1, 1), id="year's end"),
        pytest.param("month", at(2026, 2, 1), "2026-02", at(2026, 3, 1), id="first instant"),
        pytest.param("lifetime", at(2026, 2, 1), "", FOREVER_UNIX_NS),
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
    assert ends_at("lifetime", moment) is None
    end = ends_at("day", moment)
    assert end is not None
    assert end.utcoffset() is not None
    assert int(end.timestamp()) * NS == period("day", moment)[1]
