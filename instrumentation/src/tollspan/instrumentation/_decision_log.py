"""Decisions of the gate and warnings as log events, for whoever watches logs; by the worker."""

from __future__ import annotations

import inspect
import json
import time
from typing import Any, Protocol

from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from tollspan import semconv
from tollspan.usage import Call, CallDeniedError, UsageEvent

from ._spans import add_change
from ._warning_log import AnyWarning, warning_attributes, warning_text

_INFO = (SeverityNumber.INFO, "INFO")
_SEVERITIES = {
    "deny": (SeverityNumber.WARN, "WARN"),
    "warn": (SeverityNumber.WARN, "WARN"),
    "shadow": _INFO,
}


class LoggerSource(Protocol):
    """Says which logger to use now; None while nobody collects logs."""

    def __call__(self) -> Logger | None:
        """Return the logger in force."""
        ...


class DecisionLog:
    """Tells every decision that is not a plain `allow`, in the trace context of its span.

    Before OpenTelemetry 1.37 its API can't name an event: then nothing is told.

    Args:
        logger: Which logger to use.
    """

    def __init__(self, logger: LoggerSource) -> None:
        self._logger = logger

    def denied(self, call: Call, denial: CallDeniedError, context: Context | None) -> None:
        """Tell of a refusal."""
        attributes = _attributes(call, "deny")
        attributes[semconv.ERROR_TYPE] = denial.error_type
        if denial.rule_id is not None:
            attributes[semconv.TOLLSPAN_RULE_ID] = denial.rule_id
        if denial.scope:
            attributes[semconv.TOLLSPAN_BUDGET_SCOPE] = scope_text(denial.scope)
        attributes.update(_amounts(denial))
        self._tell(call, "deny", str(denial), attributes, context)

    def passed(self, event: UsageEvent, context: Context | None) -> None:
        """Tell of a call that was let through with a word: `warn`, `clamp` or `shadow`."""
        action = event.decision.action
        attributes = _attributes(event.call, action)
        if event.decision.rule_ids:
            attributes[semconv.TOLLSPAN_RULE_ID] = event.decision.rule_ids[0]
        add_change(attributes, event.decision)
        self._tell(event.call, action, f"call let through: {action}", attributes, context)

    def warned(self, warning: AnyWarning) -> None:
        """Tell of a warning; no trace is its own, the call's id leads to one."""
        attributes = warning_attributes(warning)
        if warning.scope:
            attributes[semconv.TOLLSPAN_BUDGET_SCOPE] = scope_text(warning.scope)
        self._emit(
            _SEVERITIES["warn"],
            event_name=semconv.EVENT_WARNING,
            timestamp=time.time_ns(),
            body=warning_text(warning),
            attributes=attributes,
        )

    def _tell(
        self,
        call: Call,
        action: str,
        text: str,
        attributes: dict[str, AttributeValue],
        context: Context | None,
    ) -> None:
        self._emit(
            _SEVERITIES.get(action, _INFO),
            event_name=semconv.EVENT_DECISION,
            timestamp=call.started_at_unix_ns,
            body=text,
            attributes=attributes,
            context=context,
        )

    def _emit(self, severity: tuple[SeverityNumber, str], **said: Any) -> None:
        logger = self._logger()
        if logger is None or not _names_events(logger):
            return
        emit: Any = logger.emit  # its keywords came with OpenTelemetry 1.37
        emit(severity_number=severity[0], severity_text=severity[1], **said)


def scope_text(scope: tuple[tuple[str, str | None], ...]) -> str:
    """Write whose account it is, `{"customer":"acme"}` say."""
    return json.dumps(dict(scope), separators=(",", ":"), ensure_ascii=False)


def _names_events(logger: Logger) -> bool:
    return "event_name" in inspect.signature(logger.emit).parameters


def _attributes(call: Call, action: str) -> dict[str, AttributeValue]:
    request = call.request
    return {
        semconv.TOLLSPAN_DECISION: action,
        semconv.TOLLSPAN_CALL_ID: call.id,
        semconv.GEN_AI_OPERATION_NAME: request.operation,
        semconv.GEN_AI_PROVIDER_NAME: request.provider,
        semconv.GEN_AI_REQUEST_MODEL: request.model,
    }


def _amounts(denial: CallDeniedError) -> dict[str, AttributeValue]:
    """Return the account that refused, in whole numbers of its unit."""
    amounts = {
        semconv.TOLLSPAN_BUDGET_LIMIT: denial.limit,
        semconv.TOLLSPAN_BUDGET_SPENT: denial.spent,
        semconv.TOLLSPAN_BUDGET_HELD: denial.held,
        semconv.TOLLSPAN_BUDGET_ASKED: denial.asked,
    }
    known = {name: amount for name, amount in amounts.items() if amount is not None}
    unit = "nanousd" if denial.unit == "usd" else denial.unit
    return {**known, semconv.TOLLSPAN_BUDGET_UNIT: unit} if known else {}
