"""The one place that swallows our own bugs: a guard, and plain counters of what it caught."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

__all__ = ["Guard", "GuardOfOthers", "internal_errors", "report"]

_LOG_EVERY_SECONDS = 60.0
_logger = logging.getLogger("tollspan.safety")
_logged_at: dict[tuple[str, str], float] = {}

internal_errors: dict[tuple[str, str], int] = {}
"""Our own failures in this process: (place, exception's name) → how often."""


class Guard:
    """A context manager that lets no ordinary exception of ours out of its block.

    What it catches is counted in `internal_errors` and logged once a minute for each place and
    kind. `KeyboardInterrupt`, `SystemExit` and cancellation pass through: they are not ours.
    """

    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        self.place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if kind is None or not isinstance(error, Exception):
            return False
        report(self.place, error)
        return True


class GuardOfOthers(Guard):
    """A guard around a program's function that nobody waits for: it may end nothing but itself.

    `sys.exit()` and cancellation in it go no further either; the program's own Ctrl-C does.
    """

    __slots__ = ()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None:
            return False
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and isinstance(error, KeyboardInterrupt):
            return False
        report(self.place, error)
        return True


def report(place: str, error: BaseException) -> None:
    """Count a failure of ours and log it, at most once a minute for each place and kind."""
    key = (place, type(error).__name__)
    internal_errors[key] = internal_errors.get(key, 0) + 1
    now = time.monotonic()
    if now - _logged_at.get(key, -_LOG_EVERY_SECONDS) >= _LOG_EVERY_SECONDS:
        _logged_at[key] = now
        _logger.error(
            "tollspan failed in %s; your call goes on without it (%d so far)",
            place,
            internal_errors[key],
            exc_info=error,
        )
