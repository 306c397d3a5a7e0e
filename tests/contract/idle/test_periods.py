"""A period lasts until its owner was silent for the idle time and a tenth of it, by one clock."""

from __future__ import annotations

import itertools

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.idle import BEGAN_US, IDLE_SECONDS, touch
from tests.contract.idle.kits import IdleKit
from tollspan.budget import IDLE_MEMORY_SECONDS, IdleRows, Touch, idle_key

LASTS = IDLE_SECONDS * 1.1
lives = itertools.count()


def named(number: int) -> str:
    return idle_key(IDLE_SECONDS, BEGAN_US + number)


def test_the_first_who_says_that_an_owner_is_active_begins_a_period(kit: IdleKit) -> None:
    assert kit.touch(touch(1)) == named(1)
    assert kit.touch(touch(2)) == named(1)
    assert kit.other().touch(touch(3)) == named(1)
    assert kit.touch(touch(4, scope="")) == named(4)


def test_a_period_lasts_while_its_owner_is_active(kit: IdleKit) -> None:
    for number in range(1, 6):
        assert kit.touch(touch(number)) == named(1)
        kit.advance(LASTS - 2)


def test_after_silence_another_begins_and_sorts_behind(kit: IdleKit) -> None:
    kit.touch(touch(5))
    kit.advance(LASTS)
    assert kit.touch(touch(7)) == named(7)
    kit.advance(LASTS)
    assert kit.touch(touch(3)) == named(8)
    assert kit.touch(touch(9)) == named(8)


def test_what_was_said_late_counts_from_when_it_was(kit: IdleKit) -> None:
    kit.touch(touch(1))
    kit.advance(50)
    kit.touch(touch(2, ago_seconds=20))
    kit.advance(LASTS - 30)
    assert kit.touch(touch(3, is_look=True)) == named(1)
    kit.advance(12)
    assert kit.touch(touch(3, is_look=True)) == named(3)


def test_who_says_less_than_another_did_ends_nothing_earlier(kit: IdleKit) -> None:
    kit.touch(touch(1))
    kit.advance(60)
    kit.touch(touch(1))
    kit.touch(touch(1, ago_seconds=55))
    kit.advance(LASTS - 2)
    assert kit.touch(touch(2)) == named(1)


def test_a_look_changes_nothing(kit: IdleKit) -> None:
    assert kit.touch(touch(3, is_look=True)) == named(3)
    assert kit.touch(touch(1)) == named(1)
    kit.advance(60)
    assert kit.touch(touch(3, is_look=True)) == named(1)
    kit.advance(LASTS - 60)
    assert kit.touch(touch(3, is_look=True)) == named(3)
    assert kit.touch(touch(2)) == named(2)


def test_a_holder_that_knows_its_period_keeps_it_whatever_the_clock_says(kit: IdleKit) -> None:
    kit.touch(touch(1))
    kit.advance(10 * LASTS)
    assert kit.touch(touch(1, is_known=True)) == named(1)
    assert kit.touch(touch(2)) == named(1)


def test_a_holder_that_knows_an_older_period_is_told_the_newer(kit: IdleKit) -> None:
    kit.touch(touch(1))
    kit.advance(LASTS)
    kit.touch(touch(2))
    assert kit.touch(touch(1, is_known=True)) == named(2)


def test_a_clock_that_goes_back_ends_no_period_early_and_delays_none_for_long(
    kit: IdleKit,
) -> None:
    kit.touch(touch(1))
    kit.advance(-3_600)
    assert kit.touch(touch(2)) == named(1)
    kit.advance(LASTS - 2)
    assert kit.touch(touch(3)) == named(1)
    kit.advance(LASTS)
    assert kit.touch(touch(4)) == named(4)


def test_other_rules_have_their_own_idle_time_from_when_they_are_said(kit: IdleKit) -> None:
    assert kit.touch(touch(1)) == named(1)
    assert kit.touch(touch(2, idle_seconds=1_000)) == named(1)
    kit.advance(1_090)
    assert kit.touch(touch(3, idle_seconds=10)) == named(1)
    kit.advance(11)
    assert kit.touch(touch(4, idle_seconds=10)) == idle_key(10, BEGAN_US + 4)


def test_owners_that_are_silent_for_long_are_forgotten(kit: IdleKit) -> None:
    for number in range(20):
        kit.touch(touch(number, scope=f"{number}"))
    kit.advance(LASTS + IDLE_MEMORY_SECONDS + 1)
    for number in range(100, 130):
        kit.touch(touch(number, scope=f"{number}"))
    assert kit.touch(touch(0, scope="0")) == named(0)  # not behind another: it was forgotten


def test_one_with_a_long_window_keeps_no_other_from_being_forgotten(kit: IdleKit) -> None:
    kit.touch(touch(0, scope="long", idle_seconds=100 * 86_400))
    kit.touch(touch(1, scope="short"))
    kit.advance(LASTS + IDLE_MEMORY_SECONDS + 1)
    kit.touch(touch(2, scope="other"))
    assert kit.touch(touch(1, scope="short")) == named(1)
    assert kit.touch(touch(3, scope="long", is_look=True)) != named(3)


ACTS = st.one_of(
    st.integers(-30, 130).map(float),
    st.builds(
        touch,
        st.integers(1, 100),
        scope=st.sampled_from(["", '{"session":"ä\'\\"/:"}']),
        ago_seconds=st.integers(0, 60),
        is_known=st.booleans(),
        is_look=st.booleans(),
        idle_seconds=st.sampled_from([10, 100, 86_400]),
    ),
)


@given(acts=st.lists(ACTS, max_size=30))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_every_authority_says_what_the_rows_in_memory_say(
    kit: IdleKit, acts: list[float | Touch]
) -> None:
    rows = IdleRows()
    life = next(lives)
    now = 1 << 60
    for act in acts:
        if isinstance(act, float):
            kit.advance(act + 0.5)  # a clock that runs on does not decide
            now += int((act + 0.5) * 1_000_000_000)
        else:
            told = in_life(act, life)
            assert kit.touch(told) == rows.touch(told, now, lambda _: False)


def in_life(act: Touch, life: int) -> Touch:
    """Return what another owner says: authorities live longer than one example."""
    account = msgspec.structs.replace(act.account, budget_id=f"life {life}")
    return msgspec.structs.replace(act, account=account)
