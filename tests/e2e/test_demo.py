"""`make demo`'s script does what the README shows."""

from __future__ import annotations

import re
import subprocess
import sys
from decimal import Decimal

import pytest

from readme_picture import MOST_LINES
from tests.harness import ROOT

WAYS = (
    "openai",
    "openai, async",
    "openai, streamed",
    "openai, parsed",
    "anthropic, streamed",
    "anthropic, raw",
)
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}


@pytest.fixture(scope="module")
def printed() -> str:
    """What a run of the demo prints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo.py")],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def lines(printed: str, start: str) -> list[str]:
    """Return what the lines that begin with a text say behind it."""
    return [line.removeprefix(start) for line in printed.splitlines() if line.startswith(start)]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_ask_is_answered_at_first(printed: str, way: str) -> None:
    (said,) = lines(printed, f"1 {way:<19}  ")
    assert said.startswith("Why do rivers meander? ")


def test_the_dear_calls_are_stopped_in_the_end_and_the_cheap_ones_go_on(printed: str) -> None:
    for way in WAYS:
        (said,) = lines(printed, f"3 {way:<19}  ")
        is_stopped = said.startswith("stopped: This call does not fit the demo's budget.")
        assert is_stopped == way.startswith("anthropic")
    assert "[error]" in printed
    assert "tollspan.budget_exceeded" in printed


def test_the_money_agrees_with_both_providers_to_the_nano_dollar(printed: str) -> None:
    total = Decimal(0)
    for provider, model in MODELS.items():
        counted = re.search(rf"^{provider} +(\d+) requests, billed ([\d.]+) USD$", printed, re.M)
        reported = re.search(rf"^{model} +(\d+) +(\d+) +\d+ +\d+ +([\d.]+)$", printed, re.M)
        assert counted is not None
        assert reported is not None
        assert reported[1] == counted[1]
        assert int(reported[2]) == (2 if provider == "anthropic" else 0)
        assert Decimal(reported[3]) == Decimal(counted[2]) > 0
        total += Decimal(counted[2])
    assert f"together {total} USD, in the ledger {total} USD: the same" in printed


def test_it_fits_on_a_page(printed: str) -> None:
    assert len(printed.splitlines()) <= MOST_LINES
