"""Counts the bytecodes that a call executes in the calling thread, by part if wanted.

The interpreter's tracer reports every instruction of this thread; other threads do not count. The
same call gives the same number again, so a sum is trusted when it came thrice in a row.
"""

from __future__ import annotations

import gc
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping
from types import CodeType, FrameType
from typing import Any

import msgspec

ROOT_PART = "caller"
_SAME = 3
_TRIES = 60
_Local = Callable[[FrameType, str, Any], Any]


class Count(msgspec.Struct, kw_only=True):
    """What one call executed.

    Attributes:
        bytecodes: Instructions of the calling thread.
        entries: Python functions entered, generators resumed.
        parts: Instructions by part; a function belongs to the part of its caller unless named.
        is_steady: The number came thrice in a row; else it is the median.
    """

    bytecodes: int
    entries: int
    parts: dict[str, int] = {}
    is_steady: bool = True


class Counter:
    """Traces the thread between `start` and `stop`.

    Args:
        parts: Which functions begin which part.
    """

    def __init__(self, parts: Mapping[CodeType, str] | None = None) -> None:
        self._parts = dict(parts or {})
        self._stack = [ROOT_PART]
        self._cells: dict[str, list[int]] = {}
        self._locals: dict[str, _Local] = {}
        for part in (ROOT_PART, *self._parts.values()):
            if part not in self._cells:
                cell = self._cells[part] = [0]
                self._locals[part] = self._local(cell)
        self._entries = 0

    def start(self) -> None:
        """Count from here on."""
        for cell in self._cells.values():
            cell[0] = 0
        self._entries = 0
        self._stack[:] = [ROOT_PART]
        sys.settrace(self._enter)

    def stop(self) -> Count:
        """Stop, and say what was counted."""
        sys.settrace(None)
        parts = {part: cell[0] for part, cell in self._cells.items()}
        return Count(bytecodes=sum(parts.values()), entries=self._entries, parts=parts)

    def _enter(self, frame: FrameType, event: str, arg: Any) -> _Local:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        stack = self._stack
        part = self._parts.get(frame.f_code) or stack[-1]
        stack.append(part)
        self._entries += 1
        return self._locals[part]

    def _local(self, cell: list[int]) -> _Local:
        stack = self._stack

        def trace(frame: FrameType, event: str, arg: Any) -> _Local:
            if event == "opcode":
                cell[0] += 1
            elif event == "return" and len(stack) > 1:
                stack.pop()
            return trace

        return trace


def count(
    call: Callable[[], object],
    parts: Mapping[CodeType, str] | None = None,
    before: Callable[[], object] | None = None,
) -> Count:
    """Count a synchronous call until the number is steady; `before` runs uncounted each time."""
    counter = Counter(parts)
    steady = _Steady()
    gc.disable()
    try:
        for _ in range(_TRIES):
            if before is not None:
                before()
            counter.start()
            call()
            if steady.take(counter.stop()):
                break
            gc.collect(0)
    finally:
        gc.enable()
    return steady.result()


async def count_async(
    call: Callable[[], Awaitable[object]], parts: Mapping[CodeType, str] | None = None
) -> Count:
    """Count an awaited call until the number is steady, the event loop's turns included."""
    counter = Counter(parts)
    steady = _Steady()
    gc.disable()
    try:
        for _ in range(_TRIES):
            counter.start()
            await call()
            if steady.take(counter.stop()):
                break
            gc.collect(0)
    finally:
        gc.enable()
    return steady.result()


class _Steady:
    def __init__(self) -> None:
        self._counts: list[Count] = []

    def take(self, found: Count) -> bool:
        self._counts.append(found)
        last = [one.bytecodes for one in self._counts[-_SAME:]]
        return len(last) == _SAME and len(set(last)) == 1

    def result(self) -> Count:
        last = self._counts[-1]
        if len({one.bytecodes for one in self._counts[-_SAME:]}) == 1:
            return last
        middle = statistics.median_low(one.bytecodes for one in self._counts)
        found = next(one for one in self._counts if one.bytecodes == middle)
        return msgspec.structs.replace(found, is_steady=False)
