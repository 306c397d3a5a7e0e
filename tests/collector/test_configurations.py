"""Every configuration is one that the Collector takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.collector.running import CONFIGURATIONS, Collector

NAMES = sorted(
    path.stem
    for path in CONFIGURATIONS.glob("*.yaml")
    if path.stem not in {"builder", "calls", "compose", "jaeger"}
)
pytestmark = pytest.mark.service


def validate(collector: Collector, *more: str) -> subprocess.CompletedProcess[str]:
    """Ask the Collector whether it would start with its configurations."""
    program, *words = collector.words()
    return subprocess.run(
        [program, "validate", *words, *more],
        env=collector.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_collector_takes_every_configuration(tmp_path: Path, name: str) -> None:
    done = validate(Collector(tmp_path, name))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_word_is_not_taken(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("processors: {filter/calls: {trace_conditions: ['no such thing ==']}}\n")
    done = validate(Collector(tmp_path, "agent"), "--config", str(wrong))
    assert done.returncode != 0
    assert "filter" in done.stderr
