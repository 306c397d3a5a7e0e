# pyright: strict
"""A user's program, as far as types go: both checkers must accept it, strictly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, assert_type

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from tollspan.api import (
    AttributionError,
    BudgetExceededError,
    CallDeniedError,
    Check,
    GateUnavailableError,
    Headroom,
    OpenAIInstrumentor,
    TollspanError,
    argument,
    attribution,
    bind,
    budget,
    decision_of,
    gate,
    install,
    is_within_limit,
    max_tokens,
    remaining,
    report_usage,
    tool,
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
        assert_type(denied.remaining, int | None)
        return later(denied.recovery.retry_after_seconds)
    except GateUnavailableError as denied:
        return f"{denied.rule_id}: {denied.message}"
    except CallDeniedError as denied:
        assert_type(denied.scope, tuple[tuple[str, str | None], ...])
        return ", ".join(f"{dimension}={value}" for dimension, value in denied.scope)
    except TollspanError as error:
        return str(error)


def spent(answer: object) -> int | None:
    """Read what was decided of a call, and what it cost."""
    decided = decision_of(answer)
    if decided is None or not decided.is_ended:
        return None
    assert_type(decided.warnings, tuple[str, ...])
    assert_type(decided.asked_model, str)
    return decided.cost_nanousd


def later(seconds: float | None) -> str:
    """Say when to come back."""
    return "later" if seconds is None else f"in {seconds:.0f} s"


def customer_of(question: str, customer_id: str) -> str | None:
    """Find out who pays."""
    return customer_id or None


@attribution(customer=argument("customer_id"), tags={"tier": "free", "region": None})
def answer(question: str, customer_id: str = "acme") -> str:
    """Keep its signature under the decorator."""
    return question


@attribution(customer=customer_of, step="plan")
async def answer_later(question: str, customer_id: str) -> str:
    """Do the same, later."""
    return question


@attribution(team="red")
def words(question: str) -> Iterator[str]:
    """Do the same, word by word."""
    yield question


@attribution(team="red")
async def words_later(question: str) -> AsyncIterator[str]:
    """Do the same, word by word and later."""
    yield question


class Agent:
    """Has methods that are attributed."""

    @attribution(session=argument("session"))
    def run(self, session: str) -> int:
        """Run."""
        return 1

    @classmethod
    @attribution(agent="crawler")
    def made(cls) -> Agent:
        """Make one."""
        return cls()


def attributed() -> None:
    """Say who pays, in blocks and by decorators, and carry it to other threads."""
    with attribution(customer="acme", user=None, tags={"tier": "free"}) as in_force:
        assert_type(in_force.customer, str | None)
        assert_type(in_force.tags, tuple[tuple[str, str], ...])
    assert_type(answer("?", customer_id="a"), str)
    coroutine: Coroutine[Any, Any, str] = answer_later("?", "a")
    coroutine.close()
    assert_type(words("?"), Iterator[str])
    assert_type(words_later("?"), AsyncIterator[str])
    assert_type(Agent.made().run("s"), int)
    assert_type(bind(answer)("?"), str)
    run: Callable[[str], int] = bind(Agent().run)
    print(run("s"))
    try:
        attribution(customer="")
    except (AttributionError, ValueError) as error:
        print(error)


@budget("nightly", limit="5 USD")
async def nightly(question: str) -> str:
    """Keep its signature under the decorator."""
    return question


def ask_first(messages: list[dict[str, str]]) -> str:
    """Ask before calling, and give a task a budget of its own."""
    found = gate.check(model="gpt-4o", messages=messages, max_tokens=100)
    assert_type(found, Check)
    assert_type(found.is_allowed, bool)
    assert_type(found.denial, CallDeniedError | None)
    assert_type(max_tokens("gpt-4o", messages=messages), int | None)
    assert_type(is_within_limit(customer="acme"), bool)
    left = remaining(customer="acme", model="gpt-4o", unit="usd", tags={"tier": "free"})
    assert_type(left, Headroom | None)
    if left is not None:
        assert_type(left.remaining, int)
        assert_type(left.resets_at, datetime | None)
    coroutine: Coroutine[Any, Any, str] = nightly("?")
    coroutine.close()
    with budget("task-42", limit="0.50 USD") as block:
        assert_type(block.headroom, Headroom)
        return f"{block.id}: {block.spent} of {block.limit} {block.unit}, {block.remaining} left"


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
