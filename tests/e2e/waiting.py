"""Waits for what another process or thread does, where it leaves no event to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(
    is_so: Callable[[], bool], *, timeout_seconds: float = 30.0, every_seconds: float = 0.005
) -> None:
    """Look again and again until something is so.

    Raises:
        AssertionError: It took too long.
    """
    give_up_at = time.monotonic() + timeout_seconds
    while not is_so():
        assert time.monotonic() < give_up_at, "it never came true"
        time.sleep(every_seconds)
