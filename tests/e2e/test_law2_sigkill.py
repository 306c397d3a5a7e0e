"""Law 2: what a program that is killed had spent is known, to the last call that returned."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeOpenAI, Reply
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger, rebuild
from tollspan.usage import DecisionEvent, UsageEvent

OPENING = """
import asyncio, sys
from openai import AsyncOpenAI, OpenAI
ASKED = dict(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=20)
def say(number):
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""
SYNC = """
client = OpenAI(max_retries=0)
for number in range(1, 1000):
    client.chat.completions.create(**ASKED)
    say(number)
"""
STREAMED = """
client = OpenAI(max_retries=0)
for number in range(1, 1000):
    for chunk in client.chat.completions.create(stream=True, **ASKED):
        pass
    say(number)
"""
ASYNC = """
async def main():
    client = AsyncOpenAI(max_retries=0)
    for number in range(1, 1000):
        await client.chat.completions.create(**ASKED)
        say(number)
asyncio.run(main())
"""
ASYNC_STREAMED = """
async def main():
    client = AsyncOpenAI(max_retries=0)
    for number in range(1, 1000):
        async for chunk in await client.chat.completions.create(stream=True, **ASKED):
            pass
        say(number)
asyncio.run(main())
"""
PROGRAMS = {
    "sync": SYNC,
    "streamed": STREAMED,
    "async": ASYNC,
    "async streamed": ASYNC_STREAMED,
}


@contextmanager
def running(home: Path, base_url: str, code: str) -> Iterator[subprocess.Popen[str]]:
    """Run code under `tollspan run`; it is killed at the end, if it still runs."""
    with subprocess.Popen(
        harness.program(OPENING + code),
        env=harness.environment(home, base_url),
        stdout=subprocess.PIPE,
        text=True,
        cwd=home,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> str:
    """Wait for a line of a program's output."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def shown_budget(home: Path, base_url: str) -> dict[str, str]:
    """Return what `tollspan budgets --json` says of the only budget."""
    done = harness.run(
        [str(Path(sys.executable).parent / "tollspan"), "budgets", "--json"],
        harness.environment(home, base_url),
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def recomputed(home: Path) -> dict[str, tuple[int, int, int]]:
    """Return every account's sums, as a rebuild makes them from events and holds."""
    copy = home / "copy"
    copy.mkdir()
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            data = (home / f"{LEDGER_FILE}{suffix}").read_bytes()
            (copy / f"{LEDGER_FILE}{suffix}").write_bytes(data)
    rebuild(copy / LEDGER_FILE)
    return sums(copy)


def sums(home: Path) -> dict[str, tuple[int, int, int]]:
    """Return every account's sums."""
    return {
        one.account.budget_id: (
            one.posted_nanousd,
            one.held_nanousd,
            one.unresolved_nanousd,
        )
        for one in LedgerReader(home / LEDGER_FILE).balances()
    }


@pytest.mark.parametrize("code", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_killed_after_its_seventh_call_has_seven_events(
    tmp_path: Path, code: str
) -> None:
    home = tmp_path / "home"
    harness.write_rules(home)
    # The eighth call never gets an answer, so that the kill comes after exactly seven.
    with FakeOpenAI() as fake:
        fake.script.when(lambda seen: seen.number > 7, Reply(latency_seconds=600))
        with running(home, fake.base_url, code) as process:
            for number in range(1, 8):
                assert next_line(process) == str(number)
            process.send_signal(signal.SIGKILL)
            process.wait()
        events = harness.usage_events(home)
        assert len(events) == 7
        assert harness.balance(home).posted_nanousd == sum(
            event.cost.amount_nanousd or 0 for event in events
        )
