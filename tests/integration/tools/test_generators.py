"""`@tool` over generators: as lazy as before, accounted for once, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import get_current

from tests.integration.tools.stage import Stage
from tollspan.api import BudgetExceededError, report_usage, tool
from tollspan.attribution import current_call


class ThrownError(Exception):
    """What consumers throw in."""


@tool(name="pages", unit="pages", price="0.01 USD", max_units=20)
def pages(count: int) -> Generator[int, Any, str]:
    for number in range(count):
        report_usage(metric="pages", value=1)
        yield number
    return "end"


@tool(name="pages", unit="pages", price="0.01 USD", max_units=20)
async def pages_async(count: int) -> AsyncGenerator[int, Any]:
    for number in range(count):
        await asyncio.sleep(0)
        report_usage(metric="pages", value=1)
        yield number


@tool(name="echo", cost="0.1 USD")
def echo() -> Generator[Any, Any, None]:
    said: Any = "ready"
    while True:
        try:
            said = yield said
        except ThrownError as error:
            said = error


@tool(name="echo", cost="0.1 USD")
async def echo_async() -> AsyncGenerator[Any, Any]:
    said: Any = "ready"
    while True:
        try:
            said = yield said
        except ThrownError as error:
            said = error


def outcome(stage: Stage) -> tuple[str, int | None]:
    """Return how the one call ended, and what it cost."""
    event = stage.event()
    assert len(stage.spans()) == 1
    return event.outcome.status, event.cost.amount_nanousd


def test_an_exhausted_generator_is_accounted_for_once_and_at_once(stage: Stage) -> None:
    assert list(pages(3)) == [0, 1, 2]
    assert len(stage.at_once()) == 1
    assert outcome(stage) == ("ok", 30_000_000)


def test_a_generator_returns_what_it_returns(stage: Stage) -> None:
    def outer() -> Generator[int, Any, str]:
        return (yield from pages(1))

    made = outer()
    next(made)
    with pytest.raises(StopIteration) as ended:
        next(made)
    assert ended.value.value == "end"


def test_an_exhausted_async_generator_is_accounted_for_once_and_at_once(stage: Stage) -> None:
    async def main() -> list[int]:
        got = [number async for number in pages_async(3)]
        assert len(stage.at_once()) == 1
        return got

    assert asyncio.run(main()) == [0, 1, 2]
    assert outcome(stage) == ("ok", 30_000_000)


def test_a_closed_generator_costs_what_it_used(stage: Stage) -> None:
    with closing(pages(5)) as made:
        next(made)
    assert outcome(stage) == ("partial", 10_000_000)


def test_a_closed_async_generator_costs_what_it_used(stage: Stage) -> None:
    async def main() -> None:
        async with aclosing(pages_async(5)) as made:
            await anext(made)
        assert len(stage.at_once()) == 1

    asyncio.run(main())
    assert outcome(stage) == ("partial", 10_000_000)


def test_an_abandoned_generator_costs_what_it_used(stage: Stage) -> None:
    for number in pages(5):
        if number == 2:
            break
    gc.collect()
    assert outcome(stage) == ("partial", 30_000_000)


def test_an_abandoned_async_generator_costs_what_it_used(stage: Stage) -> None:
    async def main() -> None:
        async for number in pages_async(5):
            if number == 1:
                break
        await asyncio.sleep(0.01)  # the loop closes it

    asyncio.run(main())
    gc.collect()
    assert outcome(stage) == ("partial", 20_000_000)


def test_an_async_generator_whose_loop_is_gone_is_accounted_for(stage: Stage) -> None:
    made = pages_async(5)
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(anext(made)) == 0
    loop.close()
    del made
    gc.collect()
    assert outcome(stage) == ("partial", 10_000_000)


def test_what_is_never_begun_is_no_call(stage: Stage) -> None:
    made = pages(3)
    also = pages_async(3)
    del made, also
    gc.collect()
    assert stage.spans() == []
    assert not stage.has_events()


def test_values_and_errors_of_the_consumer_reach_the_body(stage: Stage) -> None:
    error = ThrownError()
    with closing(echo()) as made:
        assert [next(made), made.send("one"), made.throw(error), made.send(None)] == [
            "ready", "one", error, None,
        ]  # fmt: skip
    assert outcome(stage) == ("partial", 100_000_000)


def test_values_and_errors_of_the_consumer_reach_an_async_body(stage: Stage) -> None:
    error = ThrownError()

    async def main() -> list[Any]:
        async with aclosing(echo_async()) as made:
            return [
                await anext(made),
                await made.asend("one"),
                await made.athrow(error),
                await made.asend(None),
            ]

    assert asyncio.run(main()) == ["ready", "one", error, None]
    assert outcome(stage) == ("partial", 100_000_000)


def test_an_error_that_the_body_lets_out_ends_the_call(stage: Stage) -> None:
    made = pages(3)
    next(made)
    error = ThrownError("secret")
    with pytest.raises(ThrownError) as raised:
        made.throw(error)
    assert raised.value is error
    assert outcome(stage) == ("error", 10_000_000)


def test_an_error_that_an_async_body_lets_out_ends_the_call(stage: Stage) -> None:
    error = ThrownError("secret")

    async def main() -> None:
        made = pages_async(3)
        await anext(made)
        with pytest.raises(ThrownError) as raised:
            await made.athrow(error)
        assert raised.value is error

    asyncio.run(main())
    assert outcome(stage) == ("error", 10_000_000)


def test_a_refused_generator_never_begins(stage: Stage) -> None:
    ran: list[int] = []

    @tool(cost="2 USD")
    def dear() -> Generator[int, None, None]:
        ran.append(1)
        yield 1

    @tool(cost="2 USD")
    async def dear_async() -> AsyncGenerator[int, None]:
        ran.append(1)
        yield 1

    async def main() -> None:
        async for _ in dear_async():
            pass

    with pytest.raises(BudgetExceededError):
        next(dear())
    with pytest.raises(BudgetExceededError):
        asyncio.run(main())
    assert ran == []
    assert stage.balance().held == 0


def test_nothing_is_left_in_the_consumers_context(stage: Stage) -> None:
    before = get_current()
    for _ in pages(3):
        assert get_current() == before
        assert current_call.get() is None
        with pytest.raises(ValueError, match="no tool runs here"):
            report_usage(metric="pages", value=1)
    assert get_current() == before


def test_nothing_is_left_in_the_context_of_an_async_consumer(stage: Stage) -> None:
    async def main() -> None:
        before = get_current()
        async for _ in pages_async(3):
            assert get_current() == before
            assert current_call.get() is None
        assert get_current() == before

    asyncio.run(main())


def test_the_bodys_own_spans_stay_where_they_were(stage: Stage) -> None:
    tracer = trace.get_tracer("test")

    @tool(cost="0 USD")
    def stepping() -> Generator[int, None, None]:
        with tracer.start_as_current_span("stage"):
            yield 1
            with tracer.start_as_current_span("detail"):
                yield 2
        yield 3

    for _ in stepping():
        with tracer.start_as_current_span("consumer"):
            pass
    outer, inner = stage.span("stage"), stage.span("detail")
    top = stage.span("execute_tool stepping")
    assert outer.parent is not None
    assert outer.parent.span_id == top.context.span_id
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert all(span.parent is None for span in stage.spans() if span.name == "consumer")


def test_open_generators_are_accounted_for_when_the_program_ends(stage: Stage) -> None:
    made = pages(3)
    next(made)
    stage.installed.lifecycle.finish_open_streams()
    assert outcome(stage) == ("partial", 10_000_000)
    made.close()
    assert len(stage.events()) == 1
