"""Law 2: what a program that is killed had spent is known, to the last call that returned."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from openai import OpenAI

from tests import harness
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI, Reply
from tollspan.launch import install_or_raise, read_settings
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger, rebuild
from tollspan.usage import format_usd, to_decimal

pytestmark = pytest.mark.alone

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
    found: list[dict[str, str]] = json.loads(done.stdout)
    (budget,) = found
    return budget


def recomputed(home: Path) -> dict[str, tuple[int, int, int]]:
    """Return every account's sums, as a rebuild makes them from events and holds."""
    copy = home / "copy"
    shutil.rmtree(copy, ignore_errors=True)
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
            one.posted,
            one.held,
            one.unresolved,
        )
        for one in LedgerReader(home / LEDGER_FILE).balances()
    }


@pytest.mark.parametrize("code", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_killed_after_its_seventh_call_has_seven_events(
    tmp_path: Path, code: str
) -> None:
    home = tmp_path / "home"
    harness.write_rules(home)
    never = Reply(latency_seconds=600, billing="nothing")
    with FakeOpenAI(never) as fake:
        fake.script.push(*[Reply()] * 7)  # the eighth call gets no answer: seven have returned
        with running(home, fake.base_url, code) as process:
            for number in range(1, 8):
                assert next_line(process) == str(number)
            process.send_signal(signal.SIGKILL)
            process.wait()
        events = harness.usage_events(home)
        assert len(events) == 7
        assert harness.balance(home).posted == fake.billed_nanousd > 0


def test_a_call_killed_in_flight_stays_counted_and_keeps_the_next_process_out(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    harness.write_rules(home)
    is_in_flight = threading.Event()

    def respond(request: object, headers: Mapping[str, str], number: int) -> Reply:
        if number == 2:
            is_in_flight.set()
            return Reply(latency_seconds=600)
        return Reply()

    with FakeOpenAI() as fake:
        fake.script.respond = respond
        with running(home, fake.base_url, SYNC) as process:
            assert next_line(process) == "1"
            assert is_in_flight.wait(30)
            process.kill()
            process.wait()
        (event,) = harness.usage_events(home)
        bound = event.decision.bound_nanousd
        spent = event.cost.amount_nanousd
        assert bound is not None
        assert spent is not None
        assert harness.balance(home).held == bound
        ledger = SQLiteLedger(home)
        ledger.sweep()  # unless its own thread is just at it
        wait_until(lambda: harness.balance(home).held == 0)
        assert ledger.sweep() == 0
        ledger.close()
        shown = shown_budget(home, fake.base_url)
        assert shown["posted"] == to_decimal(spent, "usd")
        assert shown["held"] == "0"
        assert shown["unresolved"] == to_decimal(bound, "usd")

        harness.write_rules(home, limit=format_usd(spent + 2 * bound - 1))
        done = harness.run(
            harness.program(OPENING + SYNC), harness.environment(home, fake.base_url)
        )
        assert "BudgetExceededError" in done.stderr
        assert done.stdout == ""
        assert fake.hits == 2

        harness.write_rules(home, limit=format_usd(spent + 2 * bound))
        with running(home, fake.base_url, SYNC) as process:
            assert next_line(process) == "1"


def test_the_next_process_sweeps_by_itself(tmp_path: Path) -> None:
    home = tmp_path / "home"
    harness.write_rules(home)
    with FakeOpenAI(Reply(latency_seconds=600)) as fake:
        with running(home, fake.base_url, STREAMED) as process:
            wait_until(lambda: fake.in_flight == 1)
            process.kill()
            process.wait()
        bound = harness.balance(home).held
        assert bound > 0
        with harness.installed(home):
            wait_until(lambda: harness.balance(home).unresolved == bound)
        assert harness.balance(home).held == 0


def traffic(home: Path, base_url: str, number: int, returned: Connection) -> None:
    """Be a process that calls from four threads until it is killed; a byte for each return."""
    install_or_raise(
        read_settings({"TOLLSPAN_HOME": str(home), "TOLLSPAN_CUSTOMER": f"process {number}"})
    )
    client = OpenAI(base_url=base_url, api_key="sk-test", max_retries=0)

    def work() -> None:
        while True:
            client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=20
            )
            os.write(returned.fileno(), b".")

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    threads[0].join()


PROCESSES, THREADS = 8, 4


def kill_in_heavy_traffic(home: Path, fake: FakeOpenAI, *, calls: int) -> Counter[str]:
    """Run eight processes until together they made some calls; kill them; count what returned."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["openai", "tollspan.launch", "tests.e2e.spending", __name__])
    enough = fake.hits + calls
    returned: Counter[str] = Counter()
    with ExitStack() as stack:
        running: list[tuple[BaseProcess, Connection]] = []
        for number in range(PROCESSES):
            ours, theirs = context.Pipe(duplex=False)
            stack.enter_context(ours)
            started = context.Process(target=traffic, args=(home, fake.base_url, number, theirs))
            started.start()
            theirs.close()
            stack.callback(started.kill)
            running.append((started, ours))
        wait_until(lambda: fake.hits >= enough)
        for killed, _ in running:
            killed.kill()
        for number, (killed, answers) in enumerate(running):
            killed.join()
            while data := os.read(answers.fileno(), 65536):
                returned[f"process {number}"] += len(data)
    assert fake.wait_idle(30)
    return returned


def check_after_the_kill(home: Path, fake: FakeOpenAI, returned: Counter[str]) -> None:
    """See that nothing is lost and that every sum is right."""
    kept: Counter[str] = Counter()
    for event in harness.usage_events(home):
        kept[event.call.attribution.customer or ""] += 1
    for name, count in returned.items():
        assert count <= kept[name], name
    ledger = SQLiteLedger(home)
    orphans = ledger.sweep()
    ledger.close()
    holds = LedgerReader(home / LEDGER_FILE).open_holds()
    assert all(hold.is_unresolved for hold in holds)
    events = harness.usage_events(home)
    bound = max(event.decision.bound_nanousd or 0 for event in events)
    in_flight = fake.hits - kept.total()  # each covered by a hold of its own, or by a lease
    assert in_flight * bound <= sum(
        hold.amount for hold in holds if hold.account.budget_id == "all"
    )
    assert orphans <= PROCESSES * THREADS
    assert sums(home)["all"] == (
        sum(event.cost.amount_nanousd or 0 for event in events),
        0,
        sum(hold.amount for hold in holds)
        + sum(charge.unresolved for event in events for charge in event.charges),
    )
    assert recomputed(home) == sums(home)


@pytest.mark.parametrize(
    "rounds", [2, pytest.param(30, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_processes_killed_in_heavy_traffic_lose_nothing(tmp_path: Path, rounds: int) -> None:
    home = tmp_path / "home"
    harness.write_rules(home)
    with FakeOpenAI(Reply(latency_seconds=0.005)) as fake:
        returned: Counter[str] = Counter()
        for _ in range(rounds):
            returned += kill_in_heavy_traffic(home, fake, calls=250)
            check_after_the_kill(home, fake, returned)
