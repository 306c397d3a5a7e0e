"""A gate that only observes: calls over a limit run side by side, once each, and are counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI

from tests import harness
from tests.fakes import FakeOpenAI, Reply
from tests.fakes.calls import chat
from tests.integration.openai.stage import Stage, ask

SOFT = [
    pytest.param("{id: all, limit: 0 USD}", "observe", id="observe"),
    pytest.param("{id: all, limit: 0 USD, on_exceed: warn}", "enforce", id="warn"),
    pytest.param("{id: all, limit: 0 USD, on_exceed: shadow}", "enforce", id="shadow"),
]
soft = pytest.mark.parametrize(("budgets", "mode"), SOFT)


@contextmanager
def observing(home: Path, budgets: str, mode: str) -> Iterator[Stage]:
    """Have tollspan in this process, with a budget that refuses nothing and has no room."""
    with (
        FakeOpenAI() as fake,
        harness.installed(home, budgets=budgets, TOLLSPAN_MODE=mode) as installed,
    ):
        stage = Stage(fake=fake, home=home, installed=installed)
        yield stage
        stage.close()


def answer_all_at_once(fake: FakeOpenAI, number: int) -> None:
    """Answer no call before so many are there: who sends one after the other gets no answer."""
    all_there = threading.Barrier(number)

    def respond(request: object, headers: Mapping[str, str], hit: int) -> Reply:
        try:
            all_there.wait(10)
        except threading.BrokenBarrierError:
            return Reply(status=500)
        return Reply()

    fake.script.respond = respond


@soft
def test_threads_over_the_limit_run_side_by_side_and_every_call_is_counted(
    tmp_path: Path, budgets: str, mode: str
) -> None:
    with observing(tmp_path, budgets, mode) as stage:
        answer_all_at_once(stage.fake, 5)
        client = stage.client()
        with ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(lambda _: chat(client), range(5)))
        assert all(answer.choices for answer in answers)
        assert len(stage.events()) == stage.fake.hits == 5
        assert harness.balance(tmp_path).posted == stage.fake.billed_nanousd > 0


@soft
def test_tasks_over_the_limit_run_side_by_side_in_one_loop(
    tmp_path: Path, budgets: str, mode: str
) -> None:
    async def work(client: AsyncOpenAI) -> None:
        await asyncio.wait_for(asyncio.gather(*(ask(client) for _ in range(3))), 20)

    with observing(tmp_path, budgets, mode) as stage:
        answer_all_at_once(stage.fake, 3)
        stage.run(work)
        assert len(stage.events()) == stage.fake.hits == 3
        assert harness.balance(tmp_path).posted == stage.fake.billed_nanousd > 0


@soft
def test_a_call_over_the_limit_that_the_provider_fails_is_made_once(
    tmp_path: Path, budgets: str, mode: str
) -> None:
    with observing(tmp_path, budgets, mode) as stage:
        stage.fake.script.default = Reply(status=500)
        with pytest.raises(openai.InternalServerError):
            chat(stage.client())
        assert stage.fake.hits == 1
        (event,) = stage.events()
        assert (event.outcome.status, event.outcome.attempts) == ("error", 1)
