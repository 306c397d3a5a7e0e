"""Warnings as attributes of a log event, for whoever watches logs."""

from __future__ import annotations

from opentelemetry.util.types import AttributeValue

from tollspan import semconv
from tollspan.budget import BudgetWarning, OverrunWarning, PolicyWarning, UnresolvedWarning
from tollspan.usage import BudgetUnit, format_amount

AnyWarning = BudgetWarning | PolicyWarning | OverrunWarning | UnresolvedWarning
"""What a program's functions are warned of."""


_WHY = {
    "call": "a call does not tell all that it used",
    "process": "a process died; it counts until its events or an operator say what was spent",
    "lease": "a lease ended that was not given back; it counts until its events, an operator or"
    " the horizon say what was spent",
}


def warning_reason(warning: AnyWarning) -> str:
    """Name what it is: `share`, `exceeded`, `policy`, `overrun`, or `unresolved.` and whose."""
    if isinstance(warning, BudgetWarning):
        return warning.reason
    if isinstance(warning, UnresolvedWarning):
        return f"unresolved.{warning.reason}"
    return "overrun" if isinstance(warning, OverrunWarning) else "policy"


def warning_attributes(warning: AnyWarning) -> dict[str, AttributeValue]:
    """Return what a log event says of a warning; its scope is written by the log."""
    attributes: dict[str, AttributeValue] = {
        semconv.TOLLSPAN_RULE_ID: warning.rule_id,
        semconv.TOLLSPAN_WARNING_REASON: warning_reason(warning),
    }
    if not isinstance(warning, UnresolvedWarning):
        attributes[semconv.TOLLSPAN_CALL_ID] = warning.call_id
    if isinstance(warning, PolicyWarning):
        return attributes
    attributes[semconv.TOLLSPAN_BUDGET_UNIT] = _unit(warning.unit)
    if isinstance(warning, BudgetWarning):
        attributes[semconv.TOLLSPAN_BUDGET_LIMIT] = warning.limit
        attributes[semconv.TOLLSPAN_BUDGET_SPENT] = warning.spent
        attributes[semconv.TOLLSPAN_BUDGET_HELD] = warning.held
        if warning.share is not None:
            attributes[semconv.TOLLSPAN_WARNING_SHARE] = float(warning.share)
    elif isinstance(warning, OverrunWarning):
        attributes[semconv.TOLLSPAN_WARNING_AMOUNT] = warning.overrun
    else:
        attributes[semconv.TOLLSPAN_WARNING_AMOUNT] = warning.amount
    return attributes


def warning_text(warning: AnyWarning) -> str:
    """Say a warning in a sentence, without a point."""
    if isinstance(warning, BudgetWarning):
        return _budget_text(warning)
    of = _whose(warning.scope)
    if isinstance(warning, PolicyWarning):
        return f"a call violated policy {warning.rule_id}{of}, which only warns"
    if isinstance(warning, OverrunWarning):
        overrun, used = (
            format_amount(one, warning.unit) for one in (warning.overrun, warning.used)
        )
        return (
            f"a call used {used} of budget {warning.rule_id}{of}, {overrun} more than was held for"
            " it; all of it counts"
        )
    amount = format_amount(warning.amount, warning.unit)
    text = f"{amount} of budget {warning.rule_id}{of} became unresolved: {_WHY[warning.reason]}"
    return text if warning.accounts == 1 else f"{text} ({warning.accounts} accounts)"


def _budget_text(warning: BudgetWarning) -> str:
    of = _whose(warning.scope)
    spent, limit = (format_amount(one, warning.unit) for one in (warning.spent, warning.limit))
    if warning.share is None:
        return (
            f"a call did not fit budget {warning.rule_id}{of} ({spent} of {limit} spent), which"
            " only warns"
        )
    share = f"{(warning.share * 100).normalize():f}"
    return f"budget {warning.rule_id}{of} has used {share} % of its limit: {spent} of {limit}"


def _whose(scope: tuple[tuple[str, str | None], ...]) -> str:
    return "".join(f", {key} {value}" for key, value in scope)


def _unit(unit: BudgetUnit) -> str:
    return "nanousd" if unit == "usd" else unit
