"""Arrival times: kept without a step of ours, in order, and for the chunks that came."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tollspan.instrumentation._timing import Arrivals


class Chunks:
    """A stream: its `__iter__` may make another iterator, as the SDK's do."""

    def __init__(self, chunks: list[object]) -> None:
        self._chunks = iter(chunks)

    def __next__(self) -> object:
        chunk = next(self._chunks)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk


class SelfIterating(Chunks):
    """A stream that is its own iterator."""

    def __iter__(self) -> Iterator[object]:
        return self


class Iterating(Chunks):
    """A stream whose iterator is another object."""

    def __iter__(self) -> Iterator[object]:
        while True:
            yield next(self)


def test_there_is_a_gap_between_each_two_chunks() -> None:
    arrivals = Arrivals()
    started_ns = time.perf_counter_ns()
    next_chunk = arrivals.timed(SelfIterating(["a", "b", "c"]))
    assert [next_chunk(), next_chunk(), next_chunk()] == ["a", "b", "c"]
    ended_ns = time.perf_counter_ns()
    gaps = arrivals.gaps_seconds(ended_ns)
    assert len(gaps) == 2
    assert all(gap >= 0 for gap in gaps)
    assert sum(gaps) <= (ended_ns - started_ns) / 1e9


@pytest.mark.parametrize("count", [0, 1])
def test_there_is_no_gap_without_two_chunks(count: int) -> None:
    arrivals = Arrivals()
    next_chunk = arrivals.timed(SelfIterating(["a"] * count))
    for _ in range(count):
        next_chunk()
    with pytest.raises(StopIteration):
        next_chunk()
    assert arrivals.gaps_seconds(time.perf_counter_ns()) == []


def test_the_streams_own_error_comes_through_and_the_stream_goes_on_after_it() -> None:
    error = ValueError("broken")
    arrivals = Arrivals()
    next_chunk = arrivals.timed(SelfIterating(["a", error, "b"]))
    assert next_chunk() == "a"
    with pytest.raises(ValueError, match="broken") as caught:
        next_chunk()
    assert caught.value is error
    assert next_chunk() == "b"
    assert len(arrivals.gaps_seconds(time.perf_counter_ns())) == 1


def test_a_stream_that_is_no_iterator_itself_is_read_as_it_was() -> None:
    stream = Iterating(["a", "b"])
    arrivals = Arrivals()
    next_chunk = arrivals.timed(stream)
    assert (next_chunk(), next_chunk()) == ("a", "b")
    assert arrivals.gaps_seconds(time.perf_counter_ns()) == []


def test_several_iterators_share_one_clock() -> None:
    arrivals = Arrivals()
    stream = SelfIterating(["a", "b", "c"])
    arrivals.timed(stream)()
    arrivals.timed(stream)()
    next(arrivals.ticks)
    assert len(arrivals.gaps_seconds(time.perf_counter_ns())) == 2


def test_a_long_stream_keeps_the_first_times_only() -> None:
    arrivals = Arrivals()
    next_chunk = arrivals.timed(iter(range(1, 10_001)))
    assert sum(1 for _ in iter(next_chunk, 10_000)) == 9_999
    assert len(arrivals.gaps_seconds(time.perf_counter_ns())) == 255


def test_a_chunk_that_is_nothing_is_a_chunk() -> None:
    next_chunk = Arrivals().timed(SelfIterating([None, 0, ""]))
    assert [next_chunk(), next_chunk(), next_chunk()] == [None, 0, ""]
