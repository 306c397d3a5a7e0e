"""A program that just ends: all that it did is in the books, and nothing keeps it waiting."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeOpenAI
from tests.fakes.otlp_receiver import OtlpReceiver

CALLS = 5
OPENING = """
import asyncio, json, sys, threading, time
from openai import AsyncOpenAI, OpenAI
ASKED = dict(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=20)
def say():
    kept = [one.name for one in threading.enumerate() if not one.daemon]
    print(json.dumps([time.time(), threading.active_count(), kept]), flush=True)
def call(times):
    client = OpenAI(max_retries=0)
    for _ in range(times):
        client.chat.completions.create(**ASKED)
async def call_async(times):
    client = AsyncOpenAI(max_retries=0)
    await asyncio.gather(*(client.chat.completions.create(**ASKED) for _ in range(times)))
"""
ENDS = {
    "its last line": ("call(5); say()", 0),
    "sys.exit": ("call(5); say(); sys.exit(3)", 3),
    "an exception": ("call(5); say(); raise SystemError", 1),
    "the end of asyncio.run": ("asyncio.run(call_async(5)); say()", 0),
    "an open stream": (
        "call(4); stream = OpenAI().chat.completions.create(stream=True, **ASKED); say()",
        0,
    ),
}
SLACK_SECONDS = 15.0
"""For a machine under load; a thread that keeps a program alive does so for ever."""


@pytest.mark.parametrize(("code", "exit_code"), ENDS.values(), ids=ENDS)
def test_a_program_that_ends_has_all_its_events_and_ends_at_once(
    tmp_path: Path, code: str, exit_code: int
) -> None:
    with FakeOpenAI() as fake:
        by_name = fake.base_url.replace("127.0.0.1", "localhost")  # looked up, as a real host is
        harness.write_rules(tmp_path, hosts={"localhost": "openai"})
        done = harness.run(harness.program(OPENING + code), harness.environment(tmp_path, by_name))
        ended_at = time.time()
        assert done.returncode == exit_code, done.stderr
        said_at, _, kept = json.loads(done.stdout)
        assert ended_at - said_at < SLACK_SECONDS
        assert kept == ["MainThread"]
        assert len(harness.usage_events(tmp_path)) == fake.hits == CALLS
        assert harness.balance(tmp_path).held == 0


def test_calls_start_no_threads_of_their_own(tmp_path: Path) -> None:
    harness.write_rules(tmp_path)
    code = "call(1); say(); call(60); say(); asyncio.run(call_async(60)); say()"
    with FakeOpenAI() as fake:
        done = harness.run(
            harness.program(OPENING + code), harness.environment(tmp_path, fake.base_url)
        )
        assert done.returncode == 0, done.stderr
        after_one, after_many, after_async = [
            json.loads(line)[1] for line in done.stdout.splitlines()
        ]
        assert after_many <= after_one
        assert after_async <= after_one + 2  # one writes for event loops, whatever their number
        assert len(harness.usage_events(tmp_path)) == fake.hits == 121


def test_a_childs_first_call_when_its_interpreter_ends_is_booked_without_a_word(
    tmp_path: Path,
) -> None:
    code = "import atexit, os; os.fork() and (os.wait(), sys.exit()); atexit.register(call, 1)"
    with FakeOpenAI() as fake, OtlpReceiver() as receiver:
        harness.write_rules(tmp_path)
        done = harness.run(
            harness.program(OPENING + code),
            harness.environment(tmp_path, fake.base_url, **receiver.environment),
        )
        assert done.returncode == 0
        assert done.stderr == ""
        assert len(harness.usage_events(tmp_path)) == fake.hits == 1
        assert harness.balance(tmp_path).held == 0
