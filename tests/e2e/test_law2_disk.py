"""Law 2 and the disk: full, missing, locked. No call suffers, nothing is lost."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from tests import harness
from tests.e2e.disks import full_disk, locked
from tests.e2e.outages import (
    LONGEST_WAIT_SECONDS,
    RULES,
    call,
    denials_in,
    events_in,
    installed,
    marks,
    see_calls_allowed,
    see_calls_denied,
    see_everything_come_back,
    shouts,
)
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI, Reply
from tollspan.launch import install_or_raise, read_settings, uninstall
from tollspan.ledger import LEDGER_FILE, rescued_files

pytestmark = [pytest.mark.usefixtures("spare_place"), pytest.mark.alone]


def test_without_a_home_calls_are_denied_by_the_rule_and_the_log_says_so_once(
    tmp_path: Path, fake: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    home.write_text("a file is in the way")
    with installed(home, rule="deny"):
        for _ in range(5):
            see_calls_denied(fake)
        assert len(shouts(caplog)) == 1
        home.unlink()
        wait_until(lambda: denials_in(home) == 5)
        call(fake)
    see_everything_come_back(home, fake, calls=1)


def test_without_a_home_calls_are_allowed_by_the_rule_and_their_events_come_back(
    tmp_path: Path, fake: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    home.write_text("a file is in the way")
    with installed(home, rule="allow"):
        see_calls_allowed(fake, number=5)
        assert len(shouts(caplog)) == 1
        assert rescued_files(home)
        home.unlink()
        see_everything_come_back(home, fake, calls=5)
    assert all(marks(event) for event in harness.usage_events(home))


def test_events_that_nobody_took_back_are_taken_by_the_next_process(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    home = tmp_path / "home"
    home.write_text("a file is in the way")
    with installed(home, rule="allow"):
        see_calls_allowed(fake)
    home.unlink()
    with installed(home, rule="allow"):
        see_everything_come_back(home, fake, calls=3)


@pytest.mark.parametrize(
    "home",
    [
        pytest.param(Path("/proc/self/tollspan"), id="a file system that takes no folders"),
        pytest.param(Path("/dev/null/tollspan"), id="a device"),
    ],
)
def test_a_home_that_can_not_be_made_lets_the_rule_decide(
    tmp_path: Path, fake: FakeOpenAI, home: Path
) -> None:
    document = tmp_path / "rules.yaml"
    for rule, check in (("deny", see_calls_denied), ("allow", see_calls_allowed)):
        document.write_text(RULES.format(rule=rule, limit=1))
        settings = {"TOLLSPAN_HOME": str(home), "TOLLSPAN_CONFIG": str(document)}
        install_or_raise(read_settings(settings))
        try:
            check(fake)
        finally:
            uninstall()
    assert rescued_files(home)


def test_a_full_disk_denies_by_the_rule(tmp_path: Path, fake: FakeOpenAI) -> None:
    home = tmp_path / "home"
    with installed(home, rule="deny"):
        see_calls_allowed(fake, number=10)
        with full_disk((home / f"{LEDGER_FILE}-wal").stat().st_size):
            see_calls_denied(fake)
            see_calls_denied(fake)
        wait_until(lambda: len(harness.denials(home)) == 2)
        call(fake)
        see_everything_come_back(home, fake, calls=11)


def test_a_disk_that_fills_up_between_two_calls_loses_no_event(
    tmp_path: Path, fake: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    with installed(home, rule="allow"):
        see_calls_allowed(fake, number=10)
        with full_disk((home / f"{LEDGER_FILE}-wal").stat().st_size):
            see_calls_allowed(fake, number=10)
            assert len(shouts(caplog)) == 1
        see_everything_come_back(home, fake, calls=20)
    assert sum(marks(event) for event in harness.usage_events(home)) == 10


NOTHING_FITS = """
import resource, sys, time
from openai import OpenAI
client = OpenAI(max_retries=0)
def call():
    client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=20
    )
call()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
for _ in range(3):
    call()
print("full", flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
if sys.argv[1] == "stay":
    sys.stdin.readline()
"""


@pytest.mark.parametrize("then", ["stay", "leave"])
def test_events_that_no_disk_takes_wait_in_memory(
    tmp_path: Path, fake: FakeOpenAI, then: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "tollspan.yaml").write_text(RULES.format(rule="allow", limit=1))
    environ = harness.environment(home, fake.base_url, TMPDIR=str(tmp_path))
    with subprocess.Popen(
        [*harness.program(NOTHING_FITS), then],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=home,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "full\n"
        assert events_in(home) == 1
        process.stdin.write("\n")
        process.stdin.flush()
        if then == "stay":
            wait_until(lambda: events_in(home) == 4)
        process.communicate("\n", timeout=30)
        assert process.returncode == 0
    see_everything_come_back(home, fake, calls=4)


def test_a_ledger_that_is_kept_locked_delays_a_call_by_no_more_than_is_said(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    home = tmp_path / "home"
    with installed(home, rule="allow"):
        call(fake)
        with locked(home):
            began = time.monotonic()
            call(fake)
            took = time.monotonic() - began
        assert 0.25 <= took < LONGEST_WAIT_SECONDS + 1.0
        see_everything_come_back(home, fake, calls=2)


def test_a_ledger_that_is_kept_locked_does_not_stop_an_event_loop(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    home = tmp_path / "home"

    async def run() -> float:
        worst = 0.0
        async with AsyncOpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client:
            asked = {
                "model": "gpt-4o-mini",
                "messages": [{"role": "user", "content": "hi"}],
                "max_tokens": 20,
            }
            await client.chat.completions.create(**asked)  # type: ignore[call-overload]  # a dict
            with locked(home):
                task = asyncio.ensure_future(
                    client.chat.completions.create(**asked)  # type: ignore[call-overload]  # a dict
                )
                while not task.done():
                    due = time.monotonic() + 0.005
                    await asyncio.sleep(0.005)
                    worst = max(worst, time.monotonic() - due)
                await task
        return worst

    with installed(home, rule="allow"):
        assert asyncio.run(run()) < 0.2  # a wait for the file would be 0.25 s or 2 s
        see_everything_come_back(home, fake, calls=2)


def test_an_asynchronous_call_returns_only_when_its_event_is_kept(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    home = tmp_path / "home"
    blocker: list[sqlite3.Connection] = []

    def respond(request: object, headers: Mapping[str, str], number: int) -> Reply:
        blocker.append(sqlite3.connect(home / LEDGER_FILE, check_same_thread=False, timeout=5))
        blocker[0].execute("BEGIN IMMEDIATE")
        return Reply()

    async def run() -> None:
        async with AsyncOpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client:
            task = asyncio.ensure_future(
                client.chat.completions.create(
                    model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=20
                )
            )
            while fake.completed == 0:
                await asyncio.sleep(0.001)
            done, _ = await asyncio.wait([task], timeout=0.5)
            assert not done
            assert events_in(home) == 0
            blocker[0].execute("ROLLBACK")
            await task
            assert events_in(home) == 1

    with installed(home, rule="deny"):
        fake.script.respond = respond
        asyncio.run(run())
    blocker[0].close()
