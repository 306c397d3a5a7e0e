"""`make demo`'s script does what the README shows."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.harness import ROOT


def test_the_demo_runs_into_its_budget_and_its_money_agrees_with_the_provider() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo.py")],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "stopped: The demo's budget is used up." in done.stdout
    hits, billed = re.findall(r"(\d+) requests, billed ([\d.]+) USD", done.stdout)[0]
    calls, denied, spent = re.findall(
        r"^gpt-4o-mini +(\d+) +(\d+) +\d+ +\d+ +([\d.]+)$", done.stdout, re.MULTILINE
    )[0]
    assert calls == hits
    assert int(denied) >= 2
    assert float(spent) == float(billed)
    assert "[error]" in done.stdout
    for way in ("sync", "async", "streamed"):
        assert re.search(rf"^ +1 {way}", done.stdout, re.MULTILINE)
