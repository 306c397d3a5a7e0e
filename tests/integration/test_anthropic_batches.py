"""Batches of messages: bounded request by request, let through as one, settled by their results."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests import harness
from tests.fakes.anthropic_fake import FakeAnthropic
from tollspan.launch import Installed
from tollspan.usage import BudgetExceededError, UsageEvent

HAIKU, SONNET = "claude-haiku-4-5", "claude-sonnet-5-5"
HOSTS = {"127.0.0.1": "anthropic"}
BUDGETS = (
    "{id: all, limit: 1 USD}, {id: count, limit: 100 calls},"
    " {id: sonnet, where: {model: 'claude-sonnet*'}, limit: 1 USD}"
)


class Stage:
    """A fake provider, tollspan in this process, and the books."""

    def __init__(self, fake: FakeAnthropic, home: Path, installed: Installed) -> None:
        self.fake = fake
        self.home = home
        self.installed = installed
        self.clients = contextlib.ExitStack()

    def client(self) -> Anthropic:
        """Return a client that does not retry."""
        client = Anthropic(api_key="key", base_url=self.fake.root_url, max_retries=0)
        return self.clients.enter_context(client)

    def events(self) -> list[UsageEvent]:
        """Return what was booked."""
        self.installed.lifecycle.worker.drain(5)
        return harness.usage_events(self.home)

    def counts(self, budget_id: str = "all") -> tuple[int, int, int]:
        """Return what a budget has posted, held and unresolved."""
        self.installed.lifecycle.worker.drain(5)
        found = harness.balance(self.home, budget_id)
        return found.posted, found.held, found.unresolved


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Everything that a test needs."""
    home = tmp_path / "home"
    with (
        FakeAnthropic() as fake,
        harness.installed(home, budgets=BUDGETS, hosts=HOSTS) as installed,
    ):
        made = Stage(fake, home, installed)
        with made.clients:
            yield made


def asked(name: str, model: str = HAIKU, text: str = "Hello?", max_tokens: int = 50) -> Any:
    """Make one request of a batch."""
    messages = [{"role": "user", "content": text}]
    params = {"model": model, "max_tokens": max_tokens, "messages": messages}
    return {"custom_id": name, "params": params}


def results(client: Anthropic, batch_id: str) -> list[Any]:
    """Read the results of a batch to their end."""
    return list(client.messages.batches.results(batch_id))


def test_a_batch_is_held_until_its_results_are_read_and_costs_what_they_say(stage: Stage) -> None:
    client = stage.client()
    requests = [asked(f"r{number}", text="hi " * number) for number in range(1, 6)]
    batch = client.messages.batches.create(requests=requests)
    assert batch.processing_status == "in_progress"
    assert stage.events() == []
    posted, held, unresolved = stage.counts()
    assert (posted, unresolved) == (0, 0)
    assert held > 5 * 50 * 2_500  # tokens of output, at half of haiku's price
    assert stage.counts("count") == (0, 5, 0)
    client.messages.batches.retrieve(batch.id)
    assert stage.events() == []
    lines = results(client, batch.id)
    assert [line.result.type for line in lines] == ["succeeded"] * 5
    (event,) = stage.events()
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd > 0
    assert event.cost.status == "priced"
    assert event.call.request.calls == 5
    assert event.outcome.response.id == batch.id
    assert stage.counts() == (stage.fake.billed_nanousd, 0, 0)
    assert stage.counts("count") == (5, 0, 0)


def test_a_batch_holds_the_sum_of_what_its_requests_would(stage: Stage) -> None:
    client = stage.client()
    for number in range(1, 4):
        client.messages.batches.create(requests=[asked("a", text="hi " * number)])
    alone = stage.counts()[1]
    requests = [asked(f"r{number}", text="hi " * number) for number in range(1, 4)]
    client.messages.batches.create(requests=requests)
    assert stage.counts()[1] == 2 * alone


def test_results_that_are_read_again_change_nothing(stage: Stage) -> None:
    client = stage.client()
    batch = client.messages.batches.create(requests=[asked("a")])
    for _ in range(3):
        results(client, batch.id)
    assert len(stage.events()) == 1
    assert stage.counts() == (stage.fake.billed_nanousd, 0, 0)


def test_results_that_are_not_read_to_their_end_settle_nothing(stage: Stage) -> None:
    client = stage.client()
    batch = client.messages.batches.create(requests=[asked("a"), asked("b")])
    lines = client.messages.batches.results(batch.id)
    next(lines)
    lines.close()
    assert stage.events() == []
    assert stage.counts()[1] > 0


def test_what_failed_was_cancelled_or_expired_costs_nothing(stage: Stage) -> None:
    client = stage.client()
    names = ["ok", "errored-1", "canceled-1", "expired-1"]
    batch = client.messages.batches.create(requests=[asked(name) for name in names])
    results(client, batch.id)
    (event,) = stage.events()
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd > 0
    assert stage.counts() == (stage.fake.billed_nanousd, 0, 0)


@pytest.mark.parametrize("sees", ["retrieve", "cancel", "results"])
def test_a_batch_without_any_result_costs_nothing(stage: Stage, sees: str) -> None:
    client = stage.client()
    batch = client.messages.batches.create(requests=[asked("canceled-1"), asked("expired-1")])
    seen = getattr(client.messages.batches, sees)(batch.id)
    if sees == "results":
        list(seen)
    (event,) = stage.events()
    assert event.cost.status == "not_billed"
    assert stage.counts() == (0, 0, 0)
    assert stage.counts("count") == (0, 0, 0)


def test_requests_of_several_models_are_calls_of_their_own(stage: Stage) -> None:
    client = stage.client()
    requests = [asked("h1"), asked("s1", SONNET), asked("h2"), asked("s2", SONNET)]
    batch = client.messages.batches.create(requests=requests)
    assert stage.counts("count") == (0, 4, 0)
    of_sonnet = stage.counts("sonnet")[1]
    assert 0 < of_sonnet < stage.counts()[1]
    results(client, batch.id)
    events = stage.events()
    assert {event.call.request.model for event in events} == {HAIKU, SONNET}
    assert sum(event.cost.amount_nanousd or 0 for event in events) == stage.fake.billed_nanousd
    (sonnet,) = [one for one in events if one.call.request.model == SONNET]
    assert stage.counts("sonnet") == (sonnet.cost.amount_nanousd, 0, 0)
    assert stage.counts() == (stage.fake.billed_nanousd, 0, 0)


def test_a_batch_that_does_not_fit_is_refused_whole(stage: Stage) -> None:
    client = stage.client()
    fits = [asked(f"h{n}") for n in range(3)]
    dear = [asked(f"s{n}", SONNET, max_tokens=50_000) for n in range(10)]
    with pytest.raises(BudgetExceededError):
        client.messages.batches.create(requests=[*fits, *dear])
    assert stage.fake.hits == 0
    assert stage.counts() == (0, 0, 0)
    with pytest.raises(BudgetExceededError):
        client.messages.batches.create(requests=[asked(f"h{n}", max_tokens=1) for n in range(101)])


def test_a_batch_that_the_provider_refuses_costs_nothing(stage: Stage) -> None:
    client = stage.client()
    empty: Any = {"custom_id": "a", "params": {"model": HAIKU, "messages": []}}
    with pytest.raises(anthropic.BadRequestError):
        client.messages.batches.create(requests=[empty])
    assert stage.counts()[0] == stage.counts()[1] == 0


def test_an_event_loop_begins_and_settles_batches_too(stage: Stage) -> None:
    async def work() -> None:
        async with AsyncAnthropic(api_key="key", base_url=stage.fake.root_url) as client:
            requests = [asked("a"), asked("b", SONNET)]
            batch = await client.messages.batches.create(requests=requests)
            async for _ in await client.messages.batches.results(batch.id):
                pass

    asyncio.run(work())
    assert len(stage.events()) == 2
    assert stage.counts() == (stage.fake.billed_nanousd, 0, 0)


def test_beta_and_raw_batches_are_gated_too(stage: Stage) -> None:
    client = stage.client()
    batch = client.beta.messages.batches.create(requests=[asked("a")])
    raw = client.messages.batches.with_raw_response.create(requests=[asked("b")]).parse()
    assert stage.counts("count") == (0, 2, 0)
    list(client.beta.messages.batches.results(batch.id))
    results(client, raw.id)
    assert len(stage.events()) == 2
    assert stage.counts() == (stage.fake.billed_nanousd, 0, 0)


def test_large_batches_are_priced_to_the_nano_dollar(stage: Stage) -> None:
    client = stage.client()
    requests = [asked(f"r{n}", HAIKU, text="word " * (n % 97), max_tokens=3) for n in range(90)]
    batch = client.messages.batches.create(requests=requests)
    results(client, batch.id)
    (event,) = stage.events()
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd
    assert event.usage is not None
    assert len(event.usage.iterations) <= 16


def test_who_pays_is_said_for_the_whole_batch(stage: Stage) -> None:
    client = stage.client()
    batch = client.messages.batches.create(
        requests=[asked("a"), asked("b", SONNET)],
        extra_body={"tollspan": {"customer": "acme"}},
    )
    results(client, batch.id)
    assert [event.call.attribution.customer for event in stage.events()] == ["acme", "acme"]
    assert all("tollspan" not in str(one.json) for one in stage.fake.requests)
