"""When the chunks of a stream came: C code alone reads the clock, at no step of ours a chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain, compress, islice, repeat, tee
from typing import Any, cast

_MOST = 256
# Neither has a state: every stream draws from the same.
_clock = iter(time.perf_counter_ns, -1)
_beyond = repeat(1)


class Arrivals:
    """Reads the clock at each tick, and keeps the first 256 times.

    The times lie in the buffer between two iterators over the clock: one of them ticks, the other
    is left behind until somebody wants to know.

    Attributes:
        ticks: Each `next` is a tick; it has no end.
    """

    __slots__ = ("_kept", "ticks")

    def __init__(self) -> None:
        ticking, self._kept = tee(_clock)
        self.ticks: Iterator[int] = chain(islice(ticking, _MOST), _beyond)

    def timed(self, source: Any) -> Callable[[], object]:
        """Return a source's `__next__` with a tick at each chunk; the same chunks and errors."""
        if iter(source) is source:
            return compress(source, self.ticks).__next__
        return cast("Callable[[], object]", source.__next__)  # it is no iterator itself

    def gaps_seconds(self, now_ns: int) -> list[float]:
        """Return the times between the chunks that came until `now_ns`; to be asked once."""
        gaps: list[float] = []
        last: int | None = None
        for at in islice(self._kept, _MOST):
            if at >= now_ns:  # nobody ticked: this reading is of now
                break
            if last is not None:
                gaps.append((at - last) / 1e9)
            last = at
        return gaps
