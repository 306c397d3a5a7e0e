"""Law 2 where the system gives no more threads: calls go on, and their events are kept."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeOpenAI

PROGRAM = """
import threading
start = threading.Thread.start
def refuse(self):
    if self.name.startswith("tollspan"):
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = refuse

import asyncio, gc, sys
from openai import AsyncOpenAI, OpenAI
ASKED = dict(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=20)
client = OpenAI(max_retries=0)

def stream():
    return client.chat.completions.create(stream=True, **ASKED)

async def main():
    async with AsyncOpenAI(max_retries=0) as other:
        create = other.chat.completions.create
        await asyncio.gather(*(create(**ASKED) for _ in range(8)))
        async for _ in await create(stream=True, **ASKED):
            pass

client.chat.completions.create(**ASKED)
list(stream())
next(iter(stream()))  # dropped: a finaliser hands it over
gc.collect()
asyncio.run(main())
list(stream())
assert not [one for one in threading.enumerate() if one.name.startswith("tollspan")]
print("over", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("ends_by", ["itself", "a kill"])
def test_a_program_that_gets_no_thread_for_us_keeps_every_event(
    tmp_path: Path, ends_by: str
) -> None:
    harness.write_rules(tmp_path)
    with FakeOpenAI() as fake:
        with subprocess.Popen(
            harness.program(PROGRAM),
            env=harness.environment(tmp_path, fake.base_url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "over\n"
            if ends_by == "a kill":
                process.kill()
            process.communicate("\n", timeout=60)
        events = harness.usage_events(tmp_path)
        assert len(events) == fake.hits == 13
        assert [event.usage.status for event in events if event.usage].count("reported") == 12
        balance = harness.balance(tmp_path)
        assert balance.posted == sum(event.cost.amount_nanousd or 0 for event in events)
        assert balance.held == 0
