"""Generators that are decorated: nothing of theirs is seen by whoever takes their items."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

import pytest
from opentelemetry import context as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, get_current_span

from tollspan.api import attribution, bind
from tollspan.attribution import capture

Seen = list[str | None]


@pytest.fixture(autouse=True)
def nothing_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See that the context is as before, and OpenTelemetry had nothing to complain of."""
    before = otel.get_current()
    with caplog.at_level(logging.WARNING):
        yield
    assert otel.get_current() is before
    assert [record.getMessage() for record in caplog.records] == []


def customer() -> str | None:
    """Return who pays."""
    return capture().customer


@attribution(customer="inner")
def talk(seen: Seen) -> Generator[str | None, str, str]:
    """Yield who pays, and take note of it at each step and at the end."""
    given = None
    try:
        while given != "stop":
            try:
                given = yield customer()
            except KeyError as error:
                seen.append(f"{error.args[0]} {customer()}")
        return f"ended by {customer()}"
    finally:
        seen.append(customer())


@attribution(customer="inner")
async def talk_async(seen: Seen) -> AsyncGenerator[str | None, str]:
    """Do the same, waiting in each step."""
    given = None
    try:
        while given != "stop":
            try:
                await asyncio.sleep(0)
                given = yield customer()
            except KeyError as error:
                await asyncio.sleep(0)
                seen.append(f"{error.args[0]} {customer()}")
    finally:
        await asyncio.sleep(0)
        seen.append(customer())


def test_a_generator_is_sent_to_thrown_into_and_ends_with_a_value() -> None:
    seen: Seen = []
    with attribution(customer="outer"):
        talking = talk(seen)
        assert next(talking) == "inner"
        assert customer() == "outer"
        assert talking.send("go on") == "inner"
        assert talking.throw(KeyError("thrown")) == "inner"
        assert customer() == "outer"
        with pytest.raises(StopIteration) as end:
            talking.send("stop")
        assert end.value.value == "ended by inner"
        assert customer() == "outer"
    assert seen == ["thrown inner", "inner"]


def test_an_async_generator_is_sent_to_and_thrown_into() -> None:
    seen: Seen = []

    async def main() -> None:
        with attribution(customer="outer"):
            talking = talk_async(seen)
            assert await anext(talking) == "inner"
            assert customer() == "outer"
            assert await talking.asend("go on") == "inner"
            assert await talking.athrow(KeyError("thrown")) == "inner"
            assert customer() == "outer"
            with pytest.raises(StopAsyncIteration):
                await talking.asend("stop")
            assert customer() == "outer"

    asyncio.run(main())
    assert seen == ["thrown inner", "inner"]


def test_an_error_that_a_generator_does_not_catch_comes_out_as_it_is() -> None:
    seen: Seen = []
    error = ValueError("mine")
    talking = talk(seen)
    next(talking)
    with pytest.raises(ValueError, match="mine") as caught:
        talking.throw(error)
    assert caught.value is error
    assert error.__context__ is None
    assert seen == ["inner"]

    async def main() -> None:
        talking = talk_async(seen)
        await anext(talking)
        with pytest.raises(ValueError, match="mine") as caught:
            await talking.athrow(error)
        assert caught.value is error

    asyncio.run(main())


@pytest.mark.parametrize("how", ["closed", "abandoned", "never started"])
def test_a_generator_that_is_not_drained_ends_in_its_attribution(how: str) -> None:
    seen: Seen = []
    talking = talk(seen)
    if how != "never started":
        next(talking)
    if how == "closed":
        talking.close()
    del talking
    gc.collect()
    assert seen == ([] if how == "never started" else ["inner"])


def test_a_generator_may_be_finished_by_another_thread() -> None:
    seen: Seen = []
    with attribution(customer="outer"):
        talking = talk(seen)
        next(talking)
        thread = threading.Thread(target=talking.close)
        thread.start()
        thread.join(10)
        assert customer() == "outer"
    assert seen == ["inner"]


@pytest.mark.parametrize("how", ["same task", "another task", "abandoned", "cancelled"])
def test_an_async_generator_that_is_not_drained_ends_in_its_attribution(how: str) -> None:
    seen: Seen = []

    async def main() -> None:
        with attribution(customer="outer"):
            talking: AsyncGenerator[str | None, str] | None = talk_async(seen)
            assert talking is not None
            await anext(talking)
            if how == "same task":
                await talking.aclose()
            elif how == "another task":
                await asyncio.create_task(talking.aclose())
            elif how == "cancelled":
                task = asyncio.create_task(wait_in(talking))
                await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                await talking.aclose()
            talking = None
            gc.collect()
            await asyncio.sleep(0.01)
            assert customer() == "outer"

    asyncio.run(main())
    assert seen == ["inner"]


async def wait_in(talking: AsyncGenerator[str | None, str]) -> None:
    """Take an item, and do not get round to it."""
    await anext(talking)


def test_a_task_that_is_never_finished_leaves_no_complaint() -> None:
    @attribution(customer="a")
    async def wait(forever: Any) -> None:
        with attribution(step="b"):
            await forever

    loop = asyncio.new_event_loop()
    coroutine = wait(loop.create_future())
    contextvars.copy_context().run(coroutine.send, None)
    with attribution(customer="here"):
        coroutine.close()  # as the collector would, in a context that is not its own
        assert customer() == "here"
    loop.close()


def test_steps_of_two_generators_may_be_mixed() -> None:
    @attribution(customer="a", tags={"x": "1"})
    def first() -> Iterator[str | None]:
        while True:
            yield customer()

    @attribution(customer="b")
    def second() -> Iterator[str | None]:
        while True:
            yield f"{customer()}{capture().tags}"

    one, two = first(), second()
    assert [next(one), next(two), next(one), next(two)] == ["a", "b()", "a", "b()"]


def test_a_generator_runs_in_what_is_around_each_step() -> None:
    @attribution(step="b")
    def teams() -> Iterator[str | None]:
        while True:
            yield capture().team

    running = teams()
    with attribution(team="red"):
        assert next(running) == "red"
        assert next(running) == "red"
    assert next(running) is None


def test_a_generator_keeps_its_own_span_and_block_to_itself() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    seen: list[tuple[bool, str | None]] = []

    @attribution(customer="inner")
    def traced() -> Iterator[Span]:
        with tracer.start_as_current_span("own") as span, attribution(step="own"):
            for _ in range(3):
                seen.append((get_current_span() is span, capture().step))
                yield span
        assert customer() == "inner"
        assert capture().step is None

    for span in traced():
        assert get_current_span() is not span
        assert capture().step is None
    assert seen == [(True, "own")] * 3


def test_an_async_generator_keeps_its_own_span_to_itself() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")

    @attribution(customer="inner")
    async def traced() -> AsyncIterator[Span]:
        with tracer.start_as_current_span("own") as span:
            for _ in range(3):
                await asyncio.sleep(0)
                assert get_current_span() is span
                yield span

    async def main() -> int:
        count = 0
        async for span in traced():
            assert get_current_span() is not span
            count += 1
        return count

    assert asyncio.run(main()) == 3


def test_a_bound_generator_runs_in_the_context_of_its_binding() -> None:
    def who() -> Iterator[str | None]:
        yield customer()
        yield customer()

    with attribution(customer="a"):
        bound = bind(who)
    assert inspect.isgeneratorfunction(bound)
    with attribution(customer="b"):
        assert list(bound()) == ["a", "a"]
        assert customer() == "b"
