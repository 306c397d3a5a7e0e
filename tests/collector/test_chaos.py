"""Laws 1 to 3 while everything breaks: `scripts/chaos.py`, as anyone may run it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from environment import ROOT
from tests import harness
from tests.chaos.living import impossible
from tests.chaos.plan import Kind

pytestmark = pytest.mark.service


@pytest.mark.parametrize(
    "minutes",
    [
        pytest.param(0.25, id="scaled", marks=pytest.mark.timeout(300)),
        pytest.param(10, id="full", marks=[pytest.mark.slow, pytest.mark.timeout(2_400)]),
    ],
)
def test_nothing_is_lost_or_counted_twice_and_no_budget_overspent_when_everything_breaks(
    tmp_path: Path, minutes: float
) -> None:
    command = [sys.executable, str(ROOT / "scripts/chaos.py"), f"--minutes={minutes}", "--seed=1"]
    env = harness.environment(tmp_path, "http://127.0.0.1:9")
    done = harness.run(command, env, timeout_seconds=minutes * 60 + 600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("All holds.\n")
    for kind in set(Kind) - set(impossible()):
        assert f"s  {kind}" in done.stdout
