"""A call through LangChain is the same call as through the SDK: one event, one price, one cap."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

from tests import harness
from tests.fakes import FakeAnthropic, FakeOpenAI, Reply
from tests.fakes.anthropic_calls import message
from tests.fakes.calls import chat
from tollspan.api import BudgetExceededError, attribution

Fake = FakeOpenAI | FakeAnthropic
CACHED = Reply(prompt_tokens=1_000, cached_tokens=600, cache_write_tokens=300, output_tokens=50)


@pytest.fixture(params=["openai", "anthropic"])
def fake(request: pytest.FixtureRequest) -> Iterator[Fake]:
    """A provider that has most of every prompt in its cache."""
    with FakeOpenAI(CACHED) if request.param == "openai" else FakeAnthropic(CACHED) as server:
        yield server


def hosts(fake: Fake) -> dict[str, str]:
    """Say whose the fake's address is."""
    provider = "openai" if isinstance(fake, FakeOpenAI) else "anthropic"
    return {fake.base_url.split("/")[2]: provider}


def direct(fake: Fake) -> None:
    """Make a call with the SDK itself."""
    if isinstance(fake, FakeOpenAI):
        with openai.OpenAI(base_url=fake.base_url, api_key="key", max_retries=0) as client:
            chat(client, max_tokens=100)
    else:
        with anthropic.Anthropic(base_url=fake.base_url, api_key="key", max_retries=0) as other:
            message(other, max_tokens=100)


def model(fake: Fake) -> BaseChatModel:
    """Return LangChain's model of the same name."""
    named: dict[str, Any] = {
        "base_url": fake.base_url,
        "api_key": "key",
        "max_retries": 0,
        "max_tokens": 100,
    }
    if isinstance(fake, FakeOpenAI):
        return ChatOpenAI(model="gpt-4o-mini", stream_usage=False, **named)
    return ChatAnthropic(model_name="claude-haiku-4-5", **named)


async def drain(found: BaseChatModel) -> None:
    """Read an asynchronous stream to its end."""
    async for _ in found.astream("Say hello"):
        pass


WAYS: dict[str, Callable[[BaseChatModel], object]] = {
    "invoke": lambda found: found.invoke("Say hello"),
    "stream": lambda found: list(found.stream("Say hello")),
    "ainvoke": lambda found: found.ainvoke("Say hello"),
    "astream": drain,
}
ways = pytest.mark.parametrize("way", list(WAYS))


@pytest.fixture
def ask(fake: Fake) -> Iterator[Callable[[str], None]]:
    """Ask in one of the ways; in one event loop, since LangChain shares its HTTP clients."""
    with asyncio.Runner() as runner:

        def go(way: str) -> None:
            made = WAYS[way](model(fake))
            if inspect.iscoroutine(made):
                runner.run(made, context=contextvars.copy_context())

        yield go


@ways
def test_a_call_is_one_event_and_costs_the_same_by_whatever_path(
    fake: Fake, ask: Callable[[str], None], tmp_path: Path, way: str
) -> None:
    with harness.installed(tmp_path, hosts=hosts(fake)) as installed:
        direct(fake)
        with attribution(customer="acme"):
            ask(way)
        installed.lifecycle.worker.drain(5)
    alone, through = harness.usage_events(tmp_path)
    assert fake.hits == 2
    assert through.usage == alone.usage
    assert through.usage is not None
    assert (through.usage.input_tokens, through.usage.output_tokens) == (1_000, 50)
    assert through.cost.amount_nanousd == alone.cost.amount_nanousd
    assert harness.balance(tmp_path).posted == fake.billed_nanousd > 0
    assert through.call.attribution.customer == "acme"


@ways
def test_a_customers_cap_holds_within_a_framework(
    fake: Fake, ask: Callable[[str], None], tmp_path: Path, way: str
) -> None:
    budgets = "{id: wide, limit: 100 USD}, {id: cap, per: [customer], limit: 1 call}"
    with harness.installed(tmp_path, budgets=budgets, hosts=hosts(fake)):
        for customer in ("acme", "other"):
            with attribution(customer=customer):
                ask(way)
                with pytest.raises(BudgetExceededError) as caught:
                    ask(way)
            assert caught.value.scope == (("customer", customer),)
    assert fake.hits == 2
