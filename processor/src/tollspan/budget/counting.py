"""Counts what a finished call used, in the unit of each of its accounts, and charges them."""

from __future__ import annotations

from tollspan.usage import (
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    REQUESTS,
    TOKEN_UNITS,
    TOOL_CALLS,
    TOOL_PROVIDER,
    BudgetUnit,
    Call,
    Charge,
    Cost,
    Usage,
    count_of,
)

from .ports import Closing
from .values import REPORT, Account, Leg

INCOMPLETE = frozenset({"unknown", "unpriced", "partial"})
"""Costs that say less than was spent."""


def charges_of(closing: Closing, cost: Cost) -> tuple[Charge, ...]:
    """Charge every account in its unit: what was used, and what may have been.

    Accounts of which the call could use nothing are charged last, those of which it did.
    """
    hold = closing.decision.hold
    if hold is None:
        return ()
    extra = closing.outcome.maybe_billed_attempts
    found = [_charge(leg, *_used(closing, cost, leg[0].unit), extra) for leg in hold.legs]
    for account in hold.unasked:
        posted, _ = _used(closing, cost, account.unit)
        if posted:
            found.append(_charge_unasked(account, posted))
    return tuple(found)


def _used(closing: Closing, cost: Cost, unit: BudgetUnit) -> tuple[int, bool]:
    """Return how much of a unit a call used, and whether it may have been more."""
    usage = closing.usage
    if unit == "usd":
        is_open = closing.keep_unresolved or cost.status in INCOMPLETE
        return cost.amount_nanousd or 0, is_open
    if unit == "calls":
        return _calls(closing.call, usage), False
    if usage is None or usage.status == "unknown":
        return 0, closing.keep_unresolved or usage is not None
    return count_used(closing.call, usage, unit), closing.keep_unresolved


def count_used(call: Call, usage: Usage, unit: BudgetUnit) -> int:
    """Return how much of a unit, neither money nor calls, a call used."""
    if unit in TOKEN_UNITS:
        return count_tokens(usage, unit)
    counted = count_of(unit, usage.quantities)
    is_one = unit == REQUESTS and call.request.provider != TOOL_PROVIDER
    return max(counted, 1) if is_one else counted


def count_tokens(usage: Usage, unit: BudgetUnit) -> int:
    """Return the tokens of one side, or of both."""
    if unit == INPUT_TOKENS:
        return usage.input_tokens
    if unit == OUTPUT_TOKENS:
        return usage.output_tokens
    return usage.input_tokens + usage.output_tokens


def _calls(call: Call, usage: Usage | None) -> int:
    """Count calls: one, or those of a tool that the program says were made.

    What is reported outside of a call, pages say, belongs to calls that were counted as such.
    """
    if usage is None:
        return 0
    if call.request.provider != TOOL_PROVIDER:
        return call.request.calls
    said = dict(usage.quantities).get(TOOL_CALLS, 0)
    return said if call.door == REPORT else max(said, 1)


def _charge(leg: Leg, posted: int, keep: bool, extra_attempts: int) -> Charge:  # noqa: FBT001
    """Charge one account: what was used, and what may have been.

    An attempt that was sent and never answered keeps its bound; so does the rest of a hold whose
    call may have used more than is known.
    """
    account, held = leg
    unresolved = held * extra_attempts
    if keep and held > posted:
        unresolved += held - posted
    return Charge(
        budget_id=account.budget_id,
        scope=account.scope,
        period=account.period,
        unit=account.unit,
        posted=posted,
        unresolved=unresolved,
        overrun=posted - held if posted > held else 0,
    )


def _charge_unasked(account: Account, posted: int) -> Charge:
    """Charge what nothing was held for; none of it goes out of a lease."""
    return Charge(
        budget_id=account.budget_id,
        scope=account.scope,
        period=account.period,
        unit=account.unit,
        posted=posted,
        overrun=posted,
        drawn=0,
    )
