"""Says in the log what goes wrong again and again, without filling it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Final

_EVERY_SECONDS: Final = 60.0


class Complaint:
    """Something that goes wrong at every request for as long as something is away.

    Safe for threads.

    Args:
        log: Where it is said.
        what: What goes wrong.
        clock: Monotonic seconds.
    """

    def __init__(
        self, log: logging.Logger, what: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._what = what
        self._clock = clock
        self._lock = threading.Lock()
        self._said_at = -math.inf
        self._unsaid = 0

    def make(self, error: Exception) -> None:
        """Say that it went wrong, or count it where that was said within the last minute."""
        with self._lock:
            now = self._clock()
            if now - self._said_at < _EVERY_SECONDS:
                self._unsaid += 1
                return
            self._said_at, unsaid, self._unsaid = now, self._unsaid, 0
        more = f" ({unsaid} times more since it was said last)" if unsaid else ""
        self._log.warning("%s%s: %s", self._what, more, error)
