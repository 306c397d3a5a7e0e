"""Limits under the traffic that got past the limits of others, as `docs/reference` has it.

In turn and at once, cold and exhausted, with versioned names, with prompts that are longer than
they look, with streams that are left: the provider is asked exactly as often as the limit allows.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from tests import harness
from tests.fakes import FakeOpenAI, Reply
from tests.fakes.calls import MODEL, chat, stream
from tests.integration.openai.stage import Stage, ask, ask_stream
from tollspan.api import BudgetExceededError, attribution
from tollspan.usage import format_usd

KINDS = ("sync", "stream", "async", "async stream")
VERSIONED = "gpt-4o-mini-2024-07-18"
THREADS = 50
ASKED: dict[str, Any] = {"max_tokens": 20}


@contextmanager
def open_stage(home: Path, fake: FakeOpenAI, *, budgets: str) -> Iterator[Stage]:
    """Have tollspan in this process, with some budgets; crowds are judged, however slowly."""
    with harness.installed(home, budgets=budgets, TOLLSPAN_ACQUIRE_TIMEOUT="20") as installed:
        stage = Stage(fake=fake, home=home, installed=installed)
        yield stage
        stage.close()


def spend(stage: Stage, kind: str, number: int) -> int:
    """Make calls one after the other, to their ends; return how many were let through."""
    if kind.startswith("async"):
        return stage.run(lambda client: spend_async(client, kind, number))
    client = stage.client()
    allowed = 0
    for _ in range(number):
        try:
            if kind == "sync":
                chat(client, **ASKED)
            else:
                list(stream(client, **ASKED))
        except BudgetExceededError:
            continue
        allowed += 1
    return allowed


async def spend_async(client: AsyncOpenAI, kind: str, number: int) -> int:
    """Do as `spend` does, with the asynchronous client."""
    allowed = 0
    for _ in range(number):
        try:
            if kind == "async":
                await ask(client, **ASKED)
            else:
                async for _ in await ask_stream(client, **ASKED):
                    pass
        except BudgetExceededError:
            continue
        allowed += 1
    return allowed


def together(call: Callable[[], object], number: int = THREADS) -> int:
    """Make calls in threads that start at one instant; return how many were let through."""
    start = threading.Barrier(number)

    def work(_: int) -> bool:
        start.wait(30)
        try:
            call()
        except BudgetExceededError:
            return False
        return True

    with ThreadPoolExecutor(number) as pool:
        return sum(pool.map(work, range(number)))


def cost_and_bound(home: Path, kind: str) -> tuple[int, int]:
    """Return what one call costs, and the most that it could cost, in nano-USD."""
    with FakeOpenAI() as fake, open_stage(home, fake, budgets="{id: all, limit: 1 USD}") as stage:
        assert spend(stage, kind, 1) == 1
        event = stage.event()
        assert event.decision.bound_nanousd is not None
        return fake.billed_nanousd, event.decision.bound_nanousd


@pytest.mark.parametrize("room", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_calls_one_after_the_other_stop_at_the_limit(tmp_path: Path, kind: str, room: int) -> None:
    cost, bound = cost_and_bound(tmp_path / "probe", kind)
    limit = (room - 1) * cost + bound
    with (
        FakeOpenAI() as fake,
        open_stage(
            tmp_path / "home", fake, budgets=f"{{id: all, limit: {format_usd(limit)} USD}}"
        ) as stage,
    ):
        assert spend(stage, kind, 40) == room
        assert fake.hits == room
        assert harness.balance(stage.home).posted == fake.billed_nanousd == room * cost <= limit


def test_a_bound_is_of_the_size_of_the_cost(tmp_path: Path) -> None:
    budget = "{id: all, limit: 1 USD}"
    text = "The quick brown fox jumps over the lazy dog. " * 200
    with FakeOpenAI() as fake, open_stage(tmp_path, fake, budgets=budget) as stage:
        fake.script.default = Reply(output_tokens=500)
        chat(stage.client(), messages=[{"role": "user", "content": text}], max_tokens=500)
        bound = stage.event().decision.bound_nanousd
        assert bound is not None
        assert fake.billed_nanousd <= bound <= 10 * fake.billed_nanousd


@pytest.mark.parametrize("kind", KINDS)
def test_an_exhausted_budget_lets_no_first_call_of_a_process_through(
    tmp_path: Path, kind: str
) -> None:
    budget = "{id: all, limit: 1 call}"
    with FakeOpenAI() as fake:
        with open_stage(tmp_path, fake, budgets=budget) as stage:
            assert spend(stage, "sync", 1) == 1
        with open_stage(tmp_path, fake, budgets=budget) as stage:
            assert spend(stage, kind, 1) == 0
        assert fake.hits == 1


@pytest.mark.parametrize(("spent", "room"), [(1, 0), (0, 1)], ids=["exhausted", "room for one"])
def test_fifty_threads_at_the_start_of_a_process_get_no_more_than_there_is(
    tmp_path: Path, spent: int, room: int
) -> None:
    budget = "{id: all, limit: 1 call}"
    with FakeOpenAI() as fake:
        if spent:
            with open_stage(tmp_path, fake, budgets=budget) as stage:
                chat(stage.client())
        with open_stage(tmp_path, fake, budgets=budget) as stage:
            client = stage.client()
            assert together(lambda: chat(client, **ASKED)) == room
        assert fake.hits == 1


def a_tool(number: int) -> dict[str, Any]:
    """Return a tool whose schema is input that is not in the messages."""
    words = " ".join(f"word{number}" for number in range(60))
    return {"type": "function", "function": {"name": f"tool_{number}", "description": words}}


def test_tokens_at_once_never_pass_their_limit_however_long_the_prompts(tmp_path: Path) -> None:
    tools = [a_tool(number) for number in range(10)]
    limit = 60_000
    reply = Reply(output_tokens=20, prompt_tokens=4_000, latency_seconds=0.05)
    budget = f"{{id: all, limit: {limit} tokens}}"
    with FakeOpenAI(reply) as fake, open_stage(tmp_path, fake, budgets=budget) as stage:
        client = stage.client()
        allowed = together(lambda: chat(client, tools=tools, **ASKED))
        assert 0 < allowed < THREADS
        assert fake.hits == allowed
        balance = harness.balance(tmp_path)
        assert (balance.posted, balance.held) == (4_020 * allowed, 0)
        assert balance.posted <= limit


def test_a_versioned_name_is_held_for_priced_and_stopped_as_its_model(tmp_path: Path) -> None:
    with (
        FakeOpenAI() as fake,
        open_stage(tmp_path / "probe", fake, budgets="{id: all, limit: 1 USD}") as stage,
    ):
        chat(stage.client(), **ASKED)
        chat(stage.client(), model=VERSIONED, **ASKED)
        plain, versioned = stage.events()
        assert versioned.decision.bound_nanousd == plain.decision.bound_nanousd is not None
        assert versioned.cost.status == "priced"
        assert versioned.cost.amount_nanousd == plain.cost.amount_nanousd
        bound = plain.decision.bound_nanousd
    reply = Reply(latency_seconds=0.2)
    limit = f"{{id: all, limit: {format_usd(10 * bound)} USD, where: {{model: '{MODEL}*'}}}}"
    with FakeOpenAI(reply) as fake, open_stage(tmp_path / "home", fake, budgets=limit) as stage:
        client = stage.client()
        allowed = together(lambda: chat(client, model=VERSIONED, **ASKED))
        assert 10 <= allowed < THREADS
        assert fake.hits == allowed
        assert harness.balance(stage.home).posted == fake.billed_nanousd <= 10 * bound
        assert harness.balance(stage.home).held == 0


WIDE = "{id: wide, limit: 1000 USD}"
SOFT = "{id: soft, limit: 1 call, on_exceed: warn}"
CAP = "{id: cap, per: [customer], limit: 1 call}"


@pytest.mark.parametrize("first", [WIDE, SOFT], ids=["a wide one", "a soft one"])
@pytest.mark.parametrize("turn", [1, -1], ids=["cap last", "cap first"])
def test_no_budget_hides_another_whatever_their_order(
    tmp_path: Path, first: str, turn: int
) -> None:
    budgets = ", ".join([first, CAP][::turn])
    with FakeOpenAI() as fake, open_stage(tmp_path, fake, budgets=budgets) as stage:
        for customer in ("acme", "other"):
            with attribution(customer=customer):
                assert spend(stage, "sync", 1) == 1
                with pytest.raises(BudgetExceededError) as caught:
                    chat(stage.client())
            assert caught.value.rule_id == "cap"
            assert caught.value.scope == (("customer", customer),)
        assert fake.hits == 2


def test_streams_that_are_left_hold_nothing_and_keep_nobody_out(tmp_path: Path) -> None:
    reply = Reply(text="one two three four five six seven eight", billing="as_generated")
    budgets = "{id: all, limit: 10 calls}, {id: money, limit: 1 USD}"
    with FakeOpenAI(reply) as fake, open_stage(tmp_path, fake, budgets=budgets) as stage:
        client = stage.client()
        for _ in range(5):
            for chunk in stream(client, **ASKED):
                if chunk.choices:
                    break
            del chunk
        gc.collect()
        assert len(stage.events()) == 5
        assert stage.open_streams == 0
        for budget in ("all", "money"):
            balance = harness.balance(stage.home, budget)
            assert (balance.held, balance.unresolved) == (0, 0)
        assert spend(stage, "sync", 40) == 5
        assert harness.balance(stage.home, "money").held == 0


def test_threads_with_event_loops_of_their_own_lose_no_event(tmp_path: Path) -> None:
    threads, calls = 8, 25
    start = threading.Barrier(threads)

    async def work(client: AsyncOpenAI) -> None:
        await asyncio.gather(*(ask(client, **ASKED) for _ in range(calls)))

    budget = "{id: all, limit: 1 USD}"
    with FakeOpenAI() as fake, open_stage(tmp_path, fake, budgets=budget) as stage:

        def loop(_: int) -> None:
            start.wait(30)
            stage.run(work)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(loop, range(threads)))
        events = stage.events()
        assert len(events) == len({event.call.id for event in events}) == threads * calls
        assert harness.balance(tmp_path).posted == fake.billed_nanousd
    # Read at the end: a busy machine can bring a lease, which is held until it is given back.
    assert harness.balance(tmp_path).held == 0


def test_calls_without_a_limit_of_output_run_one_after_the_other_where_one_fits(
    tmp_path: Path,
) -> None:
    most = 16_384  # of gpt-4o-mini, which is held for a call that names no limit
    budget = "{id: all, limit: 30000 tokens}"
    with FakeOpenAI() as fake, open_stage(tmp_path, fake, budgets=budget) as stage:
        client: OpenAI = stage.client()
        for _ in range(10):
            chat(client)
        assert fake.hits == 10
        assert harness.balance(tmp_path).posted < most
        assert harness.balance(tmp_path).held == 0
