"""Who pays for what runs now, and which call of ours is running.

The current call lives in a `ContextVar`: it follows threads and tasks as OpenTelemetry's context
does, and is read without OpenTelemetry.
"""

from __future__ import annotations

from contextvars import ContextVar

import msgspec

from tollspan.usage import Attribution, Call

__all__ = ["CallInFlight", "capture", "current_call", "set_default"]


class CallInFlight(msgspec.Struct):
    """What happens to a call on its way: filled in by the hooks at the SDK's request funnel.

    Attributes:
        call: The call.
        asked: What the wrapper that made it was asked, as the instrumentor keeps it.
        retries: How often the SDK tried again.
        maybe_billed: How many of the failed attempts were sent and never answered.
    """

    call: Call
    asked: object = None
    retries: int = 0
    maybe_billed: int = 0


current_call: ContextVar[CallInFlight | None] = ContextVar("tollspan_current_call", default=None)

_default = Attribution()


def set_default(attribution: Attribution) -> None:
    """Say who pays where nobody else says it: what the environment and the resource know."""
    global _default  # noqa: PLW0603 - one default a process, set by launch
    _default = attribution


def capture() -> Attribution:
    """Return the attribution in force here."""
    return _default
