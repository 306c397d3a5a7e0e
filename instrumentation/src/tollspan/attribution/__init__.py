"""Who pays for what runs now, and which call of ours is running.

The attribution lives under a private key of OpenTelemetry's context, and follows it into tasks and
threads. The current call lives in a `ContextVar` of its own, which is read without OpenTelemetry.
"""

from __future__ import annotations

from contextvars import ContextVar

import msgspec

from tollspan.usage import Call

from ._baggage import BAGGAGE, SHORTEST_SECRET, Baggage, outbound
from ._blocks import Argument, Value, argument, attribution, finishing
from ._budgets import Budgeted
from ._carrying import bind
from ._current import agents, capture, capture_in_trace, set_default, use_baggage

__all__ = [
    "BAGGAGE",
    "SHORTEST_SECRET",
    "Argument",
    "Baggage",
    "Budgeted",
    "CallInFlight",
    "Value",
    "agents",
    "argument",
    "attribution",
    "bind",
    "capture",
    "capture_in_trace",
    "current_call",
    "finishing",
    "outbound",
    "set_default",
    "use_baggage",
]


class CallInFlight(msgspec.Struct):
    """What happens to a call on its way: filled in by the hooks at the SDK's request funnel.

    Attributes:
        call: The call.
        asked: What the wrapper that made it was asked, as the instrumentor keeps it.
        retries: How often the SDK tried again.
        maybe_billed: How many of the failed attempts were sent and never answered.
        traceparent: The first span that somebody else has made of it, in W3C's form; None for none.
    """

    call: Call
    asked: object = None
    retries: int = 0
    maybe_billed: int = 0
    traceparent: str | None = None


current_call: ContextVar[CallInFlight | None] = ContextVar("tollspan_current_call", default=None)
