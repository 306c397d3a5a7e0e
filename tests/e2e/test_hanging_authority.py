"""A shared authority that hangs: a call waits no longer than is said, and no event loop waits."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from openai import AsyncOpenAI, OpenAI

from tests import harness
from tests.fakes import FakeOpenAI
from tests.services import Server
from tollspan.api import GateUnavailableError

pytestmark = pytest.mark.alone
WAIT_SECONDS = 1.5
ASKED = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 20,
}
TASKS = 8
TICK_SECONDS = 0.005


def installed(home: Path, authority: str) -> AbstractContextManager[object]:
    """Install with an authority that each call must ask: nothing is leased in advance."""
    return harness.installed(
        home,
        TOLLSPAN_AUTHORITY=authority,
        TOLLSPAN_LEASES="never",
        TOLLSPAN_ACQUIRE_TIMEOUT=str(WAIT_SECONDS),
    )


async def longest_stop(calls: list[asyncio.Future[object]]) -> float:
    """Watch the loop while calls are under way; return how long it stood still at most."""
    longest = 0.0
    while not all(one.done() for one in calls):
        due = time.monotonic() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        longest = max(longest, time.monotonic() - due)
    return longest


def test_an_event_loop_goes_on_while_calls_wait_for_an_authority_that_hangs(
    tmp_path: Path, fake: FakeOpenAI, crashing_server: Server, crashing_authority: str
) -> None:
    async def run() -> tuple[float, list[object]]:
        async with AsyncOpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client:
            await client.chat.completions.create(**ASKED)  # type: ignore[call-overload]  # a dict
            crashing_server.pause()
            calls = [
                asyncio.ensure_future(
                    client.chat.completions.create(**ASKED)  # type: ignore[call-overload]  # a dict
                )
                for _ in range(TASKS)
            ]
            longest = await longest_stop(calls)
            crashing_server.resume()
            return longest, await asyncio.gather(*calls, return_exceptions=True)

    with installed(tmp_path, crashing_authority):
        longest, answers = asyncio.run(run())
    assert all(isinstance(one, GateUnavailableError) for one in answers), answers
    assert fake.hits == 1
    assert longest < WAIT_SECONDS / 2, "one call's wait stopped them all"


def test_a_call_waits_for_an_authority_that_hangs_no_longer_than_is_said(
    tmp_path: Path, fake: FakeOpenAI, crashing_server: Server, crashing_authority: str
) -> None:
    with (
        installed(tmp_path, crashing_authority),
        OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client,
    ):
        client.chat.completions.create(**ASKED)  # type: ignore[call-overload]  # a dict
        crashing_server.pause()
        began = time.monotonic()
        with pytest.raises(GateUnavailableError):
            client.chat.completions.create(**ASKED)  # type: ignore[call-overload]  # a dict
        waited = time.monotonic() - began
        crashing_server.resume()
        assert waited < 4 * WAIT_SECONDS
        client.chat.completions.create(**ASKED)  # type: ignore[call-overload]  # it is back
    assert fake.hits == 2
