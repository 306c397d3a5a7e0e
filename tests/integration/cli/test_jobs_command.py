"""`tollspan jobs`: what is held for calls that end elsewhere, and how it is settled by hand."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.contract.ledger.making import account, call, hold
from tests.integration.cli.conftest import Run
from tollspan.budget import DeferredHold
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger
from tollspan.usage import DecisionNote

USD = 1_000_000_000
HOUR_NS = 3_600 * USD


@pytest.fixture
def job(home: Path) -> str:
    """A job that began two hours ago, held in USD and in calls; return its call's id."""
    ledger = SQLiteLedger(home)
    held = hold((account("all", limit=USD), USD // 4), (account("n", limit=9, unit="calls"), 1))
    ledger.hold(held)
    begun = DeferredHold(
        provider="openai",
        job_id="resp_1",
        call=call(held.call_id),
        note=DecisionNote(),
        hold=held,
        deferred_at_unix_ns=time.time_ns() - 2 * HOUR_NS,
    )
    assert ledger.defer(begun)
    ledger.close()
    return held.call_id


def sums(home: Path) -> dict[str, tuple[int, int, int]]:
    """Return what each budget has posted, held and unresolved."""
    return {
        one.account.budget_id: (one.posted, one.held, one.unresolved)
        for one in LedgerReader(home / LEDGER_FILE).balances()
    }


def test_jobs_are_listed_with_age_and_what_they_hold(job: str, run: Run) -> None:
    code, out, _ = run("jobs", "list")
    assert code == 0
    for word in ("2 h", "openai", "resp_1", "0.25", "all", "calls"):
        assert word in out
    code, out, _ = run("jobs", "list", "--json")
    (found,) = json.loads(out)
    assert (found["provider"], found["job"], found["call_id"]) == ("openai", "resp_1", job)
    assert [one["amount"] for one in found["held"]] == ["0.25", "1"]


@pytest.mark.parametrize(
    ("command", "usd", "calls"),
    [
        pytest.param(["settle", "--all"], USD // 4, 1, id="all of it"),
        pytest.param(["settle", "--spent", "0.1 USD"], USD // 10, 1, id="some of it"),
        pytest.param(["release"], 0, 0, id="nothing"),
    ],
)
def test_a_job_is_settled_by_hand_and_on_the_record(
    home: Path, job: str, run: Run, command: list[str], usd: int, calls: int
) -> None:
    code, out, _ = run("jobs", *command, "resp_1", "--reason", "as on the bill")
    assert code == 0
    assert "resp_1" in out
    assert sums(home) == {"all": (usd, 0, 0), "n": (calls, 0, 0)}
    assert LedgerReader(home / LEDGER_FILE).jobs() == ()
    code, out, _ = run("budget", "history", "--json")
    assert {one["reason"] for one in json.loads(out)} == {"as on the bill"}
    code, _, err = run("jobs", *command, "resp_1", "--reason", "again")
    assert code == 1
    assert "resp_1" in err
    assert job


def test_an_unknown_job_is_said(job: str, run: Run) -> None:
    code, _, err = run("jobs", "release", "resp_2", "--reason", "why")
    assert code == 1
    assert "resp_2" in err
    assert job
