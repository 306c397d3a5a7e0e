"""Remembers that a server does not answer, so that not every call has to find that out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_MOST_IN_A_ROW: Final = 3
_ASKED_EVERY_SECONDS: Final = 1.0


class Silence:
    """Lets one question a second through to a server that left some in a row without an answer.

    One that is late now and then, or that refuses connections at once, is asked as ever. For
    threads.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._ask_at = 0.0

    def may_ask(self) -> bool:
        """Say whether to ask now; where it is silent, whoever may asks for all."""
        if self._in_a_row < _MOST_IN_A_ROW:
            return True
        with self._lock:
            now = self._clock()
            if now < self._ask_at:
                return False
            self._ask_at = now + _ASKED_EVERY_SECONDS
            return True

    def unheard(self) -> None:
        """Note that a question had no answer in time."""
        with self._lock:
            self._in_a_row += 1
            if self._in_a_row == _MOST_IN_A_ROW:
                self._ask_at = self._clock() + _ASKED_EVERY_SECONDS

    def heard(self) -> None:
        """Note that one had."""
        self._in_a_row = 0
