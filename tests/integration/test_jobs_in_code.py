"""Jobs in code: held before work is handed over, settled once wherever it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from tollspan.api import BudgetExceededError, ConfigError, LedgerError, jobs
from tollspan.launch import Installed, uninstall
from tollspan.ledger import SQLiteLedger
from tollspan.usage import UsageEvent

USD = 1_000_000_000
BUDGETS = "{id: all, limit: 1 USD}, {id: count, limit: 3 calls}"


class Stage:
    """tollspan in this process, and the books."""

    def __init__(self, home: Path, installed: Installed) -> None:
        self.home = home
        self.installed = installed

    def events(self) -> list[UsageEvent]:
        """Return what was booked."""
        return harness.usage_events(self.home)

    def counts(self, budget_id: str = "all") -> tuple[int, int, int]:
        """Return what a budget has posted, held and unresolved."""
        self.installed.lifecycle.worker.drain(5)
        found = harness.balance(self.home, budget_id)
        return found.posted, found.held, found.unresolved


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Everything that a test needs."""
    with harness.installed(tmp_path / "home", budgets=BUDGETS) as installed:
        yield Stage(tmp_path / "home", installed)


def test_a_job_is_held_deferred_and_settled_by_its_cost(stage: Stage) -> None:
    jobs.hold("render", "0.50 USD").defer("farm", "j-1")
    assert stage.counts() == (0, USD // 2, 0)
    assert stage.counts("count") == (0, 1, 0)
    assert jobs.settle("farm", "j-1", cost="0.310000001 USD")
    assert not jobs.settle("farm", "j-1", cost="0.9 USD")
    assert not jobs.release("farm", "j-1")
    assert stage.counts() == (310_000_001, 0, 0)
    (event,) = stage.events()
    assert event.cost.amount_nanousd == 310_000_001
    assert event.cost.status == "priced"
    assert (event.call.request.model, event.marks) == ("render", ("deferred",))


def test_a_job_outlives_its_process(stage: Stage) -> None:
    jobs.hold("render", "0.50 USD").defer("farm", "j-1")
    uninstall()
    ledger = SQLiteLedger(stage.home)
    ledger.sweep()
    ledger.close()
    with harness.installed(stage.home, budgets=BUDGETS):
        assert harness.balance(stage.home).held == USD // 2
        assert jobs.release("farm", "j-1")
    found = harness.balance(stage.home)
    assert (found.posted, found.held, found.unresolved) == (0, 0, 0)


def test_what_does_not_fit_is_refused_and_on_the_record(stage: Stage) -> None:
    jobs.hold("render", "0.60 USD").defer("farm", "j-1")
    with pytest.raises(BudgetExceededError):
        jobs.hold("render", "0.50 USD")
    stage.installed.ledger.close()
    assert len(harness.denials(stage.home)) == 1


def test_what_was_never_handed_over_is_given_back(stage: Stage) -> None:
    jobs.hold("render", "0.60 USD").release()
    stage.installed.ledger.close()
    assert stage.counts() == (0, 0, 0)


def test_units_are_priced_as_the_tool_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "prices.yaml").write_text("version: 1\ntools: {render: {usd_each: {frames: 0.002}}}\n")
    with harness.installed(home, TOLLSPAN_PRICES=str(home / "prices.yaml")):
        jobs.hold("render", {"frames": 300}).defer("farm", "j-1")
        assert harness.balance(home).held == 600_000_000
        assert jobs.settle("farm", "j-1", usage={"frames": 250})
    assert harness.balance(home).posted == 500_000_000


def test_two_jobs_have_not_one_name(stage: Stage) -> None:
    jobs.hold("render", "0.10 USD").defer("farm", "j-1")
    with pytest.raises(LedgerError, match="j-1"):
        jobs.hold("render", "0.20 USD").defer("farm", "j-1")
    assert stage.counts() == (0, 300_000_000, 0)


@pytest.mark.parametrize(
    "given", [{}, {"cost": "1 USD", "usage": {"frames": 1}}, {"cost": "7 apples"}]
)
def test_a_settlement_that_makes_no_sense_is_said(stage: Stage, given: dict[str, Any]) -> None:
    jobs.hold("render", "0.10 USD").defer("farm", "j-1")
    with pytest.raises(ConfigError):
        jobs.settle("farm", "j-1", **given)
    assert stage.counts() == (0, 100_000_000, 0)


def test_a_count_that_makes_no_sense_is_said(stage: Stage) -> None:
    with pytest.raises(ConfigError, match="frames"):
        jobs.hold("render", {"frames": -1})
