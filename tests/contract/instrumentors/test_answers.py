"""Whole answers: the SDK's own objects, and exact books."""

from __future__ import annotations

from typing import Any

from tests.contract.instrumentors.kit import Kit
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
