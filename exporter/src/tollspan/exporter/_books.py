"""What an exporter needs of an installed tollspan."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tollspan.budget import CallSink, Gate
from tollspan.usage import Attribution, ForeignSpan


class Books(msgspec.Struct, frozen=True):
    """Where usage goes.

    Attributes:
        gate: Names the budgets that count what was used.
        sink: Prices and keeps it.
        is_known: Says of a span, with its start and end, whether its call is seen elsewhere.
        default: Who pays where a span does not say it.
    """

    gate: Gate
    sink: CallSink
    is_known: Callable[[ForeignSpan, int, int], bool]
    default: Callable[[], Attribution]
