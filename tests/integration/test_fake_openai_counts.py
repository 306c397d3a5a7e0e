"""The fake provider's counts and bills, which other tests take as the truth."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI, OpenAI

from tests.fakes import FakeOpenAI, Price, Reply, bill_nanousd
from tests.fakes.calls import MODEL, PROMPT_TOKENS, chat, price_nanousd, stream, text_of
from tests.fakes.tokens import counter, pieces, prompt_tokens, truncate


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def client(fake: FakeOpenAI) -> Iterator[OpenAI]:
    with OpenAI(base_url=fake.base_url, api_key="key", max_retries=0) as made:
        yield made


def test_counts_and_money_are_exact_under_32_threads(fake: FakeOpenAI, client: OpenAI) -> None:
    def respond(request: object, headers: Mapping[str, str], hit_number: int) -> Reply:
        assert isinstance(request, dict)
        assert headers["authorization"] == "Bearer key"
        if hit_number % 10 == 0:
            return Reply(status=400)
        return Reply(output_tokens=hit_number % 7, cached_tokens=hit_number % 3)

    def work(_: int) -> int:
        total = 0
        for turn in range(12):
            try:
                if turn % 3:
                    usage = chat(client).usage
                else:
                    usage = list(stream(client, stream_options={"include_usage": True}))[-1].usage
            except openai.BadRequestError:
                continue
            assert usage is not None
            assert usage.prompt_tokens_details is not None
            cached_tokens = usage.prompt_tokens_details.cached_tokens or 0
            total += price_nanousd(usage.prompt_tokens, usage.completion_tokens, cached_tokens)
        return total

    fake.script.respond = respond
    with ThreadPoolExecutor(32) as pool:
        expected_nanousd = sum(pool.map(work, range(32)))
    assert fake.hits == fake.completed == 384
    assert fake.in_flight == 0
    assert 2 <= fake.max_in_flight <= 32
    assert fake.billed_nanousd == expected_nanousd
    assert sum(record.status == 400 for record in fake.requests) == 38
    assert sum(record.billed_nanousd for record in fake.requests) == expected_nanousd


def test_200_tasks_at_once(fake: FakeOpenAI) -> None:
    async def run() -> None:
        async with AsyncOpenAI(base_url=fake.base_url, api_key="key", max_retries=0) as client:

            async def ask(number: int) -> None:
                messages: Any = [{"role": "user", "content": "Say hello"}]
                if number % 2:
                    await client.chat.completions.create(model=MODEL, messages=messages)
                    return
                chunks = await client.chat.completions.create(
                    model=MODEL, messages=messages, stream=True
                )
                assert text_of([chunk async for chunk in chunks]).endswith("today?")

            await asyncio.gather(*map(ask, range(200)))

    fake.script.default = Reply(latency_seconds=0.1)
    asyncio.run(run())
    assert fake.hits == fake.completed == 200
    assert fake.max_in_flight > 20
    assert fake.billed_nanousd == 200 * price_nanousd(PROMPT_TOKENS, 8)


def test_a_cancelled_task_is_a_disconnect(fake: FakeOpenAI) -> None:
    async def run() -> None:
        async with AsyncOpenAI(base_url=fake.base_url, api_key="key", max_retries=0) as client:
            task = asyncio.create_task(
                client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": "Say hello"}]
                )
            )
            while not fake.in_flight:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    fake.script.default = Reply(latency_seconds=30)
    asyncio.run(run())
    assert fake.wait_idle()
    assert fake.disconnected == 1


def test_reset_starts_counting_anew(fake: FakeOpenAI, client: OpenAI) -> None:
    chat(client)
    fake.reset()
    assert (fake.hits, fake.billed_nanousd, fake.requests) == (0, 0, [])
    chat(client)
    assert fake.hits == 1


@pytest.mark.parametrize(
    ("pico", "nano"),
    [(1499, 1), (1500, 2), (1501, 2), (2500, 2), (2501, 3), (3500, 4), (0, 0)],
)
def test_a_bill_is_rounded_half_even(pico: int, nano: int) -> None:
    price = Price(1, 0, 0)
    assert bill_nanousd(price, prompt_tokens=pico, cached_tokens=0, output_tokens=0) == nano


def test_another_process_scripts_it_and_reads_its_counts() -> None:
    command = [sys.executable, "-m", "tests.fakes.openai_server", "--until-eof"]
    command += ["--output-tokens", "3", "--price", "tiny=1000,1000,2000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        base_url = process.stdout.readline().decode().strip()
        root_url = base_url.removesuffix("/v1")

        def call(path: str, document: object = None) -> Any:
            data = None if document is None else json.dumps(document).encode()
            with urllib.request.urlopen(f"{root_url}/_fake/{path}", data=data) as response:
                return json.load(response)

        with OpenAI(base_url=base_url, api_key="key") as client:
            chat(client, model="tiny")
            assert call("stats")["billed_nanousd"] == PROMPT_TOKENS + 3 * 2
            assert call("requests")[0]["json"]["model"] == "tiny"
            call("reset", {})
            call("script", {"queue": [{"text": "from afar"}]})
            assert chat(client).choices[0].message.content == "from afar"
            assert chat(client).choices[0].message.content == " the and for"
            assert call("stats")["hits"] == 2
        process.stdin.close()
        assert process.wait(timeout=5) == 0


@pytest.mark.parametrize("tokenizer", ["bytes4", "o200k"])
@settings(deadline=None, database=None, max_examples=50)
@given(text=st.text(max_size=80), limit=st.integers(0, 20))
def test_a_fake_never_counts_more_than_a_real_one(
    tokenizer: Literal["bytes4", "o200k"], text: str, limit: int
) -> None:
    count = counter(tokenizer)
    size = len(text.encode())
    messages = [{"role": "user", "content": text}] * 3
    assert prompt_tokens({"messages": messages}, count) <= 3 * size + 32
    assert count(truncate(text, tokens=limit, count=count)) <= limit
    assert "".join(pieces(text)) == text
