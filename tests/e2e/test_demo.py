"""`make demo`'s script does what the README shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from decimal import Decimal

import pytest

from readme_picture import MOST_LINES
from tests.harness import ROOT

STEPS = ("triage", "research", "draft", "polish", "check")
CUSTOMERS = ("acme", "globex", "initech")


@pytest.fixture(scope="module")
def printed() -> str:
    """What a run of the demo prints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo.py")],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "CI": "true"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def said(printed: str, customer: str, number: int) -> list[str]:
    """Return the steps that were taken for one question of a customer, in order."""
    return re.findall(rf"^{customer} +#{number}  (\w+)", printed, re.MULTILINE)


@pytest.mark.parametrize("customer", CUSTOMERS)
def test_every_customers_first_question_goes_through_every_step(
    printed: str, customer: str
) -> None:
    assert said(printed, customer, 1) == list(STEPS)


def test_the_customer_who_asks_most_hits_a_budget_and_the_others_do_not(printed: str) -> None:
    assert said(printed, "acme", 3)[-1] == "STOPPED"
    assert re.findall(r"^(\w+) +#\d  STOPPED", printed, re.MULTILINE) == ["acme", "acme"]
    assert "Your budget for today is used up." in printed
    denied = dict(re.findall(r"^(\w+) +\d+ +(\d+) +\d+ +\d+ +[\d.]+$", printed, re.MULTILINE))
    assert denied == {"acme": "2", "globex": "0", "initech": "0", "total": "2"}


def test_the_trace_shows_the_refused_question_as_a_tree(printed: str) -> None:
    _, _, trace = printed.partition("One question's trace")
    trace = trace.partition("$ tollspan events")[0]
    assert "  answer acme #2" in trace
    assert re.search(r"^    execute_tool search_help +0\.000100000 USD +acme$", trace, re.MULTILINE)
    assert re.search(r"^    chat claude-haiku-4-5 +deny by customer +acme$", trace, re.MULTILINE)


def test_the_money_agrees_with_both_providers_to_the_nano_dollar(printed: str) -> None:
    bills = re.findall(r"^(?:openai|anthropic) +\d+ requests, billed ([\d.]+) USD$", printed, re.M)
    billed = sum(map(Decimal, bills))
    assert len(bills) == 2
    assert f"together {billed} USD, in the ledger {billed} USD: the same" in printed
    tools = re.search(r"tools, which no provider bills: ([\d.]+) USD", printed)
    total = re.search(r"^total +\d+ +\d+ +\d+ +\d+ +([\d.]+)$", printed, re.MULTILINE)
    assert tools is not None
    assert total is not None
    assert Decimal(total[1]) == billed + Decimal(tools[1])


def test_it_fits_on_a_page(printed: str) -> None:
    assert len(printed.splitlines()) <= MOST_LINES
