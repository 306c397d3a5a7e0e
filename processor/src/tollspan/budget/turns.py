"""The fingerprint of a call's last turn: what tells calls alike, and says nothing of what they say.

Whoever reads what is asked notes it for the call; the gate looks it up. It is kept nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextvars import ContextVar
from hashlib import blake2b

_KEY = os.urandom(32)
_SIZE = 16
# Longer texts are documents or images: there, spaces are content.
_LONGEST_LOOSE = 1 << 16
_noted: ContextVar[tuple[str, bytes] | None] = ContextVar("tollspan_turn", default=None)


def fingerprint(parts: Iterable[str], *, key: bytes = _KEY) -> bytes:
    """Hash what was said last, in parts: 16 bytes that are worth nothing in another process.

    How many spaces and line ends there are, and capitals, make no difference; all else does.

    Args:
        parts: Who spoke, what was said, which tools were called with what, what they answered.
        key: Secret of this process: without it, nobody can try out what was said.
    """
    found = blake2b(key=key, digest_size=_SIZE)
    for part in parts:
        if len(part) <= _LONGEST_LOOSE:
            part = " ".join(part.split()).casefold()  # noqa: PLW2901 - the part itself
        data = part.encode("utf-8", "surrogatepass")
        found.update(b"%d:" % len(data))
        found.update(data)
    return found.digest()


def note_turn(call_id: str, turn: bytes | None) -> None:
    """Note what the last turn of a call is, before the gate is asked for it here."""
    _noted.set(None if turn is None else (call_id, turn))


def turn_of(call_id: str) -> bytes | None:
    """Return what was noted of a call; None where nobody did, or could."""
    noted = _noted.get()
    return noted[1] if noted is not None and noted[0] == call_id else None
