"""Puts contexts in place and takes them away again, without tokens.

A token of OpenTelemetry's context works only where it was made. What ends elsewhere, a generator
that another task closes or one that the collector finds, would leave its context in place there and
be told off. A frame is found again in the context itself: where it is not, nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from opentelemetry.context import Context, attach, create_key, get_current, get_value, set_value

_FRAME = create_key("tollspan-frame")
Deriving = Callable[[Context], Context]
"""Makes the context to run in out of the one around it."""


class _Frame:
    __slots__ = ("outer", "owner")

    def __init__(self, owner: object, outer: Context) -> None:
        self.owner = owner
        self.outer = outer


def enter(owner: object, context: Context) -> None:
    """Put a context in place, in the name of an owner."""
    attach(set_value(_FRAME, _Frame(owner, get_current()), context))


def leave(owner: object) -> None:
    """Put back what was there before the owner entered; nothing where he is not in place."""
    frame = _find(owner, get_current())
    if frame is not None:
        attach(frame.outer)


def _find(owner: object, context: Context) -> _Frame | None:
    """Find an owner's innermost frame, also under those of others who did not leave."""
    frame = get_value(_FRAME, context)
    while isinstance(frame, _Frame):
        if frame.owner is owner:
            return frame
        frame = get_value(_FRAME, frame.outer)
    return None


class Steps:
    """Has what runs in steps run in a context of its own, of which nothing is seen between them.

    Each step is a `with` block. The context is made out of the one around each step; what the steps
    attach and keep attached, a span's say, they find again in the next one.
    """

    __slots__ = ("_around", "_derive", "_kept", "_made", "_made_in")

    def __init__(self, derive: Deriving) -> None:
        self._derive = derive
        self._around: Context
        self._made: Context
        self._made_in: Context | None = None
        self._kept: Context | None = None

    def __enter__(self) -> None:
        around = self._around = get_current()
        if self._kept is not None:
            attach(self._kept)
            return
        if around is not self._made_in:
            self._made = set_value(_FRAME, _Frame(self, around), self._derive(around))
            self._made_in = around
        attach(self._made)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        now = get_current()
        if now is self._made:
            self._kept = None
        elif _find(self, now) is not None:
            self._kept = now
        else:
            return  # the step ends elsewhere: there is nothing of ours here
        attach(self._around)
