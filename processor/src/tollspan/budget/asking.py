"""Works out what a call asks of accounts that count something else than money."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tollspan.usage import (
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    TOKEN_UNITS,
    TOOL_CALLS,
    BudgetUnit,
    Call,
    Request,
)

from .bounds import Bounds
from .rules import RuleSet
from .values import REPORT, Account, Leg

_ASKED_OF_ALL = TOKEN_UNITS | {"usd", "calls"}


def calls(call: Call) -> int:
    """Count the calls that one is; what is reported says how many."""
    request = call.request
    return request.calls if call.door != REPORT else dict(request.quantities).get(TOOL_CALLS, 0)


def most_output(bounds: Bounds, call: Call, *, ceiling: bool) -> int | None:
    """Return the most that a model writes as one answer; None where nobody knows."""
    request, at_unix_ns = call.request, call.started_at_unix_ns
    unlimited = msgspec.structs.replace(request, max_output_tokens=None)
    silent = msgspec.structs.replace(request, max_output_tokens=0)
    most, reasons = bounds.most_of(unlimited, OUTPUT_TOKENS, at_unix_ns, ceiling=ceiling)
    least, _ = bounds.most_of(silent, OUTPUT_TOKENS, at_unix_ns, ceiling=ceiling)
    if most is None or least is None or most <= least or "model_max" not in reasons:
        return None
    return (most - least) // max(request.choices, 1)


def refuses(rules: RuleSet, request: Request, unit: BudgetUnit) -> bool:
    """Say whether the rules refuse a call whose use of a unit only assumptions bound."""
    is_input_open = bool(request.unbounded) and request.input_reserve_tokens is None
    if unit in TOKEN_UNITS and unit != OUTPUT_TOKENS:
        if rules.on_unbounded_input == "deny" and is_input_open:
            return True
        if unit == INPUT_TOKENS:
            return False
    is_limited = unit in TOKEN_UNITS and request.max_output_tokens is not None
    return rules.on_unbounded == "deny" and not is_limited


def split(
    accounts: tuple[Account, ...], amounts: Mapping[BudgetUnit, int]
) -> tuple[tuple[Leg, ...], tuple[Account, ...]]:
    """Part the accounts of a call into what it asks, and those of which it can use nothing.

    A call that makes no images is no matter of those that count images, however full they are. But
    money, tokens and calls are asked of every call: a limit of 0 there allows none.

    Args:
        accounts: All that count the call.
        amounts: Unit → the most that the call can use; 0 for one that is not there.

    Returns:
        The legs to hold, and the accounts that are not asked.
    """
    legs: list[Leg] = []
    unasked: list[Account] = []
    for account in accounts:
        amount = amounts.get(account.unit, 0)
        if amount or account.unit in _ASKED_OF_ALL:
            legs.append((account, amount))
        else:
            unasked.append(account)
    return tuple(legs), tuple(unasked)
