"""Law 2 and the disk: full, missing, locked, damaged, deleted. No call suffers, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from openai import AsyncOpenAI, OpenAI

from tests import harness
from tests.contract.ledger.making import NOON_UNIX_NS
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI, Reply
from tollspan.api import BudgetExceededError, GateUnavailableError
from tollspan.launch import Installed, install_or_raise, read_settings, uninstall
from tollspan.ledger import LEDGER_FILE, LedgerReader, rebuild, rescued_files
from tollspan.usage import LedgerError, UsageEvent, format_usd

RULES = """
version: 1
defaults: {{on_unavailable: {rule}}}
budgets:
  - {{id: all, limit: {limit} USD}}
hosts: {{127.0.0.1: openai}}
"""
LONGEST_WAIT_SECONDS = 0.25 + 2.0
"""What a call may lose on a ledger that others keep locked: asking, and storing its event."""


@pytest.fixture(autouse=True)
def spare_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the last resort for events a temp folder of its own."""
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    return spare


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as started:
        yield started


@contextmanager
def installed(home: Path, *, rule: str, limit: str = "100") -> Iterator[Installed]:
    """Install with one budget, its rules kept elsewhere than the home."""
    document = home.parent / "rules.yaml"
    document.write_text(RULES.format(rule=rule, limit=limit))
    settings = read_settings({"TOLLSPAN_HOME": str(home), "TOLLSPAN_CONFIG": str(document)})
    try:
        yield install_or_raise(settings)
    finally:
        uninstall()


def call(fake: FakeOpenAI) -> str | None:
    """Make one call of the real SDK; return its text."""
    with OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client:
        answer = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=20
        )
    return answer.choices[0].message.content


def see_calls_denied(fake: FakeOpenAI) -> None:
    """See that a call is denied, at once, and never sent."""
    hits = fake.hits
    began = time.monotonic()
    with pytest.raises(GateUnavailableError):
        call(fake)
    assert time.monotonic() - began < LONGEST_WAIT_SECONDS
    assert fake.hits == hits


def see_calls_allowed(fake: FakeOpenAI, *, number: int = 3) -> None:
    """See that calls go through, without a delay worth the name."""
    for _ in range(number):
        began = time.monotonic()
        assert call(fake)
        assert time.monotonic() - began < LONGEST_WAIT_SECONDS


def shouts(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said at the level of an error about the ledger."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.ERROR and record.name == "tollspan.ledger"
    ]


def marks(event: UsageEvent) -> bool:
    """Say whether an event says of itself that the gate could not be asked."""
    return event.decision.is_unavailable and "unavailable" in event.marks


def events_in(home: Path) -> int:
    """Count the usage events of a ledger that may not be there yet."""
    with contextlib.suppress(LedgerError):
        return len(harness.usage_events(home))
    return 0


def denials_in(home: Path) -> int:
    """Count the refusals of a ledger that may not be there yet."""
    with contextlib.suppress(LedgerError):
        return len(harness.denials(home))
    return 0


def see_everything_come_back(home: Path, fake: FakeOpenAI, *, calls: int) -> None:
    """See that every event is in the ledger, once, and every sum is right."""
    wait_until(lambda: events_in(home) == calls)
    assert rescued_files(home) == ()
    balance = harness.balance(home)
    assert balance.posted_nanousd == fake.billed_nanousd
    wait_until(lambda: harness.balance(home).held_nanousd == 0)


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


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Keep the ledger's file locked, as a person's own SQL session could."""
    with contextlib.closing(sqlite3.connect(home / LEDGER_FILE)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


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


@pytest.mark.parametrize("suffixes", [("",), ("", "-wal", "-shm")], ids=["the file", "all files"])
def test_a_ledger_deleted_under_a_running_program_is_made_again_with_everything_in_it(
    tmp_path: Path, fake: FakeOpenAI, suffixes: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    with installed(home, rule="deny"):
        see_calls_allowed(fake, number=5)
        for suffix in suffixes:
            (home / f"{LEDGER_FILE}{suffix}").unlink()
        see_calls_allowed(fake, number=5)
        see_everything_come_back(home, fake, calls=10)
        see_calls_allowed(fake, number=1)
    see_everything_come_back(home, fake, calls=11)


def test_a_program_that_ends_right_after_the_deletion_still_leaves_its_events(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    home = tmp_path / "home"
    with installed(home, rule="deny"):
        see_calls_allowed(fake)
        (home / LEDGER_FILE).unlink()
    see_everything_come_back(home, fake, calls=3)


def test_budgets_go_on_after_a_deletion_where_they_were(tmp_path: Path, fake: FakeOpenAI) -> None:
    probe = tmp_path / "probe"
    with harness.installed(probe):
        call(fake)
    (event,) = harness.usage_events(probe)
    bound, cost = event.decision.bound_nanousd, event.cost.amount_nanousd
    assert bound is not None
    assert cost is not None
    home = tmp_path / "home"
    with installed(home, rule="deny", limit=format_usd(3 * cost + bound - 1)):
        see_calls_allowed(fake)
        (home / LEDGER_FILE).unlink()
        wait_until(lambda: events_in(home) == 3)
        with pytest.raises(BudgetExceededError):
            call(fake)


def test_another_ledger_in_the_place_of_ours_gets_our_events_too(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    other = tmp_path / "other"
    with installed(other, rule="deny"):
        see_calls_allowed(fake, number=2)
    home = tmp_path / "home"
    with installed(home, rule="deny"):
        see_calls_allowed(fake, number=3)
        (other / LEDGER_FILE).rename(home / LEDGER_FILE)
        see_everything_come_back(home, fake, calls=5)


def test_rubbish_in_the_place_of_the_ledger_lets_the_rule_decide_until_it_is_gone(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    home = tmp_path / "home"
    with installed(home, rule="allow"):
        see_calls_allowed(fake)
        rubbish = tmp_path / "rubbish"
        rubbish.write_bytes(b"this is no ledger " * 1000)
        rubbish.rename(home / LEDGER_FILE)
        calls = 3
        while not rescued_files(home):
            see_calls_allowed(fake, number=1)
            calls += 1
        (home / LEDGER_FILE).unlink()
        see_everything_come_back(home, fake, calls=calls)


@pytest.mark.parametrize("rule", ["deny", "allow"])
def test_a_damaged_ledger_lets_the_rule_decide_and_a_rebuild_makes_it_whole(
    tmp_path: Path, fake: FakeOpenAI, rule: str
) -> None:
    home = tmp_path / "home"
    with installed(home, rule=rule):
        see_calls_allowed(fake, number=20)
    events = harness.usage_events(home)
    balance = harness.balance(home)
    path = home / LEDGER_FILE
    path.write_bytes(b"\xff" * 4096 + path.read_bytes()[4096:])
    put_aside = 0
    with installed(home, rule=rule):
        if rule == "deny":
            see_calls_denied(fake)
        else:
            see_calls_allowed(fake, number=2)
            put_aside = 2
    done = harness.run(
        [str(Path(sys.executable).parent / "tollspan"), "ledger", "rebuild"],
        harness.environment(home, fake.base_url, TMPDIR=str(tmp_path / "spare")),
    )
    assert done.returncode == 0, done.stderr
    assert "20 events" in done.stdout
    assert harness.usage_events(home)[:20] == events
    if rule == "deny":
        assert harness.balance(home) == balance
    limit = format_usd(fake.billed_nanousd + 1)
    with installed(home, rule=rule, limit=limit), pytest.raises(BudgetExceededError):
        call(fake)
    see_everything_come_back(home, fake, calls=20 + put_aside)


def test_a_running_program_takes_up_a_ledger_that_was_rebuilt(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    home = tmp_path / "home"
    with installed(home, rule="deny"):
        see_calls_allowed(fake)
        rebuild(home / LEDGER_FILE)
        see_calls_allowed(fake)
        see_everything_come_back(home, fake, calls=6)
    see_everything_come_back(home, fake, calls=6)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_an_hour_keeps_holds_and_periods_right(
    tmp_path: Path, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    document = tmp_path / "rules.yaml"
    document.write_text(
        "version: 1\nbudgets:\n  - {id: hourly, limit: 1 USD, window: hour}\n"
        "  - {id: all, limit: 1 USD}\nhosts: {127.0.0.1: openai}\n"
    )
    home = tmp_path / "home"
    real, offset_ns = time.time_ns, 0
    monkeypatch.setattr(time, "time_ns", lambda: NOON_UNIX_NS + offset_ns + real() % 1_000_000_000)
    jumped = threading.Event()

    def respond(request: object, headers: Mapping[str, str], number: int) -> Reply:
        nonlocal offset_ns
        if number == 2:  # in the middle of a call
            offset_ns = hours * 3_600_000_000_000
            jumped.set()
        return Reply()

    fake.script.respond = respond
    install_or_raise(read_settings({"TOLLSPAN_HOME": str(home), "TOLLSPAN_CONFIG": str(document)}))
    try:
        see_calls_allowed(fake, number=4)
    finally:
        uninstall()
    assert jumped.is_set()
    each = fake.billed_nanousd // 4
    found = {
        one.account.period: (one.posted_nanousd, one.held_nanousd)
        for one in LedgerReader(home / LEDGER_FILE).balances()
        if one.account.budget_id == "hourly"
    }
    assert found == {
        "2026-11-22T12": (2 * each, 0),
        f"2026-11-22T{12 + hours}": (2 * each, 0),
    }
    see_everything_come_back(home, fake, calls=4)
    assert [event.outcome.duration_ns > 0 for event in harness.usage_events(home)] == [True] * 4
