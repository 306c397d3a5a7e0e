"""Law 2 and asynchronous calls that nobody waits for any more: dropped, or cancelled at the end."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI, Reply
from tests.fakes.otlp_receiver import OtlpReceiver
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.usage import LedgerError

OPENING = """
import asyncio, gc, sqlite3, sys, threading
from openai import AsyncOpenAI, BadRequestError, OpenAI
ASKED = dict(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=20)
loop = asyncio.new_event_loop()
"""
# It is begun in the context of a task, and closed in another: by a thread, or by the collector.
DROPPED = """
call = AsyncOpenAI(max_retries=0).chat.completions.create(**ASKED)
async def begin():
    call.send(None)
    await loop.run_in_executor(None, sys.stdin.readline)
loop.run_until_complete(begin())
{end}
gc.collect()
OpenAI(max_retries=0).chat.completions.create(**ASKED)
print("over")
"""
ENDS = {
    "collected": "del call",
    "closed by a thread": "closing = threading.Thread(target=call.close)\nclosing.start()\n"
    "closing.join()",
}


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """Receive spans."""
    with OtlpReceiver() as endpoint:
        yield endpoint


def is_held(home: Path) -> bool:
    """Say whether a call holds anything."""
    with contextlib.suppress(LedgerError):
        return any(one.held for one in LedgerReader(home / LEDGER_FILE).balances())
    return False


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_call_whose_coroutine_is_dropped_is_accounted_for(
    tmp_path: Path, fake: FakeOpenAI, end: str
) -> None:
    harness.write_rules(tmp_path)
    with subprocess.Popen(
        harness.program(OPENING + DROPPED.format(end=end)),
        env=harness.environment(tmp_path, fake.base_url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        wait_until(lambda: is_held(tmp_path))
        output, errors = process.communicate("\n", timeout=60)
    assert (process.returncode, output) == (0, "over\n"), errors
    assert "tollspan" not in errors, errors
    events = {event.outcome.status: event for event in harness.usage_events(tmp_path)}
    assert set(events) == {"cancelled", "ok"}
    balance = harness.balance(tmp_path)
    assert balance.posted == events["ok"].cost.amount_nanousd
    assert balance.held == 0
    assert balance.unresolved == events["cancelled"].decision.bound_nanousd


CANCELLED = """
async def plain(client):
    await client.chat.completions.create(**ASKED)
async def streamed(client):
    async for _ in await client.chat.completions.create(stream=True, **ASKED):
        pass
async def cancelled(kind):
    async with AsyncOpenAI(max_retries=0) as client:
        task = asyncio.ensure_future(kind(client))
        ledger = sqlite3.connect(sys.argv[1], isolation_level=None)
        while ledger.execute("SELECT count(*) FROM holds").fetchone() == (0,):
            await asyncio.sleep(0.001)
        ledger.execute("BEGIN IMMEDIATE")  # the event can't be stored
        await asyncio.sleep(1.0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            print("cancelled")
        ledger.execute("ROLLBACK")
        ledger.close()
OpenAI(max_retries=0).chat.completions.create(**ASKED)
for kind in (plain, streamed, plain):
    loop.run_until_complete(cancelled(kind))
"""


def test_a_task_that_is_cancelled_while_its_event_is_stored_keeps_event_and_span(
    tmp_path: Path, fake: FakeOpenAI, receiver: OtlpReceiver
) -> None:
    harness.write_rules(tmp_path)
    late = Reply(latency_seconds=0.4)
    fake.script.push(Reply(), late, late, Reply(latency_seconds=0.4, status=400))
    environment = harness.environment(tmp_path, fake.base_url, **receiver.environment)
    program = [*harness.program(OPENING + CANCELLED), str(tmp_path / "ledger.db")]
    done = harness.run(program, environment)
    assert (done.returncode, done.stdout) == (0, "cancelled\n" * 3), done.stderr
    events = harness.usage_events(tmp_path)
    assert [event.outcome.status for event in events] == ["ok", "ok", "ok", "error"]
    balance = harness.balance(tmp_path)
    assert (balance.posted, balance.held) == (fake.billed_nanousd, 0)
    spans = {span.attributes["tollspan.call.id"]: span for span in receiver.spans}
    assert len(receiver.spans) == len(spans) == 4
    assert [spans[event.call.id].attributes.get("tollspan.cost.nanousd") for event in events] == [
        event.cost.amount_nanousd for event in events
    ]
