# pyright: strict
"""A user's program, as far as types go: both checkers must accept it, strictly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import assert_type

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from tollspan.api import (
    BudgetExceededError,
    CallDeniedError,
    GateUnavailableError,
    OpenAIInstrumentor,
    TollspanError,
    install,
)


def start() -> None:
    """Switch tollspan on from code; a second call changes nothing."""
    install()
    install()


def start_apart(tracer_provider: TracerProvider, meter_provider: MeterProvider) -> None:
    """Send spans and metrics to providers that are not the global ones."""
    install(tracer_provider=tracer_provider, meter_provider=meter_provider)
    OpenAIInstrumentor().instrument(tracer_provider=tracer_provider)


def ask(call: Callable[[], str]) -> str:
    """Catch from the narrow to the wide, and read what a denial says."""
    try:
        return call()
    except BudgetExceededError as denied:
        assert_type(denied.resets_at, datetime | None)
        assert_type(denied.remaining_nanousd, int | None)
        return later(denied.recovery.retry_after_seconds)
    except GateUnavailableError as denied:
        return f"{denied.rule_id}: {denied.message}"
    except CallDeniedError as denied:
        assert_type(denied.scope, tuple[tuple[str, str], ...])
        return ", ".join(f"{dimension}={value}" for dimension, value in denied.scope)
    except TollspanError as error:
        return str(error)


def later(seconds: float | None) -> str:
    """Say when to come back."""
    return "later" if seconds is None else f"in {seconds:.0f} s"


KINDS: tuple[type[CallDeniedError], ...] = (BudgetExceededError, GateUnavailableError)
