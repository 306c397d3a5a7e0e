"""Budgets with idle windows on the command line: the period that runs is the one that is meant."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.contract.ledger.making import charge, event, new_id
from tests.integration.cli.conftest import Run
from tollspan.budget import Account, Touch, idle_key
from tollspan.ledger import SQLiteLedger

USD = 1_000_000_000
SCOPE = '{"session":"a"}'
RULES = """\
version: 1
budgets: [{id: session, per: [session], limit: 10 USD, window: {idle: 30m}}]
"""


def a_session(period: str) -> Account:
    return Account(budget_id="session", scope=SCOPE, period=period, limit=10 * USD)


@pytest.fixture
def running(home: Path) -> str:
    """Return the period of a session that runs, after one that is over; each has spent 3 USD."""
    (home / "tollspan.yaml").write_text(RULES)
    now = time.time_ns()
    ahead = -3_600 * USD
    ledger = SQLiteLedger(home, clock=lambda: now + ahead)
    said = [idle_key(1_800, (now - seconds * USD) // 1_000) for seconds in (3_600, 60)]
    first = ledger.touch(Touch(account=a_session(said[0]), idle_seconds=1_800))
    ahead = 0
    second = ledger.touch(Touch(account=a_session(said[1]), idle_seconds=1_800))
    assert [first, second] == said
    for period in said:
        ledger.post(event(new_id(), charge(a_session(period), posted=3 * USD)), None)
    ledger.close()
    return second


def rows(run: Run, *options: str) -> list[dict[str, Any]]:
    code, out, _ = run("budgets", "--json", *options)
    assert code == 0
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_the_period_that_runs_is_shown_and_all_when_asked_for(running: str, run: Run) -> None:
    assert [(row["period"], row["posted"]) for row in rows(run)] == [(running, "3")]
    assert len(rows(run, "--all")) == 2


def test_a_session_that_nobody_remembers_is_over(home: Path, run: Run) -> None:
    (home / "tollspan.yaml").write_text(RULES)
    now = time.time_ns()
    old = a_session(idle_key(1_800, (now - 3 * 86_400 * USD) // 1_000))
    ledger = SQLiteLedger(home)
    ledger.post(event(new_id(), charge(old, posted=3 * USD)), None)
    ledger.close()
    assert rows(run) == []
    assert [row["posted"] for row in rows(run, "--all")] == ["3"]


def test_people_see_since_when_a_session_runs(running: str, run: Run) -> None:
    del running
    _, out, _ = run("budgets")
    assert "since 20" in out


@pytest.mark.parametrize(
    ("command", "options", "left"),
    [
        ("raise", ("--by", "5 USD"), "12 USD left"),
        ("set", ("--left", "4 USD"), "4 USD left"),
        ("reset", (), "10 USD left"),
    ],
)
def test_what_is_adjusted_is_the_period_that_runs(
    running: str, run: Run, command: str, options: tuple[str, ...], left: str
) -> None:
    code, said, error = run(
        "budget", command, "session", "--for", "session=a", *options, "--reason", "x"
    )
    assert code == 0, error
    assert left in said
    assert [row["period"] for row in rows(run)] == [running]


def test_a_call_is_explained_by_the_period_that_runs(running: str, run: Run) -> None:
    code, out, error = run(
        "config", "explain", "--model", "gpt-4o-mini", "--session", "a", "--max-output", "10",
        "--json",
    )  # fmt: skip
    assert code == 0, error
    (touched,) = json.loads(out)["touched"]
    assert (touched["period"], touched["posted"]) == (running, "3")
    assert touched["resets_at"] is not None
