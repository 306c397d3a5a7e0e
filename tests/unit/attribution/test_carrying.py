"""Where attribution goes by itself, and where `bind` has to carry it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import baggage
from opentelemetry.context import attach, detach
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import get_current_span

from tollspan.api import attribution, bind
from tollspan.attribution import capture

Work = Callable[[], str | None]


def customer() -> str | None:
    """Return who pays."""
    return capture().customer


def in_thread(work: Work) -> str | None:
    """Run in a thread."""
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join(10)
    return found[0]


def in_timer(work: Work) -> str | None:
    """Run in a timer."""
    found: list[str | None] = []
    timer = threading.Timer(0, lambda: found.append(work()))
    timer.start()
    timer.join(10)
    return found[0]


def in_pool(work: Work) -> str | None:
    """Run in a pool."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(10)


def work_of(work: Work) -> str | None:
    """Run it."""
    return work()


def in_map(work: Work) -> str | None:
    """Run in a pool's `map`."""
    with ThreadPoolExecutor(1) as pool:
        (found,) = pool.map(work_of, [work])
        return found


def in_executor(work: Work) -> str | None:
    """Run in an event loop's executor."""

    async def main() -> str | None:
        return await asyncio.get_running_loop().run_in_executor(None, work)

    return asyncio.run(main())


FOREIGN = [in_thread, in_timer, in_pool, in_map, in_executor]


@pytest.mark.parametrize("run", FOREIGN)
def test_a_foreign_thread_knows_nothing_unless_it_is_bound(
    run: Callable[[Work], str | None],
) -> None:
    with attribution(customer="acme"):
        assert run(customer) is None
        bound = bind(customer)
        assert run(bound) == "acme"
    assert run(bound) == "acme"
    assert customer() is None


@pytest.mark.parametrize("run", FOREIGN)
def test_opentelemetrys_own_instrumentor_carries_it(run: Callable[[Work], str | None]) -> None:
    instrumentor = ThreadingInstrumentor()
    instrumentor.instrument()
    try:
        with attribution(customer="acme"):
            assert run(customer) == "acme"
    finally:
        instrumentor.uninstrument()


def test_tasks_and_to_thread_have_it_by_themselves() -> None:
    async def main() -> None:
        with attribution(customer="acme"):
            task = asyncio.create_task(customer_later())
            called: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(lambda: called.set_result(customer()))
            assert await asyncio.to_thread(customer) == "acme"
        assert await task == "acme"
        assert await called == "acme"
        assert customer() is None

    asyncio.run(main())


async def customer_later() -> str | None:
    """Return who pays, after waiting."""
    await asyncio.sleep(0)
    return customer()


def test_a_bound_function_may_run_many_times_at_once() -> None:
    here = threading.Barrier(8, timeout=10)

    def work(number: int) -> tuple[str | None, str | None]:
        here.wait()
        with attribution(step=str(number)):
            here.wait()
            return customer(), capture().step

    with attribution(customer="acme"):
        bound = bind(work)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(bound, range(8))) == [("acme", str(number)) for number in range(8)]
        assert pool.submit(customer).result() is None


def test_a_bound_coroutine_function_runs_in_another_loop() -> None:
    with attribution(customer="acme"):
        bound = bind(customer_later)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: asyncio.run(bound())).result(10) == "acme"


def test_bind_carries_the_span_and_the_baggage_too() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")

    def look() -> tuple[object, object]:
        return get_current_span(), baggage.get_baggage("theirs")

    token = attach(baggage.set_baggage("theirs", "x"))
    with tracer.start_as_current_span("own") as span:
        bound = bind(look)
    detach(token)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(bound).result(10) == (span, "x")


def test_a_bound_method_and_what_it_raises_stay_what_they_are() -> None:
    error = KeyError("x")

    class Job:
        def run(self, *, fail: bool) -> str | None:
            if fail:
                raise error
            return customer()

    with attribution(customer="acme"):
        bound = bind(Job().run)
    assert bound(fail=False) == "acme"
    with pytest.raises(KeyError) as caught:
        bound(fail=True)
    assert caught.value is error
    assert customer() is None


def test_what_is_bound_goes_over_the_block_around_the_call() -> None:
    with attribution(customer="bound"):
        bound = bind(customer)
    with attribution(customer="around"):
        assert bound() == "bound"
        assert customer() == "around"
