"""A program's own functions hear of calls: after the fact, outside locks, whatever they do."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI, OpenAI

from tests import harness
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI
from tollspan.api import (
    BudgetExceededError,
    BudgetWarning,
    CallDeniedError,
    on_deny,
    on_usage,
    on_warn,
    remove_callback,
)
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.usage import DecisionEvent, UsageEvent, WarningNote

ASKED = {"model": "gpt-4o-mini", "max_tokens": 20}
SAYS = [{"role": "user", "content": "hi"}]


@pytest.fixture
def subscribe() -> Iterator[Callable[..., None]]:
    """Subscribe functions for one test."""
    added: list[Callable[..., object]] = []

    def add(way: Callable[..., object], function: Callable[..., object]) -> None:
        way(function)
        added.append(function)

    yield add
    for function in added:
        remove_callback(function)


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


def say(client: OpenAI) -> None:
    client.chat.completions.create(messages=SAYS, **ASKED)  # type: ignore[call-overload]  # keywords of a dict


def test_usage_denials_and_warnings_are_told_in_another_thread(
    tmp_path: Path, fake: FakeOpenAI, subscribe: Callable[..., None]
) -> None:
    used: list[UsageEvent] = []
    denied: list[CallDeniedError] = []
    warned: list[BudgetWarning] = []
    threads: set[threading.Thread] = set()

    def hear(value: UsageEvent) -> None:
        threads.add(threading.current_thread())
        used.append(value)

    subscribe(on_usage, hear)
    subscribe(on_deny, denied.append)
    subscribe(on_warn, warned.append)
    rules = "{id: few, limit: 2 calls, warn_at: [0.5]}"
    with (
        harness.installed(tmp_path, budgets=rules),
        OpenAI(base_url=fake.base_url, api_key="k") as ai,
    ):
        say(ai)
        wait_until(lambda: len(warned) == 1)
        say(ai)
        with pytest.raises(BudgetExceededError) as caught:
            say(ai)
        wait_until(lambda: len(used) == 2 and len(denied) == 1 and len(warned) == 1)
    assert denied == [caught.value]
    assert [event.call.id for event in used] == [
        event.call.id for event in harness.usage_events(tmp_path)
    ]
    assert (warned[0].rule_id, str(warned[0].share)) == ("few", "0.5")
    assert warned[0].spent >= 1  # the worker looks after the call, or after the next
    assert threading.main_thread() not in threads


def test_a_warning_is_an_event_of_its_call(tmp_path: Path, fake: FakeOpenAI) -> None:
    rules = "{id: few, limit: 4 calls, warn_at: [0.5]}"
    with (
        harness.installed(tmp_path, budgets=rules),
        OpenAI(base_url=fake.base_url, api_key="k") as ai,
    ):
        for _ in range(3):
            say(ai)
        wait_until(lambda: len(warnings_in(tmp_path)) == 1)
    (event,) = warnings_in(tmp_path)
    calls = [one.call.id for one in harness.usage_events(tmp_path)]
    assert event.id in [f"{call}.d1" for call in calls]
    assert (event.decision.action, event.decision.rule_ids) == ("warn", ("few",))
    assert event.warning == WarningNote(reason="share", share="0.5", period="")
    assert (event.unit, event.limit) == ("calls", 4)
    assert (event.spent or 0) >= 2


def warnings_in(home: Path) -> list[DecisionEvent]:
    """Return the events of warnings that a home's ledger has."""
    events = LedgerReader(home / LEDGER_FILE).events()
    return [one for one in events if isinstance(one, DecisionEvent) and one.warning is not None]


def test_a_slow_or_broken_function_delays_and_breaks_nothing(
    tmp_path: Path,
    fake: FakeOpenAI,
    subscribe: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[UsageEvent] = []
    go_on = threading.Event()

    def breaks(_: UsageEvent) -> None:
        raise ZeroDivisionError

    def waits(_: UsageEvent) -> None:
        go_on.wait(10)

    for function in (breaks, waits, heard.append):
        subscribe(on_usage, function)
    with (
        caplog.at_level(logging.ERROR, "tollspan.safety"),
        harness.installed(tmp_path, budgets="{id: all, limit: 1 USD}"),
        OpenAI(base_url=fake.base_url, api_key="k") as ai,
    ):
        began = time.monotonic()
        for _ in range(3):
            say(ai)
        assert time.monotonic() - began < 5
        go_on.set()
        wait_until(lambda: len(heard) == 3)
    assert "the callback" in caplog.text


def test_a_function_may_call_a_model_itself(
    tmp_path: Path, fake: FakeOpenAI, subscribe: Callable[..., None]
) -> None:
    with (
        harness.installed(tmp_path, budgets="{id: few, limit: 3 calls}"),
        OpenAI(base_url=fake.base_url, api_key="k") as ai,
    ):
        subscribe(on_usage, lambda _: say(ai))  # until the budget ends it
        denied: list[CallDeniedError] = []
        subscribe(on_deny, denied.append)
        say(ai)
        wait_until(lambda: len(denied) == 1)
    assert fake.hits == 3


def test_an_async_function_runs_in_the_loop_that_it_was_given_in(
    tmp_path: Path, fake: FakeOpenAI, subscribe: Callable[..., None]
) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def hear(_: UsageEvent) -> None:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())

    async def run() -> None:
        subscribe(on_usage, hear)
        async with AsyncOpenAI(base_url=fake.base_url, api_key="k") as ai:
            await ai.chat.completions.create(messages=SAYS, **ASKED)  # type: ignore[call-overload]  # keywords of a dict
        while not loops:
            await asyncio.sleep(0.01)
        assert loops == [asyncio.get_running_loop()]

    with harness.installed(tmp_path, budgets="{id: all, limit: 1 USD}"):
        asyncio.run(asyncio.wait_for(run(), 20))


def test_an_async_function_given_outside_a_loop_runs_in_one_of_its_own(
    tmp_path: Path, fake: FakeOpenAI, subscribe: Callable[..., None]
) -> None:
    heard: list[str] = []

    async def hear(event: UsageEvent) -> None:
        await asyncio.sleep(0)
        heard.append(event.call.id)

    subscribe(on_usage, hear)
    with (
        harness.installed(tmp_path, budgets="{id: all, limit: 1 USD}"),
        OpenAI(base_url=fake.base_url, api_key="k") as ai,
    ):
        say(ai)
        wait_until(lambda: len(heard) == 1)


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError])
def test_a_function_that_ends_its_thread_ends_no_other_function(
    tmp_path: Path,
    fake: FakeOpenAI,
    subscribe: Callable[..., None],
    error: type[BaseException],
) -> None:
    heard: list[UsageEvent] = []

    def ends(_: UsageEvent) -> None:
        raise error

    subscribe(on_usage, ends)
    subscribe(on_usage, heard.append)
    with (
        harness.installed(tmp_path, budgets="{id: all, limit: 1 USD}"),
        OpenAI(base_url=fake.base_url, api_key="k") as ai,
    ):
        for _ in range(2):
            say(ai)
        wait_until(lambda: len(heard) == 2)
