"""Budgets for each trace, as the program's own traces are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from tests import harness
from tests.fakes import FakeOpenAI
from tests.fakes.calls import chat
from tests.integration.openai.stage import Stage, ask
from tollspan.api import BudgetExceededError

TRACES = (0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x0AF7651916CD43DD8448EB211C80319C)


@contextmanager
def in_trace(trace_id: int) -> Iterator[None]:
    """Be within a span of a trace, recorded or not."""
    with use_span(NonRecordingSpan(SpanContext(trace_id, 7, is_remote=True))):
        yield


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Have tollspan in this process, with a budget for each trace."""
    budgets = "{id: all, limit: 2 calls, window: trace}"
    with (
        FakeOpenAI() as fake,
        harness.installed(tmp_path / "home", budgets=budgets) as installed,
    ):
        made = Stage(fake=fake, home=tmp_path / "home", installed=installed)
        yield made
        made.close()


def test_calls_of_one_trace_share_its_budget_in_threads_and_tasks(stage: Stage) -> None:
    client = stage.client()
    for trace_id in TRACES:
        with in_trace(trace_id):
            chat(client)
            stage.run(ask)
            with pytest.raises(BudgetExceededError):
                chat(client)
            with pytest.raises(BudgetExceededError):
                stage.run(ask)
    for _ in range(3):
        chat(client)  # outside of any trace: each is one of its own
    stage.settle()
    periods = [event.charges[0].period for event in harness.usage_events(stage.home)]
    assert periods[:4] == [f"{trace_id:032x}" for trace_id in TRACES for _ in range(2)]
    assert len(set(periods[4:])) == 3


def test_rules_that_are_read_anew_go_by_traces_or_do_so_no_more(stage: Stage) -> None:
    client = stage.client()

    def use(budgets: str) -> None:
        harness.write_rules(stage.home, budgets=budgets)
        stage.installed.watcher.look()

    use("{id: all, limit: 100 calls}")
    with in_trace(TRACES[0]):
        for _ in range(4):
            chat(client)
    use("{id: all, limit: 100 calls}, {id: each, limit: 1 call, window: trace}")
    with in_trace(TRACES[0]):
        chat(client)
        with pytest.raises(BudgetExceededError):
            chat(client)
    stage.settle()
    traces = [event.call.attribution.trace for event in harness.usage_events(stage.home)]
    assert traces == [None] * 4 + [f"{TRACES[0]:032x}"]
