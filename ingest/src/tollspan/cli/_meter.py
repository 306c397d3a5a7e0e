"""`tollspan meter`: calls as a billing system takes them, one JSON object a line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable

from tollspan.reports import (
    lago_event,
    openmeter_event,
    openmeter_token_events,
    stripe_event,
)
from tollspan.usage import UsageEvent

from ._checks import many
from ._sources import usage_events

_Writer = Callable[[UsageEvent], Iterable[bytes | None]]


def meter(parsed: argparse.Namespace) -> int:
    """Write events; say on standard error how many calls gave none."""
    written = _writer(parsed)
    out = sys.stdout.buffer
    left = folded = 0
    for event in usage_events(parsed):
        if event.folded is not None:  # its calls may have been written one by one before
            folded += event.folded.calls
            continue
        lines = [line for line in written(event) if line is not None]
        left += not lines
        for line in lines:
            out.write(line + b"\n")
    out.flush()
    if left:
        sys.stderr.write(
            f"{many(left, 'call')} left out: of no customer, or with nothing known to count\n"
        )
    if folded:
        sys.stderr.write(f"{many(folded, 'call')} left out: folded into totals\n")
    return 0


def _writer(parsed: argparse.Namespace) -> _Writer:
    known: dict[str, str] = dict(parsed.customer)
    name: str | None = parsed.name
    unit: str = parsed.unit

    def theirs(event: UsageEvent) -> str | None:
        return known.get(event.call.attribution.customer or "")

    writers: dict[str, _Writer] = {
        "openmeter": lambda event: (openmeter_event(event, type=name or "tollspan.usage"),),
        "openmeter-tokens": lambda event: openmeter_token_events(event, type=name or "prompt"),
        "lago": lambda event: (
            lago_event(event, code=name or "tollspan_usage", subscription=theirs(event)),
        ),
        "stripe": lambda event: (
            stripe_event(
                event, event_name=name or "tollspan_usage", unit=unit, customer=theirs(event)
            ),
        ),
    }
    return writers[parsed.shape]
