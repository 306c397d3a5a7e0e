"""Attribution under many tasks, threads and forks: each event has the right owner."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, OpenAI

from tests import harness
from tests.fakes import FakeOpenAI, Reply
from tests.fakes.calls import chat
from tests.integration.openai.stage import Stage, ask, ask_stream
from tollspan.api import argument, attribution, bind
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.usage import Attribution

TASKS = 500


def by_user(stage: Stage) -> dict[str | None, set[str | None]]:
    """Return the customers of each user's calls."""
    found: dict[str | None, set[str | None]] = collections.defaultdict(set)
    for event in stage.events():
        owner = event.call.attribution
        found[owner.user].add(owner.customer)
    return found


def test_500_tasks_that_interleave_keep_their_customers(stage: Stage) -> None:
    stage.fake.script.default = Reply(latency_seconds=0.02)

    async def one(client: AsyncOpenAI, number: int, gate: asyncio.Semaphore) -> None:
        with attribution(customer=f"c{number % 7}"):
            await asyncio.sleep(0)
            async with gate:
                with attribution(user=str(number)):
                    answer: Any = await ask(client)
                    assert answer.choices

    async def work(client: AsyncOpenAI) -> None:
        gate = asyncio.Semaphore(50)
        await asyncio.gather(*(one(client, number, gate) for number in range(TASKS)))

    stage.run(work)
    assert by_user(stage) == {str(number): {f"c{number % 7}"} for number in range(TASKS)}
    report = LedgerReader(stage.home / LEDGER_FILE).report(("customer",))
    assert sum(row.cost_nanousd for row in report) == stage.fake.billed_nanousd


def test_calls_of_a_pool_are_unattributed_until_they_are_bound(stage: Stage) -> None:
    client = stage.client()

    @attribution(user=argument("number"))
    def call(number: str) -> None:
        chat(client)

    with ThreadPoolExecutor(8) as pool:
        with attribution(customer="acme"):
            list(pool.map(bind(call), map(str, range(16))))
        with attribution(customer="other"):
            list(pool.map(call, ["loose"]))
    found = by_user(stage)
    assert found.pop("loose") == {None}
    assert found == {str(number): {"acme"} for number in range(16)}


def test_calls_in_a_decorated_generator_are_its_own_and_the_consumers_are_not(
    stage: Stage,
) -> None:
    client = stage.client()

    @attribution(customer="generator")
    def answers() -> Iterator[str | None]:
        for _ in range(2):
            yield chat(client).choices[0].message.content

    @attribution(customer="generator")
    async def answers_later(later: AsyncOpenAI) -> AsyncIterator[Any]:
        async for chunk in await ask_stream(later):
            yield chunk

    async def work(later: AsyncOpenAI) -> None:
        with attribution(customer="consumer"):
            async for _ in answers_later(later):
                break
            await ask(later)

    with attribution(customer="consumer"):
        for _ in answers():
            chat(client)
    stage.run(work)
    owners = [event.call.attribution.customer for event in stage.events()]
    assert sorted(map(str, owners)) == ["consumer"] * 3 + ["generator"] * 3


def test_a_forked_child_is_attributed_as_its_parent_was(tmp_path: Path) -> None:
    harness.write_rules(tmp_path)
    code = """
    import os
    from openai import OpenAI
    from tollspan.api import attribution
    def call():
        with OpenAI(max_retries=0) as client:
            client.chat.completions.create(
                model="gpt-4o-mini", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
            )
    call()
    with attribution(customer="acme"):
        pid = os.fork()
        if not pid:
            with attribution(step="child"):
                call()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        call()
    """
    with FakeOpenAI() as fake:
        env = harness.environment(tmp_path, fake.base_url, TOLLSPAN_TAGS="tier=free")
        done = harness.run(harness.program(code), env)
    assert done.returncode == 0, done.stderr
    tags = (("tier", "free"),)
    assert [event.call.attribution for event in harness.usage_events(tmp_path)] == [
        Attribution(tags=tags),
        Attribution(customer="acme", step="child", tags=tags),
        Attribution(customer="acme", tags=tags),
    ]


def test_a_block_around_the_install_gets_the_defaults_too(tmp_path: Path) -> None:
    with FakeOpenAI() as fake, attribution(customer="acme"):
        home = tmp_path / "home"
        installed = harness.installed(home, TOLLSPAN_TEAM="red", OTEL_SERVICE_NAME="shop")
        with installed, OpenAI(api_key="k", base_url=fake.base_url, max_retries=0) as client:
            chat(client)
        (event,) = harness.usage_events(home)
    assert event.call.attribution == Attribution(customer="acme", team="red", service="shop")
