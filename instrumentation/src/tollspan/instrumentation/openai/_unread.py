"""A reader for shapes that have no stream."""

from __future__ import annotations

import time

from tollspan.instrumentation._shapes import UNREAD, Reading

_FORGET_AFTER = 256


class UnreadReader:
    """Keeps nothing of a stream that should not be one: its usage is unknown."""

    __slots__ = ("first_chunk_at_ns", "kept", "look_at", "sign")

    def __init__(self) -> None:
        self.kept: list[object] = []
        self.sign = "usage"
        self.look_at = 1
        self.first_chunk_at_ns: int | None = None

    def look(self, chunk: object) -> bool:  # noqa: ARG002 - the protocol's
        """Forget what was kept."""
        if self.first_chunk_at_ns is None:
            self.first_chunk_at_ns = time.perf_counter_ns()
            self.look_at = _FORGET_AFTER
        self.kept.clear()
        return False

    def is_whole(self) -> bool:
        """Say that nobody knows."""
        return False

    def read(self) -> Reading:
        """Return unknown usage."""
        return UNREAD
