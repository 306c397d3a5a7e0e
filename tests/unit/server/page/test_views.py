"""How the page writes money, numbers and times, and which spans of time it knows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.server.page import views
from tollspan.server.page.bars import bar_of
from tollspan.server.page.charts import bars_of, chart
from tollspan.server.page.pace import Pace
from tollspan.server.page.ranges import RANGES, RangeName, month_end, named_span, span_of_days
from tollspan.server.problems import ProblemError

MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy wants them so


@pytest.mark.parametrize(
    ("nanousd", "text"),
    [
        (0, "$0.00"), (1, "$0.000000001"), (10**9, "$1.00"), (1_234_567_890_123, "$1,234.57"),
        (5_000_000, "$0.005"), (123_456_789, "$0.1235"), (999_999_999, "$1.00"),
        (-1_500_000_000, "-$1.50"), (12_345, "$0.00001235"), (1_994_999_999, "$1.99"),
    ],
)  # fmt: skip
def test_money_is_short_and_never_looks_like_nothing(nanousd: int, text: str) -> None:
    assert views.money(nanousd) == text


@given(st.integers(-(10**18), 10**18))
def test_what_is_read_is_near_what_is_meant(nanousd: int) -> None:
    read = round(float(views.money(nanousd).replace("$", "").replace(",", "")) * 10**9)
    assert (read == 0) == (nanousd == 0)
    cents = 5_000_000 if abs(nanousd) >= 10**9 else 0
    assert abs(read - nanousd) <= max(cents, abs(nanousd) // 1_000 + 1)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 0, ""), (0, 5, "0.0%"), (1, 10**6, "<0.1%"), (999, 1_000, "99%"), (5, 5, "100%"),
     (1, 40, "2.5%")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_all_or_nothing(part: int, whole: int, text: str) -> None:
    assert views.percent(part, whole) == text


def test_numbers_and_times_are_short() -> None:
    assert [views.short(n) for n in (0, 999, 1_200, 45_000, 3_400_000)] == [
        "0", "999", "1.2k", "45k", "3.4M"]  # fmt: skip
    assert views.span(59) == "59 seconds"
    assert views.span(86_400) == "1 day"
    assert views.ago(0, 7_200 * 10**9) == "2 hours ago"
    assert views.moment(0) == "1970-01-01 00:00"


@given(MOMENTS, st.sampled_from(get_args(RangeName)))
def test_a_named_span_is_of_whole_hours(now: datetime, name: RangeName) -> None:
    span = named_span(name, now)
    assert span.since < span.until
    assert (span.since <= now < span.until) == (name != "last-month")
    assert all(at.minute == at.second == at.microsecond == 0 for at in (span.since, span.until))
    assert span.words == RANGES[name]


@given(MOMENTS)
def test_a_month_ends_where_the_next_begins(now: datetime) -> None:
    end = month_end(now)
    assert end > now
    assert end.day == 1
    assert (end - now).days <= 31


def test_a_span_of_days_has_its_last_day() -> None:
    now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    span = span_of_days(date(2026, 11, 1), date(2026, 11, 2), now)
    assert (span.until - span.since).days == 2
    assert span_of_days(None, None, now).until == datetime(2026, 11, 29, tzinfo=UTC)
    with pytest.raises(ProblemError):
        span_of_days(date(2026, 11, 3), date(2026, 11, 2), now)


def test_a_picture_has_a_bar_for_every_part_and_the_tallest_fills_it() -> None:
    now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    span = named_span("7d", now)
    start = int(span.since.timestamp()) * 10**9
    drawn = chart(span, "day", {start: 10, start + 2 * 86_400 * 10**9: 5})
    assert drawn is not None
    assert [bar.amount for bar in drawn.bars] == [10, 0, 5, 0, 0, 0, 0]
    assert [bar.height for bar in drawn.bars][:3] == ["160", "0", "80"]
    assert chart(span, "day", {}) is None


def test_a_span_without_a_beginning_is_drawn_from_the_first_call() -> None:
    now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    span = span_of_days(None, None, now)
    first = int(datetime(2026, 9, 1, tzinfo=UTC).timestamp()) * 10**9
    drawn = chart(span, span.bucket, {first: 1})
    assert drawn is not None
    assert [bar.label for bar in drawn.bars] == ["Sep 2026", "Oct 2026", "Nov 2026"]


def test_how_long_money_lasts_is_told_by_the_recent_pace() -> None:
    pace = Pace(today_nanousd=0, month_nanousd=0, recent_nanousd=100, recent_seconds=1_000,
                hour_nanousd=0, forecast_nanousd=0)  # fmt: skip
    assert pace.seconds_for(10) == 100
    assert pace.day_nanousd == 8_640


@given(st.integers(1, 10**18))
def test_the_scale_of_a_picture_is_round_and_above_all_bars(most: int) -> None:
    drawn = bars_of([("a", most), ("b", 0)], "money", "day")
    assert drawn is not None
    half, top = (line.amount for line in drawn.lines)
    assert most <= top <= max(2, 2 * most)
    assert half * 2 == top
    assert len(str(top).rstrip("0")) <= 2


@given(st.none() | st.integers(0, 10**15), *[st.integers(0, 10**15)] * 3)
def test_the_parts_of_a_budgets_bar_lie_beside_each_other(
    limit: int | None, posted: int, held: int, unresolved: int
) -> None:
    bar = bar_of(limit, posted, held, unresolved)
    assert float(bar.held_at) == pytest.approx(float(bar.posted), abs=0.02)
    assert float(bar.unresolved_at) == pytest.approx(float(bar.posted) + float(bar.held), abs=0.02)
    assert float(bar.unresolved_at) + float(bar.unresolved) <= 100.02
    is_over = limit is not None and posted + held + unresolved > limit
    assert (bar.limit_at is not None) == is_over


def test_amounts_of_budgets_are_read_in_their_units() -> None:
    assert views.amount(1_500_000_000, "usd") == "$1.50"
    assert views.amount(2_000, "tokens") == "2,000 tokens"
    assert views.amount(1_500, "seconds") == "1.5 seconds"
    assert views.number(1_500, "seconds") == "1.5"
    assert [views.tenths(n) for n in (0, 5, 10, 12_345)] == ["0", "0.5", "1", "1,234.5"]
    assert views.host_of("https://user:secret@example.com:8/token") == "https://example.com"
