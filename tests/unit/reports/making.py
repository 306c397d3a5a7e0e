"""Makes usage events for reports: priced by the shipped book, at one fixed time."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from tollspan.pricing import PriceBook
from tollspan.usage import (
    Attribution,
    Call,
    Cost,
    DecisionNote,
    Outcome,
    Request,
    Response,
    Usage,
    UsageEvent,
)

BOOK = PriceBook.load()
NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()) * 10**9
HOUR = 3_600 * 10**9
DAY = 24 * HOUR


def an_event(
    usage: Usage | None,
    *,
    number: int = 0,
    at: int = NOON,
    provider: str = "openai",
    model: str = "gpt-4o-mini",
    owner: Attribution | None = None,
    cost: Cost | None = None,
    book: PriceBook = BOOK,
) -> UsageEvent:
    """Return an event of a call that used this, with what the book says that it cost."""
    request = Request(provider=provider, operation="chat", model=model)
    if cost is None and usage is not None:
        cost = book.rate(request, Response(), usage, at)
    return UsageEvent(
        call=Call(
            id=f"{number:032x}", started_at_unix_ns=at, request=request,
            attribution=owner or Attribution(customer="acme"),
        ),
        decision=DecisionNote(),
        outcome=Outcome(status="ok"),
        usage=usage,
        cost=cost or Cost(status="not_billed", amount_nanousd=0),
    )  # fmt: skip


def with_amount(event: UsageEvent, amount_nanousd: int | None, **more: object) -> UsageEvent:
    """Return the event with another amount."""
    cost = msgspec.structs.replace(event.cost, amount_nanousd=amount_nanousd, **more)
    return msgspec.structs.replace(event, cost=cost)
