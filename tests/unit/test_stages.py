"""The time table of `make test`."""

from __future__ import annotations

import stages
from environment import ROOT


def test_the_minutes_of_the_stages_are_the_minutes_of_the_whole() -> None:
    table = (stages.SETUP, *stages.table("all"))
    assert sum(stage.warm_minutes for stage in table) == stages.TOTAL_WARM_MINUTES
    assert sum(stage.fresh_minutes for stage in table) == stages.TOTAL_FRESH_MINUTES


def test_every_tier_of_tests_has_a_stage() -> None:
    tiers = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert tiers <= {stage.tier for stage in stages.table("all")}


def test_core_leaves_out_services_and_long_runs() -> None:
    assert all(
        stage.command[-2:] == ("-m", "not (slow or service)") for stage in stages.table("core")
    )


def test_services_are_there_before_the_tests_that_need_them() -> None:
    for plan, first in (("all", "unit"), ("prove", "prove")):
        names = [stage.name for stage in stages.table(plan)]
        assert names.index("services") == names.index(first) - 1
