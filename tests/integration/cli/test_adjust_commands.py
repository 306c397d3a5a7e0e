"""`tollspan budget raise|set|reset|resolve|history`: postings, never edits."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.contract.ledger.making import account, charge, event, hold, new_id
from tests.integration.cli.conftest import Run
from tollspan.budget import Account, Balance, LeasedLedger, Window, periods
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger, rebuild

RULES = """\
version: 1
budgets:
  - {id: org, limit: 10 USD}
  - {id: customer, per: [customer], limit: 5 USD, limits: {acme: 8 USD}}
  - {id: tokens, limit: 1000 tokens}
"""
USD = 1_000_000_000


@pytest.fixture
def rules(home: Path) -> Path:
    (home / "tollspan.yaml").write_text(RULES)
    return home


def stands(home: Path, where: Account) -> Balance:
    """Return how an account stands in the file."""
    ledger = SQLiteLedger(home)
    try:
        return ledger.balances([where])[0]
    finally:
        ledger.close()


def spend(home: Path, where: Account, amount: int) -> None:
    """Have a call spend something."""
    ledger = SQLiteLedger(home)
    ledger.post(event(new_id(), charge(where, posted=amount)), None)
    ledger.close()


def test_a_raised_budget_lets_so_much_more_through_and_says_what_is_left(
    rules: Path, run: Run
) -> None:
    org = account("org", limit=10 * USD)
    spend(rules, org, 9 * USD)
    code, said, _ = run("budget", "raise", "org", "--by", "2.50 USD", "--reason", "month end")
    assert code == 0
    assert said == "org (lifetime): 3.5 USD left\n"
    ledger = SQLiteLedger(rules)
    assert ledger.hold(hold((org, 3_500_000_000))) is None
    assert ledger.hold(hold((org, 1))) is not None
    ledger.close()


def test_a_raise_of_more_than_was_spent_is_a_credit(rules: Path, run: Run) -> None:
    org = account("org", limit=10 * USD)
    run("budget", "raise", "org", "--by", "5 USD", "--reason", "x")
    assert stands(rules, org).posted == -5 * USD
    ledger = SQLiteLedger(rules)
    assert ledger.hold(hold((org, 15 * USD))) is None
    ledger.close()


@pytest.mark.parametrize(
    ("left", "posted"), [("4 USD", 6), ("0 USD", 10), ("20 USD", -10), ("1 USD", 9)]
)
def test_a_set_budget_has_just_so_much_left(rules: Path, run: Run, left: str, posted: int) -> None:
    org = account("org", limit=10 * USD)
    spend(rules, org, 9 * USD)
    code, said, _ = run("budget", "set", "org", "--left", left, "--reason", "agreed")
    assert code == 0
    assert said == f"org (lifetime): {left} left\n"
    assert stands(rules, org).posted == posted * USD


def test_a_reset_account_counts_from_nothing_and_others_stay(rules: Path, run: Run) -> None:
    acme = Account(budget_id="customer", scope='{"customer":"acme"}', period="", limit=8 * USD)
    other = Account(budget_id="customer", scope='{"customer":"other"}', period="", limit=5 * USD)
    spend(rules, acme, 7 * USD)
    spend(rules, other, 3 * USD)
    code, said, _ = run(
        "budget", "reset", "customer", "--for", "customer=acme", "--reason", "a bug of ours"
    )
    assert (code, said) == (0, "customer of customer acme (lifetime): 8 USD left\n")
    assert stands(rules, acme).posted == 0
    assert stands(rules, other).posted == 3 * USD


def test_every_adjustment_stays_on_the_record_and_survives_a_rebuild(rules: Path, run: Run) -> None:
    org = account("org", limit=10 * USD)
    spend(rules, org, 9 * USD)
    run("budget", "raise", "org", "--by", "2 USD", "--reason", "first")
    run("budget", "set", "org", "--left", "1 USD", "--reason", "second")
    rebuild(rules / LEDGER_FILE)
    found = json.loads(run("budget", "history", "org", "--json")[1])
    assert [(one["action"], one["posted"], one["reason"]) for one in found] == [
        ("raise", "-2", "first"),
        ("set", "2", "second"),
    ]
    assert all("@" in one["author"] for one in found)
    assert stands(rules, org).posted == 9 * USD
    assert "second" in run("budget", "history")[1]


@pytest.mark.parametrize(
    ("how", "posted"), [(["--all"], 100), (["--nothing"], 0), (["--spent", "0.00000004 USD"], 40)]
)
def test_what_a_dead_call_held_is_resolved_by_hand(
    rules: Path, run: Run, how: list[str], posted: int
) -> None:
    org = account("org", limit=10 * USD)
    dead = SQLiteLedger(rules)
    held = hold((org, 100))
    dead.hold(held)
    dead.close()
    assert json.loads(run("budgets", "--unresolved", "--json")[1])[0]["call_id"] == held.call_id
    code, _, _ = run("budget", "resolve", held.call_id, *how, "--reason", "looked it up")
    assert code == 0
    balance = stands(rules, org)
    assert (balance.posted, balance.held, balance.unresolved) == (posted, 0, 0)
    assert json.loads(run("budgets", "--unresolved", "--json")[1]) == []
    assert run("budget", "resolve", held.call_id, *how, "--reason", "again")[0] == 1


def test_what_a_dead_lease_held_is_resolved_by_hand(rules: Path, run: Run) -> None:
    org = account("org", limit=10 * USD)
    dead = SQLiteLedger(rules)
    leased = LeasedLedger(dead, dead, dead, holder=dead.holder)
    leased.hold(hold((org, 100)))
    dead.close()
    SQLiteLedger(rules).sweep()
    (open_hold,) = LedgerReader(rules / LEDGER_FILE).open_holds()
    run("budget", "resolve", open_hold.call_id, "--nothing", "--reason", "killed at start")
    balance = stands(rules, org)
    assert (balance.posted, balance.held, balance.unresolved) == (0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["raise", "nothing", "--by", "1 USD"], "there are: org, customer, tokens"),
        (["raise", "customer", "--by", "1 USD"], "--for customer=…"),
        (["raise", "org", "--for", "customer=acme", "--by", "1 USD"], "no --for"),
        (["raise", "tokens", "--by", "1 USD"], "counts tokens"),
        (["raise", "org", "--by", "lots"], "expected an amount"),
        (["resolve", "nobody", "--all"], "budgets --unresolved"),
    ],
)
def test_what_can_not_be_meant_says_what_can(
    rules: Path, run: Run, arguments: list[str], says: str
) -> None:
    SQLiteLedger(rules).open()
    code, _, said = run("budget", *arguments, "--reason", "why not")
    assert code == 1
    assert says in said


@pytest.mark.parametrize(
    ("command", "options", "left"),
    [
        ("raise", ("--by", "2 USD"), "5 USD left"),
        ("set", ("--left", "4 USD"), "4 USD left"),
        ("reset", (), "10 USD left"),
    ],
)
def test_a_rolling_budget_is_adjusted_in_every_window_in_force(
    home: Path, run: Run, command: str, options: tuple[str, ...], left: str
) -> None:
    (home / "tollspan.yaml").write_text(
        "version: 1\nbudgets: [{id: fast, limit: 10 USD, window: {rolling: 90d}}]\n"
    )
    keys, _ = periods(Window(every="rolling", seconds=90 * 86_400), time.time_ns())
    for number, key in enumerate(keys):
        spend(home, account("fast", limit=10 * USD, period=key), (number + 1) * USD)
    code, said, _ = run("budget", command, "fast", *options, "--reason", "x")
    assert code == 0
    assert said == f"fast (last 90d): {left}\n"
