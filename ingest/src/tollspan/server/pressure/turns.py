"""Turns: of one tenant only so much is worked on at once, so that there is room for the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec


class _Line(msgspec.Struct):
    """Those of one name."""

    turn: asyncio.Semaphore
    length: int = 0


class NoTurnError(Exception):
    """None came in time."""


class Turns:
    """Gives turns, to those of one name in the order in which they came; for one event loop.

    Args:
        at_once: How many of one name have a turn at a time.
        seconds: How long one is waited for.
    """

    def __init__(self, *, at_once: int, seconds: float) -> None:
        self._at_once = at_once
        self._seconds = seconds
        self._lines: dict[str, _Line] = {}

    def __len__(self) -> int:
        return len(self._lines)

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncGenerator[None]:
        """Wait for a turn, and have it until the block ends.

        Raises:
            NoTurnError: None came in time.
        """
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line(asyncio.Semaphore(self._at_once))
        line.length += 1
        try:
            await self._wait(line.turn)
            try:
                yield
            finally:
                line.turn.release()
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[name]

    async def _wait(self, turn: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await turn.acquire()
        except TimeoutError:
            raise NoTurnError from None
