"""Decisions as log events, in the program's own pipeline; and what older OpenTelemetry does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from opentelemetry import trace
from opentelemetry._logs import Logger, LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider

from tollspan.instrumentation import DecisionLog
from tollspan.usage import (
    Attribution,
    BudgetExceededError,
    Call,
    Cost,
    DecisionNote,
    Outcome,
    Request,
    UnpricedModelError,
    UsageEvent,
)

CALL = Call(
    id="0" * 32,
    started_at_unix_ns=1_790_000_000_000_000_000,
    request=Request(provider="openai", operation="chat", model="gpt-4o"),
    attribution=Attribution(customer="acme"),
)
OF_CALL = {
    "tollspan.call.id": CALL.id,
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
}


@pytest.fixture
def memory() -> InMemoryLogRecordExporter:
    """Keep log records."""
    make = cast("type[Any]", InMemoryLogRecordExporter)  # upstream's has no types
    return cast("InMemoryLogRecordExporter", make())


@pytest.fixture
def log(memory: InMemoryLogRecordExporter) -> Iterator[DecisionLog]:
    """Tell decisions to the memory."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    logger = provider.get_logger("tollspan")
    yield DecisionLog(lambda: logger)
    provider.shutdown()


def told(memory: InMemoryLogRecordExporter) -> LogRecord:
    """Return the one record."""
    (one,) = memory.get_finished_logs()
    assert one.log_record.event_name == "tollspan.decision"
    assert one.log_record.timestamp == CALL.started_at_unix_ns
    return one.log_record


def test_a_denial_tells_the_account_in_whole_numbers(
    log: DecisionLog, memory: InMemoryLogRecordExporter
) -> None:
    denial = BudgetExceededError(
        "too much",
        rule_id="month",
        scope=(("customer", "acme"),),
        limit=10,
        spent=4,
        held=3,
        asked=5,
    )
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("app")
    span = tracer.start_span("call")
    log.denied(CALL, denial, trace.set_span_in_context(span))
    record = told(memory)
    assert record.severity_number is SeverityNumber.WARN
    assert record.body == "too much"
    assert record.trace_id == span.get_span_context().trace_id
    assert record.span_id == span.get_span_context().span_id
    assert dict(record.attributes or {}) == {
        **OF_CALL,
        "tollspan.decision": "deny",
        "error.type": "tollspan.budget_exceeded",
        "tollspan.rule.id": "month",
        "tollspan.budget.scope": '{"customer":"acme"}',
        "tollspan.budget.limit": 10,
        "tollspan.budget.spent": 4,
        "tollspan.budget.held": 3,
        "tollspan.budget.asked": 5,
        "tollspan.budget.unit": "nanousd",
    }


def test_a_denial_without_money_tells_no_account(
    log: DecisionLog, memory: InMemoryLogRecordExporter
) -> None:
    log.denied(CALL, UnpricedModelError("no price"), None)
    assert dict(told(memory).attributes or {}) == {
        **OF_CALL,
        "tollspan.decision": "deny",
        "error.type": "tollspan.unpriced",
    }


@pytest.mark.parametrize(
    ("action", "severity"), [("warn", SeverityNumber.WARN), ("shadow", SeverityNumber.INFO)]
)
def test_what_is_let_through_with_a_word_is_told(
    log: DecisionLog, memory: InMemoryLogRecordExporter, action: str, severity: SeverityNumber
) -> None:
    event = UsageEvent(
        call=CALL,
        decision=DecisionNote(action=cast("Any", action), rule_ids=("month", "year")),
        outcome=Outcome(status="ok"),
        usage=None,
        cost=Cost(status="not_billed", amount_nanousd=0),
    )
    log.passed(event, None)
    record = told(memory)
    assert record.severity_number is severity
    assert dict(record.attributes or {}) == {
        **OF_CALL,
        "tollspan.decision": action,
        "tollspan.rule.id": "month",
    }


class OldLogger:
    """A logger of OpenTelemetry before 1.37, whose `emit` takes a record of the SDK alone."""

    def __init__(self) -> None:
        self.records: list[object] = []

    def emit(self, record: object) -> None:
        """Keep a record."""
        self.records.append(record)


def test_a_logger_that_cannot_name_events_is_left_alone() -> None:
    old = OldLogger()
    log = DecisionLog(lambda: cast("Logger", old))
    log.denied(CALL, UnpricedModelError("no price"), None)
    assert old.records == []


def test_without_a_logger_nothing_happens() -> None:
    DecisionLog(lambda: None).denied(CALL, UnpricedModelError("no price"), None)
