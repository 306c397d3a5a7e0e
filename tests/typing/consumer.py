# pyright: strict
"""A user's program, as far as types go: both checkers must accept it, strictly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import assert_type

from tollspan.api import (
    BudgetExceededError,
    CallDeniedError,
    GateUnavailableError,
    TollspanError,
    install,
    report_usage,
    tool,
)


def start() -> None:
    """Switch tollspan on from code; a second call changes nothing."""
    install()
    install()


def ask(call: Callable[[], str]) -> str:
    """Catch from the narrow to the wide, and read what a denial says."""
    try:
        return call()
    except BudgetExceededError as denied:
        assert_type(denied.resets_at, datetime | None)
        assert_type(denied.remaining, int | None)
        return later(denied.recovery.retry_after_seconds)
    except GateUnavailableError as denied:
        return f"{denied.rule_id}: {denied.message}"
    except CallDeniedError as denied:
        assert_type(denied.scope, tuple[tuple[str, str | None], ...])
        return ", ".join(f"{dimension}={value}" for dimension, value in denied.scope)
    except TollspanError as error:
        return str(error)


def later(seconds: float | None) -> str:
    """Say when to come back."""
    return "later" if seconds is None else f"in {seconds:.0f} s"


KINDS: tuple[type[CallDeniedError], ...] = (BudgetExceededError, GateUnavailableError)


@tool
def bare(question: str, *, limit: int = 3) -> list[str]:
    """Keep parameters and result."""
    return [question] * limit


@tool(name="ocr", unit="pages", price=Decimal("0.002"), max_units=50)
async def scan(document: bytes) -> str:
    """Keep a coroutine function what it is."""
    report_usage(metric="pages", value=len(document))
    return "text"


@tool(cost="0.005 USD", call_id="call_id")
def steps(call_id: str) -> Iterator[int]:
    """Keep a generator what it is."""
    yield len(call_id)


@tool()
async def steps_later(count: int) -> AsyncIterator[int]:
    """Keep an asynchronous generator what it is."""
    yield count


class Shop:
    """Methods are decorated as functions are."""

    @tool(cost="1 USD")
    def find(self, name: str) -> int:
        """Keep a method what it is."""
        return len(name)

    @staticmethod
    @tool(cost="1 USD")
    def count() -> int:
        """Keep a static method what it is."""
        return 1


async def use() -> None:
    """Call all of them."""
    assert_type(bare("a", limit=2), list[str])
    assert_type(await scan(b""), str)
    assert_type(list(steps("id")), list[int])
    assert_type([number async for number in steps_later(1)], list[int])
    assert_type(Shop().find("a"), int)
    assert_type(Shop.count(), int)
    report_usage(tool="ocr", metric="pages", value=1)
