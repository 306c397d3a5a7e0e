"""`TOLLSPAN_MODE`: an operator's switch for incidents, which is on the record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeOpenAI
from tollspan.ledger import LEDGER_FILE, LedgerReader

CODE = """
import openai
client = openai.OpenAI(max_retries=0)
for _ in range(3):
    client.chat.completions.create(
        model="gpt-4o-mini", max_tokens=20, messages=[{"role": "user", "content": "hi"}]
    )
"""


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


def run(home: Path, fake: FakeOpenAI, mode: str, budgets: str) -> tuple[int, str]:
    harness.write_rules(home, budgets=budgets)
    done = harness.run(
        harness.program(CODE), harness.environment(home, fake.base_url, TOLLSPAN_MODE=mode)
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(("mode", "action"), [("observe", "shadow"), ("off", "allow")])
def test_a_gate_that_enforces_nothing_lets_through_counts_and_says_so(
    tmp_path: Path, fake: FakeOpenAI, mode: str, action: str
) -> None:
    code, errors = run(tmp_path, fake, mode, "{id: all, limit: 0 USD}")
    assert code == 0, errors
    assert f"TOLLSPAN_MODE is {mode}" in errors
    events = harness.usage_events(tmp_path)
    assert [(event.decision.action, event.decision.mode) for event in events] == [
        (action, mode)
    ] * 3
    balance = harness.balance(tmp_path)
    assert (balance.posted, balance.held) == (fake.billed_nanousd, 0)
    seen = LedgerReader(tmp_path / LEDGER_FILE).sightings()
    assert [(one.kind, one.name, one.count) for one in seen] == [("mode", mode, 1)]


def test_a_mode_that_nobody_knows_is_told_and_the_gate_holds(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    code, errors = run(tmp_path, fake, "disabled", "{id: all, limit: 0 USD}")
    assert code == 1
    assert "expected one of enforce, observe, off" in errors
    assert "BudgetExceededError" in errors
    assert fake.hits == 0


def test_budgets_that_warn_do_so_on_standard_error_and_let_through(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    code, errors = run(
        tmp_path,
        fake,
        "",
        "{id: few, limit: 1 call, on_exceed: warn}, {id: many, limit: 5 calls, warn_at: [0.5]}",
    )
    assert code == 0, errors
    assert "a call did not fit budget few" in errors
    assert "budget many has used 50 % of its limit: 3 calls of 5 calls" in errors
    assert [event.decision.action for event in harness.usage_events(tmp_path)] == [
        "allow",
        "warn",
        "warn",
    ]
