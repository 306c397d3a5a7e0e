"""Bounds on what a client can make the server read: bytes, time, and what they unpack to."""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import ProblemError

_GZIP_WINDOW: Final = 31
_DIGITS: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


class BodyLimit:
    """Middleware that lets no body through that is too large, or comes too slowly.

    Args:
        app: What is behind it.
        most_bytes: Of a body.
        seconds: Within which it has to come.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int, seconds: float) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http":
            receive = _Bounded(receive, self._most_bytes, self._seconds)
        await self._app(scope, receive, send)


class _Bounded:
    """What a request sends, counted."""

    def __init__(self, receive: Receive, most_bytes: int, seconds: float) -> None:
        self._receive = receive
        self._left = most_bytes
        self._most = most_bytes
        self._seconds = seconds
        self._is_complete = False
        self._gives_up_at: float | None = None

    async def __call__(self) -> Message:
        if self._is_complete:
            return await self._receive()
        now = asyncio.get_running_loop().time()
        if self._gives_up_at is None:
            self._gives_up_at = now + self._seconds
        try:
            async with asyncio.timeout(self._gives_up_at - now):
                message = await self._receive()
        except TimeoutError:
            raise ProblemError(
                408, f"the body did not come within {self._seconds:g} s",
                headers={"Connection": "close"},
            ) from None  # fmt: skip
        self._left -= len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)
        if self._left < 0:
            raise too_large(self._most)
        return message


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Return a body, unpacked.

    Raises:
        ProblemError: It is too large, packed wrongly, or in a way that is not known here.
    """
    said = request.headers.get("content-length", "")
    if _DIGITS.fullmatch(said) and int(said) > most_bytes:
        raise too_large(most_bytes)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return await request.body()
    if encoding != "gzip":
        raise ProblemError(415, "the body's Content-Encoding is not known; expected gzip or none")
    return _unpack(await request.body(), most_bytes)


def _unpack(packed: bytes, most_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        body = unpacker.decompress(packed, most_bytes + 1)
    except zlib.error as error:
        raise ProblemError(400, "the body is no gzip, though Content-Encoding says so") from error
    if len(body) > most_bytes:
        raise too_large(most_bytes)
    if not unpacker.eof or unpacker.unused_data:
        raise ProblemError(400, "the body's gzip is cut short, or goes on after its end")
    return body


def too_large(most_bytes: int) -> ProblemError:
    """Return what a body that is too large is answered with."""
    return ProblemError(413, f"the body has more than {most_bytes:,} bytes; send less at once",
                        headers={"Connection": "close"})  # fmt: skip
