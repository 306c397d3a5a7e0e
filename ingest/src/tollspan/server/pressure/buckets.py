"""Token buckets: how often somebody may ask, with some at once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_MOST: Final = 10_000


class TokenBuckets:
    """A bucket of tokens for each name, filled at an even rate; safe for threads.

    Bounded: of more names than it can hold it forgets those that were silent longest, whose buckets
    are the likeliest to be full again.

    Args:
        per_second: How many tokens come into a bucket; 0 for no bound on asking.
        burst: How many one holds.
        most: How many names are held.
        clock: In seconds, never backwards.
    """

    def __init__(
        self,
        *,
        per_second: float,
        burst: float,
        most: int = _MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second = per_second
        self._burst = max(1.0, burst)
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str) -> float:
        """Take a token; return 0, or in how many seconds there is one where none was left."""
        if self._per_second <= 0:
            return 0.0
        with self._lock:
            now = self._clock()
            tokens, at = self._buckets.pop(name, (self._burst, now))
            tokens = min(self._burst, tokens + (now - at) * self._per_second)
            is_there = tokens >= 1
            self._keep(name, tokens - 1 if is_there else tokens, now)
        return 0.0 if is_there else (1 - tokens) / self._per_second

    def give_back(self, name: str) -> None:
        """Put a token back that was taken for nothing."""
        if self._per_second <= 0:
            return
        with self._lock:
            tokens, at = self._buckets.pop(name, (self._burst, self._clock()))
            self._keep(name, min(self._burst, tokens + 1), at)

    def _keep(self, name: str, tokens: float, at: float) -> None:
        self._buckets[name] = (tokens, at)
        while len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
