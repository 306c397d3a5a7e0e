"""Denials through LangChain: they surface as ours, and nothing that repeats reaches a provider."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from tests.fakes import FakeAnthropic, FakeOpenAI, Reply, ToolCall
from tollspan.api import BudgetExceededError, CallDeniedError
from tollspan.launch import Installed

pytest.importorskip("langchain_openai")
pytest.importorskip("langchain_anthropic")

from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

Fake = FakeOpenAI | FakeAnthropic
BOTH = pytest.mark.parametrize("provider", ["openai", "anthropic"])


def not_when_denied(error: BaseException) -> bool:
    """Say whether to try again, as `docs/how-to/denials.md` has it."""
    return not isinstance(error, CallDeniedError)


@pytest.fixture
def fake(request: pytest.FixtureRequest) -> Iterator[Fake]:
    """Serve the provider of a test's parameter, OpenAI where it has none."""
    callspec = getattr(request.node, "callspec", None)
    provider = callspec.params.get("provider", "openai") if callspec else "openai"
    with FakeOpenAI() if provider == "openai" else FakeAnthropic() as server:
        yield server


@pytest.fixture
def gated(fake: Fake, tmp_path: Path) -> Iterator[Installed]:
    """Install a budget that one call fits into, as long as it costs what it should."""
    provider = "openai" if isinstance(fake, FakeOpenAI) else "anthropic"
    hosts = {fake.base_url.split("/")[2]: provider}
    with harness.installed(tmp_path, limit="0.01", hosts=hosts) as installed:
        yield installed


def model(fake: Fake, *, max_tokens: int = 50) -> BaseChatModel:
    """Return a chat model of the fake's provider, with retries of its own."""
    settings: dict[str, Any] = {
        "base_url": fake.base_url,
        "api_key": "sk-test",
        "max_retries": 3,
        "max_tokens": max_tokens,
    }
    if isinstance(fake, FakeOpenAI):
        return ChatOpenAI(model="gpt-4o-mini", **settings)
    return ChatAnthropic(model_name="claude-haiku-4-5", **settings)


def dear(fake: Fake) -> BaseChatModel:
    """Return a chat model whose calls may cost more than the budget has."""
    return model(fake, max_tokens=1_000_000)


def asked(installed: Installed, home: Path) -> int:
    """Return how often the gate refused, as the ledger has it."""
    installed.lifecycle.worker.drain(10)
    installed.ledger.close()
    return len(harness.denials(home))


async def _listed(stream: Any) -> list[Any]:
    return [piece async for piece in stream]


WAYS: dict[str, tuple[Callable[[BaseChatModel], object], int]] = {
    "invoke": (lambda one: one.invoke("hi"), 1),
    "stream": (lambda one: list(one.stream("hi")), 1),
    "batch": (lambda one: one.batch(["hi"]), 1),
    "ainvoke": (lambda one: asyncio.run(one.ainvoke("hi")), 1),
    "astream": (lambda one: asyncio.run(_listed(one.astream("hi"))), 1),
    "abatch": (lambda one: asyncio.run(one.abatch(["hi"])), 1),
    "bind_tools": (lambda one: one.bind_tools([add]).invoke("hi"), 1),
    "with_structured_output": (
        lambda one: one.with_structured_output(
            {"title": "A", "type": "object", "properties": {}}
        ).invoke("hi"),
        1,
    ),
    "with_retry": (
        lambda one: one.with_retry(retry_if_exception_type=not_when_denied).invoke("hi"),
        1,
    ),
    "with_retry of everything": (
        lambda one: one.with_retry(wait_exponential_jitter=False).invoke("hi"),
        3,
    ),
    "with_fallbacks": (lambda one: one.with_fallbacks([one]).invoke("hi"), 2),
}


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@BOTH
@pytest.mark.parametrize("way", WAYS)
def test_a_denial_surfaces_as_ours_and_the_provider_is_never_asked(
    fake: Fake, gated: Installed, tmp_path: Path, way: str, provider: str
) -> None:
    act, times = WAYS[way]
    with pytest.raises(BudgetExceededError) as caught:
        act(dear(fake))
    assert caught.value.rule_id == "all"
    assert fake.hits == 0
    assert asked(gated, tmp_path) == times


@BOTH
def test_a_batch_gives_back_the_denials_beside_the_answers(
    fake: Fake, gated: Installed, provider: str
) -> None:
    cheap = model(fake)
    answer, refused = cheap.batch(
        ["hi", "hi " * 40_000], config={"max_concurrency": 1}, return_exceptions=True
    )
    assert not isinstance(answer, Exception)
    assert isinstance(refused, BudgetExceededError)
    assert fake.hits == 1


@BOTH
def test_what_is_allowed_is_metered_once(
    fake: Fake, gated: Installed, tmp_path: Path, provider: str
) -> None:
    cheap = model(fake)
    cheap.invoke("hi")
    list(cheap.stream("hi"))
    asyncio.run(cheap.ainvoke("hi"))
    gated.ledger.close()
    events = harness.usage_events(tmp_path)
    assert len(events) == fake.hits == 3
    assert sum(event.cost.amount_nanousd or 0 for event in events) == fake.billed_nanousd


def test_embeddings_are_denied_too(gated: Installed, fake: Fake) -> None:
    embedder = OpenAIEmbeddings(
        model="text-embedding-3-large",
        base_url=fake.base_url,
        api_key="sk-test",  # type: ignore[arg-type]  # it takes a plain text as well
        check_embedding_ctx_length=False,
    )
    with pytest.raises(BudgetExceededError):
        embedder.embed_documents(["word " * 100_000])
    assert fake.hits == 0


@BOTH
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_an_agent_stops_where_its_budget_ends(
    fake: Fake, gated: Installed, provider: str, *, is_async: bool
) -> None:
    # It asks for a tool, and costs far more than it should: nothing is left for the answer.
    call = ToolCall(name="add", arguments='{"a": 1, "b": 2}')
    fake.script.push(Reply(text="", tool_calls=(call,), prompt_tokens=1_000_000))
    agent = create_agent(model(fake), tools=[add])
    question: Any = {"messages": [{"role": "user", "content": "What is 1 + 2?"}]}
    for _ in range(2):
        with pytest.raises(BudgetExceededError):
            asyncio.run(agent.ainvoke(question)) if is_async else agent.invoke(question)
    assert fake.hits == 1


def test_an_agents_middleware_may_fall_back_to_what_is_affordable(
    fake: Fake, gated: Installed
) -> None:
    agent = create_agent(dear(fake), middleware=[ModelFallbackMiddleware(model(fake))])
    question: Any = {"messages": [{"role": "user", "content": "hi"}]}
    answer = agent.invoke(question)
    assert fake.hits == 1
    assert answer["messages"][-1].content


def test_an_agents_retries_leave_a_denial_alone_when_told_to(
    fake: Fake, gated: Installed, tmp_path: Path
) -> None:
    retrying = ModelRetryMiddleware(max_retries=5, retry_on=not_when_denied)
    agent = create_agent(dear(fake), middleware=[retrying])
    question: Any = {"messages": [{"role": "user", "content": "hi"}]}
    with pytest.raises(BudgetExceededError):
        agent.invoke(question)
    assert asked(gated, tmp_path) == 1
    assert fake.hits == 0


def test_an_agents_retries_of_everything_put_a_denial_into_the_answer(
    fake: Fake, gated: Installed, tmp_path: Path
) -> None:
    retrying = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)
    agent = create_agent(dear(fake), middleware=[retrying])
    question: Any = {"messages": [{"role": "user", "content": "hi"}]}
    answer = agent.invoke(question)
    assert "BudgetExceededError" in answer["messages"][-1].content
    assert asked(gated, tmp_path) == 3
    assert fake.hits == 0


@BOTH
def test_a_repeated_denial_costs_little(fake: Fake, gated: Installed, provider: str) -> None:
    refused = dear(fake)
    with pytest.raises(CallDeniedError):
        refused.invoke("hi")
    started = time.process_time()
    for _ in range(20):
        with pytest.raises(CallDeniedError):
            refused.invoke("hi")
    # LangChain's own part of it is milliseconds; ours is less than one.
    assert (time.process_time() - started) / 20 < 0.05
    assert fake.hits == 0


def test_nothing_of_a_denial_is_logged_as_a_failure_of_ours(
    fake: Fake, gated: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tollspan"), pytest.raises(CallDeniedError):
        dear(fake).invoke("hi")
    assert [record for record in caplog.records if record.name.startswith("tollspan")] == []
