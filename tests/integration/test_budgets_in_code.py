"""Programs that ask before they call, and that give a block a budget of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from tests import harness
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI
from tollspan.api import (
    AttributionError,
    BudgetExceededError,
    ConfigError,
    NotInstalledError,
    TollspanError,
    attribution,
    bind,
    budget,
    gate,
    is_within_limit,
    max_tokens,
    remaining,
    tool,
)
from tollspan.attribution import capture
from tollspan.ledger import LEDGER_FILE, LedgerReader, RedisAuthority

ASKED: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "hi"}],
    "service_tier": "default",
}
RULES = """
{id: org, limit: 1 USD}, {id: each, per: [customer], limit: 0.002 USD, window: month},
{id: tokens, where: {model: "gpt-4o-mini"}, limit: 100000 tokens},
{id: noted, limit: 0.000001 USD, on_exceed: shadow},
{id: searches, where: {tool: search}, limit: 1 call}
"""
NANO = 10**9


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def ai(fake: FakeOpenAI, home: Path) -> Iterator[OpenAI]:
    """A client of a process in which tollspan is installed, with rules."""
    with (
        harness.installed(home, budgets=RULES.replace("\n", " ")),
        OpenAI(base_url=fake.base_url, api_key="k", max_retries=0) as client,
    ):
        yield client


def say(client: OpenAI, most: int = 20) -> None:
    client.chat.completions.create(**ASKED, max_tokens=most)


def cost(home: Path) -> int:
    return sum(event.cost.amount_nanousd or 0 for event in harness.usage_events(home))


# -- nothing installed --


@pytest.mark.parametrize("limit", ["0.50 USD", "50000 tokens", "20 calls"])
def test_a_block_shows_itself_as_it_was_made(limit: str) -> None:
    assert repr(budget("task-42", limit=limit)) == f"budget('task-42', limit='{limit}')"


def test_who_asks_where_nothing_is_installed_is_told_so() -> None:
    block = budget("task", limit="1 USD")
    for ask in (
        lambda: gate.check(**ASKED),
        remaining,
        is_within_limit,
        lambda: max_tokens(**ASKED),
        block.__enter__,
        lambda: block.spent,
        budget("task", limit="1 USD")(lambda: None),
    ):
        with pytest.raises(NotInstalledError, match=r"not installed in this process.*tollspan run"):
            ask()
    assert capture().budgets == ()


@pytest.mark.parametrize(("name", "limit"), [("", "1 USD"), ("a\n", "1 USD"), ("a", "1 EUR")])
def test_a_wrong_budget_is_refused_where_it_is_made(name: str, limit: str) -> None:
    with pytest.raises((AttributionError, ConfigError)):
        budget(name, limit=limit)


# -- asking --


def test_a_check_says_what_the_call_would_get_and_holds_nothing(
    ai: OpenAI, fake: FakeOpenAI, home: Path
) -> None:
    with attribution(customer="acme"):
        fine = gate.check(**ASKED, max_tokens=20)
        dear = gate.check(**ASKED, max_tokens=16_000)
        assert (fine.is_allowed, fine.action, fine.rule_ids) == (True, "shadow", ("noted",))
        assert isinstance(dear.denial, BudgetExceededError)
        assert (dear.is_allowed, dear.rule_ids) == (False, ("each",))
        assert fake.requests == []
        with pytest.raises(BudgetExceededError) as refused:
            say(ai, 16_000)
        assert refused.value.asked == dear.denial.asked == dear.bound_nanousd
        assert str(refused.value) == str(dear.denial)
        say(ai)
    assert harness.usage_events(home)[0].decision.bound_nanousd == fine.bound_nanousd
    held = [one.held for one in LedgerReader(home / LEDGER_FILE).balances()]
    assert held == [0] * len(held)


def test_a_check_reads_every_gated_method(ai: OpenAI) -> None:
    calls: tuple[tuple[str | None, dict[str, Any]], ...] = (
        (None, {"input": "hi", "max_output_tokens": 5}),
        ("responses.create", {"input": "hi", "max_output_tokens": 5}),
        ("embeddings.create", {"model": "text-embedding-3-small", "input": "hi"}),
        (None, {"model": "gpt-3.5-turbo-instruct", "prompt": "hi", "max_tokens": 5}),
        (None, {"model": "claude-haiku-4-5", "messages": [], "max_tokens": 5}),
        ("messages.create", {"model": "claude-haiku-4-5", "messages": [], "max_tokens": 5}),
    )
    for method, more in calls:
        found = gate.check(method=method, **{"model": "gpt-4o-mini", **more})
        assert found.bound_nanousd is not None
        assert 0 < found.bound_nanousd < 1_000_000_000, more
    with pytest.raises(ConfigError, match=r"no gated method 'images\.generate'"):
        gate.check(method="images.generate", model="m")
    with pytest.raises(ConfigError, match="don't say which call is meant"):
        gate.check(model="gpt-4o-mini")


def test_a_check_heeds_what_extra_body_says_and_where_the_client_sends(ai: OpenAI) -> None:
    whose = {"tollspan": {"customer": "acme"}}
    say_so = {**ASKED, "max_tokens": 20, "extra_body": whose}
    with attribution(customer="bolt"):
        say(ai)
        assert gate.check(**ASKED, max_tokens=12_500).rule_ids == ("each",)
        assert gate.check(**{**say_so, "max_tokens": 2_000}).is_allowed
    assert whose == {"tollspan": {"customer": "acme"}}
    elsewhere = gate.check(**ASKED, max_tokens=20, base_url="https://api.groq.com/openai/v1")
    assert elsewhere.bound_nanousd != gate.check(**ASKED, max_tokens=20).bound_nanousd
    with pytest.raises(ConfigError, match="base_url"):
        gate.check(**ASKED, base_url="http://host:port")


def test_what_remains_is_told_of_the_budget_that_ends_first(ai: OpenAI, home: Path) -> None:
    say_at_all = remaining()
    assert say_at_all is not None
    assert (say_at_all.rule_id, say_at_all.scope) == ("each", (("customer", None),))
    with attribution(customer="acme"):
        say(ai)
    spent = cost(home)
    for found in (remaining(customer="acme"), remaining(customer="acme", model="gpt-4o-mini")):
        assert found is not None
        assert (found.rule_id, found.scope, found.unit) == ("each", (("customer", "acme"),), "usd")
        assert (found.limit, found.spent, found.held) == (2_000_000, spent, 0)
        assert found.remaining == 2_000_000 - spent
        assert found.resets_at is not None
    with attribution(customer="acme"):
        assert remaining() == remaining(customer="acme")
        fresh = remaining(customer="bolt")
        assert fresh is not None
        assert fresh.remaining == 2_000_000
    tokens = remaining(model="gpt-4o-mini", unit="tokens")
    assert tokens is not None
    assert (tokens.rule_id, tokens.unit) == ("tokens", "tokens")
    assert remaining(model="gpt-4o", unit="tokens") is None
    search = remaining(tool="search", unit="calls")
    assert search is not None
    assert (search.rule_id, search.remaining) == ("searches", 1)


def test_a_limit_that_is_used_up_is_within_no_limit(ai: OpenAI) -> None:
    @tool(name="search", cost="0 USD")
    def search() -> None: ...

    assert is_within_limit(tool="search")
    search()
    assert not is_within_limit(tool="search")
    assert is_within_limit(tool="fetch")
    with pytest.raises(AttributionError):
        remaining(customer="")
    with pytest.raises(ConfigError, match="never of both"):
        remaining(model="m", tool="search")


@pytest.mark.parametrize("before", [0, 1])
def test_the_most_tokens_are_let_through_and_one_more_is_not(
    ai: OpenAI, home: Path, before: int
) -> None:
    with attribution(customer="acme"):
        for _ in range(before):
            say(ai)
        most = max_tokens(**ASKED)
        assert most is not None
        assert 0 < most < 16_384
        assert gate.check(**ASKED, max_tokens=most).is_allowed
        assert not gate.check(**ASKED, max_tokens=most + 1).is_allowed
        assert max_tokens(**ASKED, max_tokens=7) == most
        two = max_tokens(**ASKED, n=2)
        assert two == most // 2
        with pytest.raises(BudgetExceededError):
            say(ai, most + 1)
        say(ai, most)


def test_what_is_held_counts_in_the_most_tokens(ai: OpenAI, fake: FakeOpenAI) -> None:
    with attribution(customer="acme"):
        before = max_tokens(**ASKED)
        stream = ai.chat.completions.create(**ASKED, max_tokens=1_000, stream=True)
        during = max_tokens(**ASKED)
        for _ in stream:
            pass
        after = max_tokens(**ASKED)
    assert before is not None
    assert during is not None
    assert after is not None
    assert during < after < before
    assert before - during >= 1_000


def test_where_no_budget_limits_there_is_no_most(home: Path) -> None:
    with harness.installed(home, budgets="{id: a, limit: 1 USD, on_exceed: warn}"):
        assert max_tokens(**ASKED) is None
        assert remaining() is None
        assert is_within_limit()
    with harness.installed(home, limit="1000"):
        assert max_tokens(**ASKED) == 16_384
    with harness.installed(home, limit="0"):
        assert max_tokens(**ASKED) == 0
        assert not is_within_limit()


def test_a_rolling_budget_is_one_budget_with_what_is_left_in_its_fullest_account(
    fake: FakeOpenAI, home: Path
) -> None:
    with (
        harness.installed(home, budgets="{id: fast, limit: 1 USD, window: {rolling: 24h}}"),
        OpenAI(base_url=fake.base_url, api_key="k", max_retries=0) as client,
    ):
        say(client)
        found = remaining()
        assert found is not None
        assert (found.rule_id, found.held) == ("fast", 0)
        assert found.spent == cost(home) > 0
        assert found.resets_at is not None
        assert max_tokens(**ASKED) == 16_384
        assert gate.check(**ASKED).rule_ids == ("fast",)


def test_rules_that_can_not_be_read_are_no_room(home: Path) -> None:
    with harness.installed(home, budgets="{id: a}"):
        assert not gate.check(**ASKED).is_allowed
        for ask in (remaining, is_within_limit, lambda: max_tokens(**ASKED)):
            with pytest.raises(TollspanError, match="a budget has no `limit`"):
                ask()


# -- blocks --


def test_a_block_refuses_what_does_not_fit_and_tells_how_it_stands(
    ai: OpenAI, fake: FakeOpenAI, home: Path
) -> None:
    with budget("task-42", limit="0.0005 USD") as block:
        assert (block.id, block.limit, block.unit) == ("task-42", 500_000, "usd")
        assert (block.spent, block.held, block.remaining) == (0, 0, 500_000)
        say(ai)
        spent = block.spent
        assert 0 < spent == cost(home)
        assert block.remaining == 500_000 - spent
        with pytest.raises(BudgetExceededError) as refused:
            say(ai, 1_000)
        assert type(refused.value) is BudgetExceededError
        assert (refused.value.rule_id, refused.value.limit) == ("task-42", 500_000)
        assert (refused.value.spent, refused.value.resets_at) == (spent, None)
        found = remaining()
        assert found is not None
        assert (found.rule_id, found.period) == ("task-42", "block")
        most = max_tokens(**ASKED)
        assert most is not None
        assert most < 1_000
    say(ai, 1_000)
    assert block.spent == spent
    assert len(fake.requests) == 2
    charges = harness.usage_events(home)[0].charges
    assert [(one.budget_id, one.period, one.posted) for one in charges][-1:] == [
        ("task-42", "block", spent)
    ]


def test_nested_blocks_all_apply(ai: OpenAI) -> None:
    with budget("outer", limit="2 calls") as outer, budget("inner", limit="1 call") as inner:
        say(ai)
        with pytest.raises(BudgetExceededError, match="'inner'"):
            say(ai)
    with outer:
        say(ai)
        with pytest.raises(BudgetExceededError, match="'outer'"):
            say(ai)
        with budget("inner", limit="3 calls"), pytest.raises(BudgetExceededError, match="'outer'"):
            say(ai)
    assert (outer.spent, inner.spent) == (2, 1)


def test_the_same_id_is_the_same_money_however_often_it_is_opened(ai: OpenAI) -> None:
    with budget("task", limit="2 calls"):
        say(ai)
    with budget("task", limit="2 calls"):
        say(ai)
        with pytest.raises(BudgetExceededError):
            say(ai)
    with budget("task", limit="3 calls") as raised:
        say(ai)
        assert raised.remaining == 0


def test_another_process_that_opens_the_id_spends_the_same_money(
    fake: FakeOpenAI, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path, budgets="{id: org, limit: 100 USD}")
    program = harness.program(
        """
        import openai
        from tollspan.api import BudgetExceededError, budget

        made = 0
        with openai.OpenAI(max_retries=0) as ai, budget("job", limit="3 calls") as block:
            try:
                for _ in range(2):
                    ai.chat.completions.create(
                        model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}]
                    )
                    made += 1
            except BudgetExceededError as denied:
                assert denied.rule_id == "job", denied.rule_id
        print(made, block.spent)
        """
    )
    env = harness.environment(tmp_path, fake.base_url)
    first, second = harness.run(program, env), harness.run(program, env)
    assert (first.stdout.split(), second.stdout.split()) == (["2", "2"], ["1", "3"]), second.stderr
    assert len(fake.requests) == 3


@pytest.mark.service
def test_a_block_is_one_budget_for_hosts_that_share_an_authority(
    fake: FakeOpenAI, tmp_path: Path, redis_url: str
) -> None:
    shared = RedisAuthority(redis_url, timeout_seconds=5)
    shared.open_epoch()
    shared.close()
    with (
        on_host(fake, tmp_path / "one", redis_url) as client,
        budget("all", limit="3 calls") as block,
    ):
        say(client)
        say(client)
        wait_until(lambda: block.spent == 2)
    with (
        on_host(fake, tmp_path / "two", redis_url) as client,
        budget("all", limit="3 calls") as block,
    ):
        say(client)
        with pytest.raises(BudgetExceededError, match="'all'"):
            say(client)
        wait_until(lambda: block.spent == 3)
    assert len(fake.requests) == 3


@contextmanager
def on_host(fake: FakeOpenAI, home: Path, authority: str) -> Iterator[OpenAI]:
    """Install tollspan as on another host, with a shared authority."""
    with (
        harness.installed(home, TOLLSPAN_AUTHORITY=authority),
        OpenAI(base_url=fake.base_url, api_key="k", max_retries=0) as client,
    ):
        yield client


def test_threads_take_part_where_they_are_bound(ai: OpenAI) -> None:
    with budget("threads", limit="10 calls") as block, ThreadPoolExecutor(4) as pool:
        list(pool.map(bind(lambda _: say(ai)), range(8)))
        pool.submit(say, ai).result()
        assert block.spent == 8


def test_tasks_count_in_the_blocks_that_they_are_made_in(fake: FakeOpenAI, ai: OpenAI) -> None:
    async def ask(client: AsyncOpenAI, name: str) -> int:
        with budget(name, limit="2 calls") as block:
            await client.chat.completions.create(**ASKED, max_tokens=20)
            await asyncio.sleep(0)
            await client.chat.completions.create(**ASKED, max_tokens=20)
            with pytest.raises(BudgetExceededError, match=name):
                await client.chat.completions.create(**ASKED, max_tokens=20)
            return await asyncio.to_thread(lambda: block.spent)

    async def main() -> list[int]:
        async with AsyncOpenAI(base_url=fake.base_url, api_key="k", max_retries=0) as client:
            with budget("all tasks", limit="9 calls") as outer:
                found = await asyncio.gather(*(ask(client, f"task {number}") for number in "123"))
                return [*found, outer.spent]

    assert asyncio.run(main()) == [2, 2, 2, 6]


def test_a_function_may_have_a_budget(ai: OpenAI) -> None:
    block = budget("of a function", limit="1 call")

    @block
    def work(most: int = 20) -> str:
        say(ai, most)
        return "done"

    @block
    def steps() -> Iterator[int]:
        say(ai)
        yield 1

    assert work.__name__ == "work"
    assert work() == "done"
    with pytest.raises(BudgetExceededError):
        list(steps())
    say(ai)
    assert block.spent == 1


def test_a_block_does_not_outlive_its_end_in_a_thread_that_comes_later(ai: OpenAI) -> None:
    with budget("short", limit="0 calls"):
        with pytest.raises(BudgetExceededError):
            say(ai)
        thread = threading.Thread(target=say, args=(ai,))
    thread.start()
    thread.join()
    say(ai)


def test_a_burst_in_one_block_never_spends_more_than_its_limit(ai: OpenAI, home: Path) -> None:
    refused = 0

    def ask(_: int) -> int:
        try:
            say(ai)
        except BudgetExceededError:
            return 1
        return 0

    with budget("burst", limit="0.002 USD") as block, ThreadPoolExecutor(8) as pool:
        with attribution(customer="c"):
            refused = sum(pool.map(bind(ask), range(12)))
        assert block.spent <= 2_000_000
        assert block.held == 0
    assert refused < 12
