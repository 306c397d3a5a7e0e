"""Loops under real calls: agents that are stuck, in each way to talk to a model, and tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests import harness
from tests.fakes import FakeAnthropic, FakeOpenAI
from tests.fakes.anthropic_calls import MODEL as CLAUDE
from tests.fakes.calls import MODEL
from tests.integration.openai.stage import Stage
from tollspan.api import LoopDetectedError, attribution, tool
from tollspan.budget import RuleSet, parse_rules

RULES = """
version: 1
policies: [{id: stuck, loop: {repeats: 3, within: 1h, of: [customer, model, turn]}}]
hosts: {127.0.0.1: openai}
"""
PROMPT = {"role": "system", "content": "You are a helpful agent of a large company. " * 200}
SECRET = "the launch code is 0000"
Say = Callable[[list[Any]], object]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A fake provider, and tollspan with a policy that finds loops."""
    with FakeOpenAI() as fake, harness.installed(tmp_path / "home") as installed:
        harness.write_rules(tmp_path / "home", text=RULES)
        installed.watcher.look()
        made = Stage(fake=fake, home=tmp_path / "home", installed=installed)
        yield made
        made.close()


def user(text: str) -> dict[str, Any]:
    """Write a question."""
    return {"role": "user", "content": text}


@pytest.fixture(params=["chat", "chat stream", "async chat", "responses"])
def say(request: pytest.FixtureRequest, stage: Stage) -> Say:
    """Talk to a model in one of the ways."""
    client: Any = stage.client()
    if request.param == "responses":
        return lambda items: client.responses.create(model=MODEL, input=items)
    if request.param == "chat":
        return lambda items: client.chat.completions.create(model=MODEL, messages=items)
    if request.param == "chat stream":
        return lambda items: list(
            client.chat.completions.create(model=MODEL, messages=items, stream=True)
        )

    async def ask(client: Any, items: list[Any]) -> object:
        found: object = await client.chat.completions.create(model=MODEL, messages=items)
        return found

    return lambda items: stage.run(lambda client: ask(client, items))


def test_different_questions_behind_one_long_prompt_are_no_loop(stage: Stage, say: Say) -> None:
    for number in range(10):
        say([PROMPT, user(f"How many are {number}?")])
    assert len(stage.fake.requests) == 10


def test_one_question_over_a_growing_history_is_a_loop(stage: Stage, say: Say) -> None:
    history: list[Any] = [PROMPT]
    for number in range(3):
        history.append(user("What  now?"))
        say(history)
        history.append({"role": "assistant", "content": f"Answer {number}."})
    with pytest.raises(LoopDetectedError) as raised:
        say([*history, user("what now?")])
    assert len(stage.fake.requests) == 3
    assert raised.value.recovery.retry_after_seconds == pytest.approx(3_600, abs=60)
    with attribution(customer="another"):
        say([*history, user("what now?")])
    say([*history, user("What else?")])


def test_an_agent_that_calls_one_tool_again_and_again_is_stuck(stage: Stage) -> None:
    create: Any = stage.client().chat.completions.create
    history: list[Any] = [PROMPT, user("Find it")]
    create(model=MODEL, messages=history)

    def step(number: int, query: str) -> None:
        call = {"name": "search", "arguments": json.dumps({"q": query})}
        made = {"id": f"call_{number}", "type": "function", "function": call}
        history.append({"role": "assistant", "content": None, "tool_calls": [made]})
        history.append({"role": "tool", "tool_call_id": f"call_{number}", "content": "nothing"})
        create(model=MODEL, messages=history)

    for number in range(5):
        step(number, f"query {number}")
    for number in range(5, 8):
        step(number, "query")
    with pytest.raises(LoopDetectedError):
        step(8, "query")


def test_a_loop_in_anthropics_way_is_found_too(stage: Stage) -> None:
    with FakeAnthropic() as fake:
        client: Any = anthropic.Anthropic(api_key="key", base_url=fake.root_url, max_retries=0)
        asked = {"model": CLAUDE, "max_tokens": 5}
        history: list[Any] = [user("Find it")]
        for number in range(3):
            use = {"type": "tool_use", "id": f"toolu_{number}", "name": "search", "input": {"q": 1}}
            result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": "nothing"}
            history += [{"role": "assistant", "content": [use]}, user("")]
            history[-1]["content"] = [result]
            client.messages.create(**asked, messages=history)
        with pytest.raises(LoopDetectedError):
            client.messages.create(**asked, messages=[*history[:1], *history[-2:]])
        assert len(fake.requests) == 3
        client.close()


def test_a_tool_that_is_called_with_the_same_arguments_is_stuck(stage: Stage) -> None:
    class Shelf:
        @tool(cost="0 USD")
        def fetch(self, page: int) -> int:
            return page

    @tool(cost="0 USD")
    async def look(page: int) -> int:
        return page

    shelf = Shelf()
    assert [shelf.fetch(page) for page in range(9)] == list(range(9))
    for _ in range(2):
        shelf.fetch(0)
    with pytest.raises(LoopDetectedError):
        shelf.fetch(0)
    for page in (1, 1, 1, 2):
        asyncio.run(look(page))
    with pytest.raises(LoopDetectedError):
        asyncio.run(look(1))
    assert stage.events()[0].call.request.provider == "tool"


def test_nothing_that_is_said_is_kept_anywhere(stage: Stage) -> None:
    create: Any = stage.client().chat.completions.create
    for _ in range(3):
        create(model=MODEL, messages=[user(SECRET)])
    with pytest.raises(LoopDetectedError) as raised:
        create(model=MODEL, messages=[user(SECRET)])
    assert SECRET not in repr(vars(raised.value)) + str(raised.value)
    stage.settle()
    stage.installed.ledger.close()
    kept = b"".join(path.read_bytes() for path in stage.home.iterdir() if path.is_file())
    assert b"launch code" not in kept
    assert kept.count(b'"model":"gpt-4o-mini"') >= 4, "the calls are in it"


def test_turns_are_read_only_while_a_policy_wants_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    funnel = stage.installed.hooks["openai"]
    (chat, *_) = [one for path, one in vars(funnel)["_extractors"].items() if "chat" in path]
    monkeypatch.setattr(type(chat), "turn", lambda self, asked: read.append(asked))
    create: Any = stage.client().chat.completions.create
    create(model=MODEL, messages=[user("a")])
    assert len(read) == 1
    harness.write_rules(stage.home, limit="5")
    stage.installed.watcher.look()
    create(model=MODEL, messages=[user("a")])
    assert len(read) == 1
    assert parse_rules(RULES).asks_turns
    assert not RuleSet().asks_turns
