"""Token buckets let through what they say, and hold no more names than they say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tollspan.server.pressure.buckets import TokenBuckets


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    per_second=st.sampled_from([0.5, 1, 20]),
    burst=st.sampled_from([1, 5]),
    waits=st.lists(st.sampled_from([0, 0, 0.01, 0.3, 2, 60]), max_size=80),
)
def test_in_no_stretch_of_time_more_is_taken_than_came_in(
    per_second: float, burst: int, waits: list[float]
) -> None:
    clock = Clock()
    buckets = TokenBuckets(per_second=per_second, burst=burst, clock=clock)
    taken: list[float] = []
    for wait in waits:
        clock.now += wait
        if not buckets.take("a"):
            taken.append(clock.now)
    for first, began in enumerate(taken):
        for last in range(first, len(taken)):
            count = last - first + 1
            assert count <= burst + (taken[last] - began) * per_second + 1e-6


def test_who_waits_as_long_as_was_said_is_served() -> None:
    clock = Clock()
    buckets = TokenBuckets(per_second=2, burst=1, clock=clock)
    assert buckets.take("a") == 0
    assert buckets.take("a") == 0.5
    assert buckets.take("b") == 0
    clock.now += 0.5
    assert buckets.take("a") == 0


def test_a_token_that_is_given_back_can_be_taken_again() -> None:
    buckets = TokenBuckets(per_second=1, burst=1, clock=Clock())
    assert buckets.take("a") == 0
    buckets.give_back("a")
    assert buckets.take("a") == 0
    assert buckets.take("a") > 0


def test_of_too_many_names_those_are_forgotten_that_were_silent_longest() -> None:
    buckets = TokenBuckets(per_second=1, burst=1, most=2, clock=Clock())
    for name in ("a", "b", "c"):
        assert buckets.take(name) == 0
    assert len(buckets) == 2
    assert buckets.take("c") > 0
    assert buckets.take("a") == 0


def test_a_rate_of_zero_is_no_bound() -> None:
    buckets = TokenBuckets(per_second=0, burst=1, clock=Clock())
    assert [buckets.take("a") for _ in range(100)] == [0] * 100
    assert len(buckets) == 0
