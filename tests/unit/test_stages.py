"""The time table of `make test`."""

from __future__ import annotations

from pathlib import Path

import pytest

import stages
from environment import ROOT, clean_environ


@pytest.mark.parametrize("limit", ["warm", "fresh"])
def test_stages_that_keep_to_their_minutes_keep_to_those_of_the_whole(limit: str) -> None:
    whole = 0.0
    for group in stages.groups((stages.SETUP, *stages.table("all"))):
        minutes = [getattr(stage, f"{limit}_minutes") for stage in group]
        ends = [0.0] * stages.LANES
        for each in minutes:
            ends[ends.index(min(ends))] += each
        whole += max(ends)
    assert whole <= getattr(stages, f"TOTAL_{limit.upper()}_MINUTES")


def test_every_tier_of_tests_has_a_stage() -> None:
    tiers = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert tiers <= {stage.tier for stage in stages.table("all")}


def test_what_one_stage_leaves_out_another_runs() -> None:
    left_out = [
        word.removeprefix("--ignore=tests/")
        for stage in stages.TESTS
        for word in stage.command
        if word.startswith("--ignore")
    ]
    assert left_out == [stages.OLDEST]
    assert (ROOT / "tests" / stages.OLDEST).is_file()
    assert stages.OLDEST in {stage.tier for stage in stages.TESTS}
    assert {stage.mark for stage in stages.TESTS} == {"alone", "not alone"}


def test_tests_that_measure_time_run_when_nothing_else_does() -> None:
    (alone,) = [group for group in stages.groups(stages.table("all")) if group[0].mark == "alone"]
    assert len(alone) == 1
    marked = {
        path.relative_to(ROOT / "tests").parts[0]
        for path in (ROOT / "tests").rglob("test_*.py")
        if "pytest.mark.alone" in path.read_text("utf-8") and path != Path(__file__)
    }
    assert marked == set(stages.ALONE_TIERS)
    assert set(alone[0].command) >= {f"tests/{tier}" for tier in stages.ALONE_TIERS}


def test_what_python_compiles_is_kept_whatever_the_machine_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("SOMETHING_ELSE", "1")
    assert "PYTHONDONTWRITEBYTECODE" not in clean_environ()
    assert clean_environ()["SOMETHING_ELSE"] == "1"


def test_core_leaves_out_services_and_long_runs() -> None:
    assert all(
        stage.command[-2:] == ("-m", f"{stage.mark} and not (slow or service)")
        for stage in stages.table("core")
    )


def test_services_are_there_before_the_tests_that_need_them() -> None:
    for plan in ("all", "prove"):
        first, *others = stages.groups(stages.table(plan))
        assert [stage.name for stage in first] == ["services"]
        assert others
