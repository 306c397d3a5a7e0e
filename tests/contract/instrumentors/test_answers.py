"""Whole answers: the SDK's own objects, and exact books."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import representative
from tests.contract.instrumentors.stage import TEXT, Caller, Stage
from tests.fakes import Reply


def test_an_answer_is_the_sdks_and_costs_what_the_provider_bills(stage: Stage, kit: Kit) -> None:
    stage.fake.script.default = Reply(text=TEXT)
    answer = stage.run(Caller.ask)
    assert type(answer) is kit.answer
    assert kit.text is None or kit.text(answer) == TEXT
    event = stage.priced_event()
    request = event.call.request
    assert request.model == kit.model
    assert request.max_output_tokens == kit.most_output
    assert not request.is_stream
    assert event.outcome.response.model == kit.served_model
    assert event.outcome.attempts == 1
    assert event.usage is not None
    (recorded,) = stage.fake.requests
    assert event.usage.input_tokens == recorded.prompt_tokens
    assert event.usage.output_tokens == recorded.output_tokens


def test_an_answer_is_the_very_object_that_the_sdk_made(stage: Stage) -> None:
    made: list[object] = []

    async def work(caller: Caller) -> object:
        process = caller.client._process_response

        def remember(**given: Any) -> object:
            made.append(process(**given))
            return made[-1]

        async def remember_async(**given: Any) -> object:
            made.append(await process(**given))
            return made[-1]

        caller.client._process_response = remember_async if caller.way.is_async else remember
        return await caller.ask()

    assert stage.run(work) is made[0]
    assert len(stage.events()) == 1


CACHED = Reply(
    prompt_tokens=6_200,
    cached_tokens=5_000,
    cache_write_tokens=600,
    cache_write_1h_tokens=400,
    output_tokens=150,
)


@representative
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_what_a_cache_reads_and_writes_costs_what_the_provider_bills(
    stage: Stage, *, is_stream: bool
) -> None:
    stage.fake.script.default = CACHED

    async def work(caller: Caller) -> None:
        if is_stream:
            await caller.way.loop(await caller.stream())
        else:
            await caller.ask()

    stage.run(work)
    usage = stage.priced_event().usage
    assert usage is not None
    assert (usage.input_tokens, usage.cache_read, usage.output_tokens) == (6_200, 5_000, 150)
