"""Ids: of calls, UUID version 7 made without the program's own random state; of spans, W3C's."""

from __future__ import annotations

import os
import random
import time

# A private generator: a program's own `random.seed(42)` must not make ids repeat.
_random = random.Random()  # noqa: S311 - uniqueness, not secrecy
_VERSION_7_AND_VARIANT = 0x7 << 76 | 0x2 << 62


def _reseed() -> None:
    _random.seed(os.urandom(32))


_reseed()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reseed)


def new_call_id(unix_ns: int | None = None) -> str:
    """Return a fresh UUIDv7 (RFC 9562, section 5.7) as 32 lower-case hex digits.

    Args:
        unix_ns: The call's start, nanoseconds since the epoch; now when absent.
    """
    milliseconds = (time.time_ns() if unix_ns is None else unix_ns) // 1_000_000
    bits = _random.getrandbits(74)
    return "%032x" % (
        milliseconds << 80 | _VERSION_7_AND_VARIANT | (bits >> 62) << 64 | bits & 0x3FFFFFFFFFFFFFFF
    )


def traceparent(trace_id: int, span_id: int, flags: int = 0) -> str:
    """Name a span as W3C's Trace Context does, version 00; `flags` 0 says nothing of sampling."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"
