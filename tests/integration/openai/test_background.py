"""Responses in the background: what they hold is kept, and settled by whoever sees their end."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from tests import harness
from tests.fakes.calls import MODEL
from tests.integration.openai.stage import Stage
from tollspan.usage import BudgetExceededError, UsageEvent

ASKED: dict[str, Any] = {
    "model": MODEL,
    "input": "What is the answer?",
    "max_output_tokens": 20,
    "background": True,
}


def begin(stage: Stage, client: OpenAI | None = None, **more: Any) -> str:
    """Ask for a response in the background; nothing is booked, and its bound stays held."""
    promise = (client or stage.client()).responses.create(**ASKED, **more)
    assert promise.status == "queued"
    assert stage.events() == []
    balance = harness.balance(stage.home)
    assert (balance.posted, balance.unresolved) == (0, 0)
    assert balance.held > 0
    id_: str = promise.id
    return id_


def ended(stage: Stage) -> UsageEvent:
    """Return the one event: exact, and nothing is held or unresolved."""
    event = stage.event()
    assert event.usage is not None
    assert event.usage.status == "reported"
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd > 0
    assert harness.balance(stage.home).unresolved == 0
    assert event.marks == ("deferred",)
    return event


def test_its_end_settles_what_was_kept(stage: Stage) -> None:
    client = stage.client()
    job = begin(stage, client)
    client.responses.retrieve(job)
    event = ended(stage)
    assert event.outcome.status == "ok"
    assert event.outcome.response.id == job
    assert event.outcome.duration_ns > 0


def test_its_end_is_seen_however_often_and_settled_once(stage: Stage) -> None:
    client = stage.client()
    job = begin(stage, client)
    threads = [
        threading.Thread(target=stage.client().responses.retrieve, args=(job,)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.responses.retrieve(job)
    ended(stage)


def test_an_event_loop_keeps_and_settles_it_too(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        promise = await client.responses.create(**ASKED)
        await client.responses.retrieve(promise.id)

    stage.run(work)
    ended(stage)


def test_a_raw_response_tells_of_it_too(stage: Stage) -> None:
    client = stage.client()
    promise = client.responses.with_raw_response.create(**ASKED).parse()
    assert stage.events() == []
    client.responses.with_raw_response.retrieve(promise.id)
    ended(stage)


def test_what_is_asked_by_extra_body_is_kept_too(stage: Stage) -> None:
    client = stage.client()
    asked = {name: value for name, value in ASKED.items() if name != "background"}
    promise = client.responses.create(**asked, extra_body={"background": True})
    assert stage.events() == []
    client.responses.retrieve(promise.id)
    ended(stage)


def test_the_event_says_who_paid_when_it_was_asked_for(stage: Stage) -> None:
    job = begin(stage, extra_body={"tollspan": {"customer": "acme"}})
    stage.client().responses.retrieve(job)
    assert ended(stage).call.attribution.customer == "acme"


def test_a_stream_that_is_read_to_its_end_is_a_call_like_any(stage: Stage) -> None:
    list(stage.client().responses.create(stream=True, **ASKED))
    event = stage.event()
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd
    assert event.marks == ()


def test_a_stream_that_is_left_goes_on_and_is_settled_later(stage: Stage) -> None:
    client = stage.client()
    with client.responses.create(stream=True, **ASKED) as stream:
        job = next(iter(stream)).response.id
    assert stage.events() == []
    assert stage.open_streams == 0
    assert harness.balance(stage.home).held > 0
    client.responses.retrieve(job)
    event = stage.event()
    assert event.usage is not None
    assert event.usage.status == "reported"
    assert harness.balance(stage.home).unresolved == 0


def test_a_stream_that_is_dropped_goes_on_too(stage: Stage) -> None:
    stream = stage.client().responses.create(stream=True, **ASKED)
    next(iter(stream))
    del stream
    assert stage.events() == []
    assert harness.balance(stage.home).held > 0


def test_the_budget_refuses_while_it_is_held(stage: Stage) -> None:
    client = stage.client()
    job = begin(stage, client)
    held = harness.balance(stage.home).held
    harness.write_rules(stage.home, limit=f"0.{held * 3 // 2:09d}")
    stage.installed.watcher.look()
    with pytest.raises(BudgetExceededError):
        client.responses.create(**ASKED)
    client.responses.retrieve(job)
    client.responses.create(**ASKED)


def test_another_call_s_answers_are_looked_at_and_nothing_more(stage: Stage) -> None:
    client = stage.client()
    plain = {name: value for name, value in ASKED.items() if name != "background"}
    client.responses.create(**plain)
    assert stage.event().marks == ()
