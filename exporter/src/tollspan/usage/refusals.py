"""Records a refusal: the event of a denial."""

from __future__ import annotations

from .call import Call
from .errors import CallDeniedError
from .events import DecisionEvent, DecisionNote


def refusal(
    call: Call, decision: DecisionNote, denial: CallDeniedError, traceparent: str | None
) -> DecisionEvent:
    """Return the event of a call that was refused, with the account as the denial tells it."""
    return DecisionEvent(
        call=call,
        decision=decision,
        error_type=denial.error_type,
        unit=denial.unit,
        limit=denial.limit,
        spent=denial.spent,
        held=denial.held,
        asked=denial.asked,
        scope=denial.scope,
        traceparent=traceparent,
    )
