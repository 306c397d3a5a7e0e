"""No period is taken for closed while it may still be open somewhere."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.budget import (
    ANCHORED,
    EVERY,
    Account,
    Allowance,
    Every,
    Window,
    is_allowance,
    period,
    periods,
    plain_period,
)
from tollspan.budget.closing_times import closing_of
from tollspan.usage import BLOCK_PERIOD

NS = 1_000_000_000
ZONES = sorted(available_timezones())
moments = st.datetimes(datetime(1972, 1, 1), datetime(2200, 1, 1)).map(  # noqa: DTZ001
    lambda one: int(one.replace(tzinfo=UTC).timestamp()) * NS
)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    every: Every = draw(st.sampled_from([one for one in EVERY if one != "lifetime"]))
    anchor = None
    if every in ANCHORED and draw(st.booleans()):
        anchor = draw(st.dates(date(2000, 1, 1), date(2030, 1, 1)))
    count = 1
    if every == "day" and draw(st.booleans()):
        anchor, count = date(2020, 2, 29), draw(st.integers(1, 400))
    return Window(every=every, timezone=draw(st.sampled_from(ZONES)), anchor=anchor, count=count)


@given(windows(), moments)
def test_a_period_is_closed_no_earlier_than_it_ends_in_any_time_zone(
    window: Window, at_unix_ns: int
) -> None:
    key, until = period(window, at_unix_ns)
    closed_at = closing_of(key).at_unix_ns
    assert closed_at is not None
    assert at_unix_ns < until <= closed_at
    assert closed_at - until < 3 * 86_400 * NS


@given(st.integers(60, 100 * 86_400), moments)
def test_a_rolling_window_is_closed_when_the_last_call_in_it_began(
    seconds: int, at_unix_ns: int
) -> None:
    window = Window(every="rolling", seconds=seconds)
    keys, until = periods(window, at_unix_ns)
    closed = [closing_of(key).at_unix_ns for key in keys]
    assert all(one is not None and one > at_unix_ns for one in closed)
    assert min(one for one in closed if one) == until


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("", "lifetime"),
        (BLOCK_PERIOD, "block"),
        ("0af7651916cd43dd8448eb211c80319c", "trace"),
        ("0AF7651916CD43DD8448EB211C80319C", "lifetime"),
        ("2026-13", "lifetime"),
        ("2026-W54", "lifetime"),
        ("2026-11-22/soon", "lifetime"),
        ("traces", "lifetime"),
        ("2026-11 hours", "lifetime"),
        ("2026-11-22T08", "short"),
        ("2026-11-22T08+0100", "short"),
        ("60s/00179534880", "short"),
        ("86400s/00000001234", "calendar"),
        ("20261122", "lifetime"),
        ("2026-W47-1", "lifetime"),
        ("2026-11-22", "calendar"),
        ("2026-11-14/2026-12-14", "calendar"),
        ("9999-12-31", "lifetime"),
        ("idle:1800s/1795874400000000", "idle"),
        ("idle:1800s/9999999999999999", "idle"),
        ("idle:1800s/", "lifetime"),
        ("idle:0s/1795874400000000", "lifetime"),
    ],
)
def test_a_key_that_can_not_be_read_is_never_over(key: str, kind: str) -> None:
    assert closing_of(key).kind == kind


def test_an_allowance_is_closed_with_its_period_and_summed_apart() -> None:
    share = Allowance(share=Decimal("0.05"))
    for key in ("2026-11", "2026-11-22T08", BLOCK_PERIOD, "idle:1800s/1795874400000000"):
        account = Account(budget_id="b", scope="", period=key, limit=100)
        beside = closing_of(share.beside(account).period)
        assert (beside.kind, beside.at_unix_ns) == (
            closing_of(key).kind,
            closing_of(key).at_unix_ns,
        )
        assert is_allowance(beside.sum_period)
        assert plain_period(beside.sum_period) == closing_of(key).sum_period


def test_sums_of_short_windows_are_kept_by_the_month() -> None:
    assert closing_of("2026-11-22T08-0330").sum_period == "2026-11 hours"
    assert closing_of("60s/00179534880").sum_period == "2026-11 rolling"
    assert closing_of("idle:60s/1795348800000000").sum_period == "2026-11 idle"
    assert closing_of("2026-11-22").sum_period == "2026-11-22"
