"""What is kept of a decision, and the accounts of calls for which nothing was held."""

from __future__ import annotations

from tollspan.usage import Bound, Call, DecisionAction, DecisionNote, Mode

from . import asking
from .plans import Plan
from .values import Hold


def never_held(call: Call, plan: Plan) -> Hold | None:
    """Name the accounts of a call for which nothing was held, so that it is charged to them."""
    if not plan.accounts:
        return None
    legs, unasked = asking.split(plan.accounts, {})
    return Hold(
        call_id=call.id,
        started_at_unix_ns=call.started_at_unix_ns,
        legs=legs,
        is_money=plan.is_money,
        unasked=unasked,
    )


def note_of(
    bound: Bound,
    action: DecisionAction,
    rule_ids: tuple[str, ...] = (),
    *,
    is_unavailable: bool = False,
    mode: Mode = "enforce",
) -> DecisionNote:
    """Return what is kept of a decision."""
    return DecisionNote(
        action=action,
        rule_ids=rule_ids,
        bound_nanousd=bound.amount_nanousd,
        bound_reasons=bound.reasons,
        is_unavailable=is_unavailable,
        mode=mode,
    )
