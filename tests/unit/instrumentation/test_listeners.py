"""What a program's functions may do in the thread that calls them, without ending it."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.contract.ledger.making import event, new_id
from tollspan import safety
from tollspan.instrumentation import LISTENERS, Listeners
from tollspan.usage import UsageEvent

MOST_WAITING = 10_000


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    """Listeners of a test's own; the process's counts of errors are left as they were."""
    before = dict(safety.internal_errors)
    made = Listeners()
    yield made
    made.worker.drain(10)
    safety.internal_errors.clear()
    safety.internal_errors.update(before)


def an_event() -> UsageEvent:
    return event(new_id())


def ends_the_program(_: UsageEvent) -> None:
    raise SystemExit(3)


def is_cancelled(_: UsageEvent) -> None:
    raise asyncio.CancelledError


async def is_cancelled_later(_: UsageEvent) -> None:
    await asyncio.sleep(0)
    raise asyncio.CancelledError


async def ends_the_program_later(_: UsageEvent) -> None:
    await asyncio.sleep(0)
    raise SystemExit(3)


@pytest.mark.parametrize(
    "function", [ends_the_program, is_cancelled, is_cancelled_later, ends_the_program_later]
)
def test_a_function_that_exits_or_is_cancelled_ends_nobody(
    listeners: Listeners, function: Callable[[UsageEvent], object], caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[UsageEvent] = []
    listeners.on_usage(function)
    listeners.on_usage(heard.append)
    told = [an_event() for _ in range(3)]
    with caplog.at_level(logging.ERROR, "tollspan.safety"):
        for one in told:
            listeners.usage(one)
        listeners.worker.drain(10)
    assert heard == told
    assert function.__qualname__ in caplog.text


def test_a_function_that_exits_in_the_programs_own_loop_does_not_end_it(
    listeners: Listeners,
) -> None:
    async def run() -> str:
        listeners.on_usage(ends_the_program_later)
        listeners.usage(an_event())
        await asyncio.sleep(0.1)
        return "goes on"

    assert asyncio.run(run()) == "goes on"
    assert any("SystemExit" in kind for _, kind in safety.internal_errors)


def test_a_function_that_hangs_on_keeps_a_bounded_memory(listeners: Listeners) -> None:
    go_on = threading.Event()
    heard: list[UsageEvent] = []

    def waits(one: UsageEvent) -> None:
        go_on.wait(30)
        heard.append(one)

    listeners.on_usage(waits)
    one = an_event()
    for _ in range(MOST_WAITING + 500):
        listeners.usage(one)
    assert listeners.worker.waiting <= MOST_WAITING
    go_on.set()
    listeners.worker.drain(30)
    missed = [count for (_, kind), count in safety.internal_errors.items() if "TooSlow" in kind]
    assert sum(missed) + len(heard) == MOST_WAITING + 500
    listeners.usage(one)
    listeners.worker.drain(30)
    assert sum(missed) + len(heard) == MOST_WAITING + 501


def test_what_a_function_is_bound_to_reaches_no_log(
    listeners: Listeners, caplog: pytest.LogCaptureFixture
) -> None:
    def tell(api_key: str, one: UsageEvent) -> None:
        raise LookupError

    listeners.on_usage(partial(tell, "sk-secret"))
    with caplog.at_level(logging.DEBUG):
        listeners.usage(an_event())
        listeners.worker.drain(10)
    assert "the callback partial" in caplog.text
    assert not any("sk-secret" in record.getMessage() for record in caplog.records)
    assert not any("sk-secret" in place for place, _ in safety.internal_errors)


def test_a_loop_never_waits_for_itself_where_there_is_no_thread_to_be_had(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    heard: list[str] = []

    async def hear(_: UsageEvent) -> None:
        await asyncio.sleep(0)
        heard.append("hear")

    async def run() -> None:
        listeners.on_usage(hear)
        began = time.monotonic()
        listeners.usage(an_event())
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.05)

    listeners.on_usage(hear)  # without a loop of its own
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        asyncio.run(run())
    assert heard == ["hear", "hear"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_does_not_wait_for_the_loop_of_its_parent() -> None:
    heard: list[UsageEvent] = []

    async def hear(one: UsageEvent) -> None:
        await asyncio.sleep(0)
        heard.append(one)

    async def fork() -> int:
        LISTENERS.on_usage(hear)
        child = os.fork()
        if child == 0:
            LISTENERS.forget()  # as `launch` has it done, where it is loaded
            LISTENERS.usage(an_event())
            LISTENERS.worker.drain(5)
            os._exit(len(heard))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    try:
        assert asyncio.run(fork()) == 1
    finally:
        LISTENERS.remove(hear)
