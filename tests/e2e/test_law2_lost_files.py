"""Law 2 and files that are deleted, replaced or damaged, and a clock that jumps."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import harness
from tests.contract.ledger.making import NOON_UNIX_NS
from tests.e2e.outages import (
    call,
    events_in,
    installed,
    see_calls_allowed,
    see_calls_denied,
    see_everything_come_back,
)
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI, Reply
from tollspan.api import BudgetExceededError
from tollspan.launch import install_or_raise, read_settings, uninstall
from tollspan.ledger import LEDGER_FILE, LedgerReader, rebuild, rescued_files
from tollspan.usage import format_usd

pytestmark = pytest.mark.usefixtures("spare_place")


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

    def now_unix_ns() -> int:
        return NOON_UNIX_NS + offset_ns + real() % 1_000_000_000

    monkeypatch.setattr(time, "time_ns", now_unix_ns)
    monkeypatch.setattr("tollspan.instrumentation._call.time_ns", now_unix_ns)
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
        one.account.period: (one.posted, one.held)
        for one in LedgerReader(home / LEDGER_FILE).balances()
        if one.account.budget_id == "hourly"
    }
    assert found == {
        "2026-11-22T12": (2 * each, 0),
        f"2026-11-22T{12 + hours}": (2 * each, 0),
    }
    see_everything_come_back(home, fake, calls=4)
    assert [event.outcome.duration_ns > 0 for event in harness.usage_events(home)] == [True] * 4
