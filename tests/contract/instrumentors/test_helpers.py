"""The SDK's own helpers over streams, and answers that it parses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.instrumentors.kit import Found, Kit
from tests.contract.instrumentors.kits import kits
from tests.contract.instrumentors.stage import TEXT, Caller, Stage
from tests.fakes import Reply

PIECES = 40
helped = kits(lambda kit: kit.helper)
parsing = kits(lambda kit: kit.parse, missing=lambda kit: kit.parse.missing if kit.parse else None)


def deltas(kit: Kit, events: list[Any]) -> str:
    """Return the text of a helper's events."""
    assert kit.helper is not None
    return "".join(map(kit.helper.delta, events))


async def final(caller: Caller, helper: Any) -> str:
    """Return the text of what a helper has put together."""
    found = caller.kit.helper
    assert found is not None
    return found.final_text(await caller.way.get(getattr(helper, found.final)()))


@helped
def test_a_drained_helper_costs_what_the_provider_bills(stage: Stage, kit: Kit) -> None:
    stage.fake.script.default = Reply(text=TEXT)

    async def work(caller: Caller) -> None:
        async with caller.helper() as helper:
            assert deltas(kit, await caller.way.loop(helper)) == TEXT
            assert await final(caller, helper) == TEXT

    stage.run(work)
    assert stage.priced_event().call.request.is_stream


@helped
def test_a_helper_that_is_only_asked_for_the_whole_is_drained_too(stage: Stage) -> None:
    stage.fake.script.default = Reply(text=TEXT)

    async def work(caller: Caller) -> None:
        async with caller.helper() as helper:
            assert await final(caller, helper) == TEXT

    stage.run(work)
    stage.priced_event()


@helped
@pytest.mark.parametrize("how", ["close", "the block", "an exception"])
def test_a_helper_that_is_left_is_accounted_for_at_once(stage: Stage, kit: Kit, how: str) -> None:
    stage.fake.script.default = Reply(text=TEXT, stall_after_chunks=PIECES)
    assert kit.helper is not None
    delta = kit.helper.delta

    def has_enough(events: list[Any]) -> bool:
        return sum(1 for event in events if delta(event)) == PIECES

    async def work(caller: Caller) -> None:
        async with caller.helper() as helper:
            await caller.way.loop(helper, has_enough)
            assert stage.open_streams == 1
            if how == "close":
                await caller.way.get(helper.close())
                assert stage.open_streams == 0
            elif how == "an exception":
                raise ZeroDivisionError
        assert stage.open_streams == 0

    caller = stage.caller()
    if how == "an exception":
        with pytest.raises(ZeroDivisionError):
            stage.way.run(work(caller))
    else:
        stage.way.run(work(caller))
    event = stage.event()
    assert (event.outcome.status, event.outcome.error_type) == ("partial", None)
    assert event.usage is not None
    assert event.usage.status == "estimated"
    assert stage.fake.wait_idle()
    assert event.cost.amount_nanousd == pytest.approx(stage.fake.billed_nanousd, rel=0.35)


@helped
def test_a_helper_that_nobody_reads_keeps_its_bound(stage: Stage) -> None:
    async def work(caller: Caller) -> None:
        async with caller.helper():
            pass

    stage.run(work)
    event = stage.event()
    assert event.outcome.status == "partial"
    assert event.usage is not None
    assert event.usage.status == "unknown"
    assert event.charges[0].unresolved == event.decision.bound_nanousd


@helped
def test_a_helper_passes_the_providers_failure_on(stage: Stage, kit: Kit) -> None:
    stage.fake.script.default = Reply(text=TEXT, drop="mid_stream", after_chunks=PIECES)

    async def work(caller: Caller) -> None:
        async with caller.helper() as helper:
            await caller.way.loop(helper)

    raised: list[type] = []
    caller = stage.caller()
    with stage.bare(), pytest.raises(Exception) as bare:  # noqa: PT011 - as without us
        stage.way.run(work(caller))
    with pytest.raises(Exception) as ours:  # noqa: PT011
        stage.way.run(work(caller))
    raised += [bare.type, ours.type]
    assert raised[0] is raised[1]
    assert stage.event().outcome.status == "error"


# --- parsed answers ---


@parsing
def test_a_parsed_answer_costs_what_the_provider_bills(stage: Stage, kit: Kit) -> None:
    stage.fake.script.default = Reply(text='{"text": "found"}')
    assert kit.parse is not None
    answer = stage.run(lambda caller: caller.parse(Found))
    assert kit.parse.parsed(answer) == Found(text="found")
    assert isinstance(answer, kit.answer)
    stage.priced_event()


@parsing
def test_an_answer_that_can_not_be_parsed_costs_what_the_provider_bills(stage: Stage) -> None:
    stage.fake.script.default = Reply(text="no JSON at all")
    with pytest.raises(ValueError, match="JSON"):
        stage.run(lambda caller: caller.parse(Found))
    event = stage.event()
    assert event.outcome.status == "error"
    assert event.usage is not None
    assert event.usage.status == "reported"
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd > 0
    assert event.charges[0].unresolved == 0
