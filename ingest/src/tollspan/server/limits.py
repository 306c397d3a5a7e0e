"""Bounds on what a route reads: how long a body is, and what it unpacks to."""

from __future__ import annotations

import re
import zlib
from typing import Final

from fastapi import Request

from .problems import ProblemError, too_large

_GZIP_WINDOW: Final = 31
_DIGITS: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


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
