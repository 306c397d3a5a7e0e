"""Events as hosts send them, in the fewest words."""

from __future__ import annotations

import time

import msgspec

from tests.contract.ledger.making import event, new_id
from tollspan.usage import Attribution, Outcome, Response, UsageEvent


def usage_event(
    call_id: str | None = None,
    *,
    cost: int = 5,
    age_seconds: float = 0,
    answer: str | None = None,
    model: str = "gpt-4o-mini",
    traceparent: str | None = None,
    customer: str | None = None,
    session: str | None = None,
    feature: str | None = None,
) -> UsageEvent:
    """Make the event of a call that began so long ago."""
    made = event(call_id or new_id(), cost=cost)
    started = time.time_ns() - int(age_seconds * 1e9)
    replace = msgspec.structs.replace
    request = replace(made.call.request, model=model)
    call = replace(
        made.call,
        started_at_unix_ns=started,
        request=request,
        attribution=Attribution(customer=customer, session=session, feature=feature),
    )
    outcome = Outcome(status="ok", response=Response(id=answer))
    return replace(made, call=call, outcome=outcome, traceparent=traceparent)
