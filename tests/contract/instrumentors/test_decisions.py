"""What was decided of a call, asked for with what the call returned."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import kits, representative, streaming
from tests.contract.instrumentors.stage import Caller, Stage, Wires, open_stage
from tests.contract.instrumentors.ways import Way
from tollspan.instrumentation import CallDecision, Decisions
from tollspan.usage import UsageEvent

helping = kits(lambda kit: kit.helper)


@pytest.fixture
def decisions(stage: Stage) -> Decisions:
    """What keeps the decisions of a stage."""
    return asked_of(stage)


def asked_of(stage: Stage) -> Decisions:
    made = Decisions()
    made.attach(stage.installed.lifecycle, lambda: stage.installed.gate.rules)
    made.want()
    return made


def check(found: CallDecision | None, event: UsageEvent) -> None:
    """See that a decision tells of the call of an event, which has ended."""
    assert found is not None
    assert found.call_id == event.call.id
    assert (found.action, found.rule_ids) == ("allow", ("all",))
    assert (found.asked_model, found.used_model) == (event.call.request.model,) * 2
    assert found.bound_nanousd == event.decision.bound_nanousd
    assert found.is_ended
    assert (found.cost_nanousd, found.cost_status) == (event.cost.amount_nanousd, "priced")


def test_an_answer_knows_its_call(stage: Stage, decisions: Decisions) -> None:
    answer = stage.run(lambda caller: caller.ask())
    check(decisions.decision_of(answer), stage.priced_event())


def test_a_raw_response_knows_its_call(stage: Stage, decisions: Decisions) -> None:
    answer = stage.run(lambda caller: caller.raw())
    check(decisions.decision_of(answer), stage.priced_event())


def test_a_response_that_is_read_later_knows_its_call(stage: Stage, decisions: Decisions) -> None:
    async def work(caller: Caller) -> tuple[CallDecision | None, CallDecision | None]:
        async with caller.streaming() as response:
            before = decisions.decision_of(response)
            await caller.way.get(response.read())
            return before, decisions.decision_of(response)

    before, after = stage.run(work)
    assert before is not None
    assert (before.is_ended, before.cost_nanousd, before.cost_status) == (False, None, None)
    check(after, stage.priced_event())


@streaming
def test_a_stream_knows_its_call_while_it_runs_and_after(
    stage: Stage, decisions: Decisions
) -> None:
    async def work(caller: Caller) -> tuple[CallDecision | None, Any]:
        stream = await caller.stream()
        await caller.way.next(stream)
        before = decisions.decision_of(stream)
        await caller.way.loop(stream)
        return before, stream

    before, stream = stage.run(work)
    event = stage.priced_event()
    assert before is not None
    assert before.call_id == event.call.id
    assert (before.is_ended, before.cost_nanousd) == (False, None)
    check(decisions.decision_of(stream), event)


@helping
def test_the_helper_over_a_stream_knows_its_call(stage: Stage, decisions: Decisions) -> None:
    async def work(caller: Caller) -> Any:
        async with caller.helper() as stream:
            await caller.way.loop(stream)
            return stream

    check(decisions.decision_of(stage.run(work)), stage.priced_event())


@representative
def test_nothing_is_kept_longer_than_its_answer(stage: Stage, decisions: Decisions) -> None:
    async def work(caller: Caller) -> list[weakref.ref[Any]]:
        answers = [await caller.ask(), await caller.raw(), await caller.stream()]
        await caller.way.loop(answers[-1])
        return [weakref.ref(answer) for answer in answers]

    references = stage.run(work)
    for _ in range(2):  # what the event loop has to close is closed in between
        gc.collect()
        stage.run(nothing)
    assert [reference() for reference in references] == [None] * 3
    assert decisions._calls == {}


@representative
def test_what_belongs_to_no_call_is_not_known(stage: Stage, decisions: Decisions) -> None:
    answer = stage.run(lambda caller: caller.ask())
    for other in (answer.model_copy(), answer.usage, {"id": answer.id}, None, "text", 7):
        assert decisions.decision_of(other) is None


@representative
def test_two_answers_that_are_equal_are_told_apart(stage: Stage, decisions: Decisions) -> None:
    async def work(caller: Caller) -> list[Any]:
        return [await caller.ask(), await caller.ask()]

    answers = stage.run(work)
    found = [decisions.decision_of(answer) for answer in answers]
    assert [one and one.call_id for one in found] == [one.call.id for one in stage.events()]


@representative
def test_who_never_asks_pays_for_nothing(stage: Stage) -> None:
    quiet = Decisions()
    lifecycle = stage.installed.lifecycle
    before = dict(vars(lifecycle)), dict(vars(lifecycle.spans))
    quiet.attach(lifecycle, lambda: stage.installed.gate.rules)
    assert (dict(vars(lifecycle)), dict(vars(lifecycle.spans))) == before
    answer = stage.run(lambda caller: caller.ask())
    assert quiet.decision_of(answer) is None
    quiet.want()
    assert quiet.decision_of(stage.run(lambda caller: caller.ask())) is not None


@pytest.fixture
def tight(kit: Kit, way: Way, wires: Wires, tmp_path: Path) -> Iterator[Stage]:
    budgets = (
        "{id: few, limit: 3200 tokens, on_exceed: {clamp: {minimum: 20}}}, "
        "{id: warned, limit: 1 tokens, on_exceed: warn}"
    )
    with open_stage(kit, way, wires, tmp_path, budgets=budgets) as made:
        yield made


@representative
def test_it_says_what_was_changed_and_who_warns(tight: Stage, kit: Kit) -> None:
    decisions = asked_of(tight)
    answer = tight.run(lambda caller: caller.ask(**{limit_of(kit): 3_000}))
    found = decisions.decision_of(answer)
    assert found is not None
    assert (found.action, found.is_clamped) == ("clamp", True)
    assert found.asked_max_output_tokens == 3_000
    assert found.max_output_tokens is not None
    assert 20 <= found.max_output_tokens < 3_000
    assert found.rule_ids == ("few", "warned")
    assert found.warnings == ("warned",)


async def nothing(caller: Caller) -> None:
    """Give an event loop a turn."""


def limit_of(kit: Kit) -> str:
    names = ("max_completion_tokens", "max_output_tokens", "max_tokens")
    return next(name for name in names if name in kit.asked)
