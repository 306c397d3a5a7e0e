"""Counts the events that wait outside the ledger; reads no more of a file than it must."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tollspan.usage import Event, decode_event

_MOST_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 20


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for the ledger.

    Attributes:
        count: How many events: of all processes of the home those in files, of this one those in
            memory. At least so many: 64 MiB of each file are read.
        oldest_unix_ns: When the oldest call began, nanoseconds since the epoch; None for nothing.
    """

    count: int = 0
    oldest_unix_ns: int | None = None


def count_waiting(paths: Iterable[Path], in_memory: list[Event]) -> Waiting:
    """Count what waits in files, one JSON event a line, and in memory."""
    count = len(in_memory)
    starts = [in_memory[0].call.started_at_unix_ns] if in_memory else []
    for path in paths:
        try:
            lines, started_at_unix_ns = _look_into(path)
        except OSError:
            continue  # it was taken this instant
        if lines:
            count += lines
            starts.append(started_at_unix_ns)
    return Waiting(count=count, oldest_unix_ns=min(starts, default=None))


def _look_into(path: Path) -> tuple[int, int]:
    """Return how many lines a file has, and when the call of its first one began."""
    with path.open("rb") as file:
        lines, first = 0, b""
        while file.tell() < _MOST_BYTES and (block := file.read(_BLOCK_BYTES)):
            first = first or block
            lines += block.count(b"\n")
        changed_unix_ns = path.stat().st_mtime_ns
    try:
        return lines, decode_event(first.split(b"\n", 1)[0]).call.started_at_unix_ns
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return lines, changed_unix_ns
