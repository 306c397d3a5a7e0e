"""Bodies of requests: taken in whole before anything is done, within bounds of size and time."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from starlette.types import Message, Receive, Scope

from tollspan.server.problems import ProblemError, too_large

_DIGITS: Final = re.compile(rb"[0-9]{1,18}", re.ASCII)
_BUSY_SECONDS: Final = "2"
EMPTY: Final = b""


class BodyStore:
    """Takes bodies in; all of them together have a bound.

    Args:
        seconds: Within which a body has to come.
        most_bytes: Of all bodies that are held at a time.
    """

    def __init__(self, *, seconds: float, most_bytes: int) -> None:
        self._seconds = seconds
        self._most_bytes = most_bytes
        self.held_bytes = 0
        """How much is held now."""

    async def take(self, scope: Scope, receive: Receive, most_bytes: int) -> bytes:
        """Return a request's body; `release` it in the end.

        Args:
            scope: The request.
            receive: What brings its body.
            most_bytes: Of this one.

        Raises:
            ProblemError: It is too large, comes too slowly, or there is no room for it now.
        """
        said = _length(scope)
        if said is None:
            return EMPTY
        if said > most_bytes:
            raise too_large(most_bytes)
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                await self._fill(body, receive, most_bytes)
        except TimeoutError:
            self.held_bytes -= len(body)
            raise ProblemError(
                408, f"the body did not come within {self._seconds:g} s",
                headers={"Connection": "close"},
            ) from None  # fmt: skip
        except BaseException:
            self.held_bytes -= len(body)
            raise
        return bytes(body)

    def release(self, body: bytes) -> None:
        """Forget a body."""
        self.held_bytes -= len(body)

    async def _fill(self, body: bytearray, receive: Receive, most_bytes: int) -> None:
        is_more = True
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClosedError
            chunk: bytes = message.get("body", EMPTY)
            is_more = message.get("more_body", False)
            body += chunk
            self.held_bytes += len(chunk)
            if len(body) > most_bytes:
                raise too_large(most_bytes)
            if self.held_bytes > self._most_bytes:
                raise ProblemError(
                    503, "the server takes in as much as it can; send it again",
                    headers={"Retry-After": _BUSY_SECONDS, "Connection": "close"},
                )  # fmt: skip


class ClosedError(Exception):
    """Whoever asked is gone."""


def _length(scope: Scope) -> int | None:
    """Return how long a request's body is said to be; 0 where that is not said, None for none."""
    for name, value in scope["headers"]:
        if name == b"content-length" and _DIGITS.fullmatch(value):
            return int(value) or None
        if name == b"transfer-encoding":
            return 0
    return None


def again(body: bytes, receive: Receive) -> Receive:
    """Return what brings a body that was taken in, and then whatever comes."""
    is_first = True

    async def bring() -> Message:
        nonlocal is_first
        if is_first:
            is_first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return bring
