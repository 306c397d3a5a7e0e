"""How totals, which stand for events that were folded, are stored."""

from __future__ import annotations

from tollspan.usage import UsageEvent, encode_event


def row_of(total: UsageEvent) -> tuple[str, str, int, int | None, bytes]:
    """Return a total's values as they are stored; it charges nothing, for its events did."""
    is_sent = total.folded is not None and total.folded.is_sent
    return (
        total.call.id,
        "sent" if is_sent else "total",
        total.call.started_at_unix_ns,
        total.cost.amount_nanousd,
        encode_event(total),
    )
