"""Warnings of budgets as events: they are stored and sent as refusals are."""

from __future__ import annotations

from tollspan.usage import DecisionEvent, DecisionNote, UsageEvent, WarningNote

from .warnings import BudgetWarning


def warning_event(event: UsageEvent, warning: BudgetWarning, number: int) -> DecisionEvent:
    """Return the event of a warning.

    Args:
        event: Of the call after which it was due.
        warning: What is warned of.
        number: Counts the warnings after that call from 1; 0 is for a refusal.
    """
    return DecisionEvent(
        call=event.call,
        number=number,
        decision=DecisionNote(action="warn", rule_ids=(warning.rule_id,)),
        unit=warning.unit,
        limit=warning.limit,
        spent=warning.spent,
        held=warning.held,
        scope=warning.scope,
        traceparent=event.traceparent,
        warning=WarningNote(
            reason=warning.reason,
            share=None if warning.share is None else f"{warning.share.normalize():f}",
            period=warning.period,
        ),
    )
