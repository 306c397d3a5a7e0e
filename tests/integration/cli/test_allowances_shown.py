"""`tollspan budgets` and allowances: what was spent while no budget could be asked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.contract.ledger.making import charge, event, new_id
from tests.integration.cli.conftest import Run
from tollspan.budget import (
    Account,
    Allowance,
    Lease,
    LeaseSettings,
    Lessor,
    Settlement,
    Want,
    parse_rules,
    period,
)
from tollspan.ledger import SQLiteLedger, open_authority

RULES = """\
version: 1
defaults: {on_unavailable: {allow_up_to: 5%}}
budgets:
  - {id: org, limit: 100 USD, window: month, warn_at: [0.01]}
  - {id: searches, limit: 40 calls}
  - {id: soft, limit: 1 USD, on_exceed: warn}
"""
USD = 1_000_000_000


@pytest.fixture
def org(home: Path) -> Account:
    """Write the rules; return the account of this month."""
    (home / "tollspan.yaml").write_text(RULES)
    (budget, *_) = parse_rules(RULES).budgets
    key, _ = period(budget.window, time.time_ns())
    return Account(budget_id="org", scope="", period=key, limit=budget.limit)


def beside(account: Account) -> Account:
    """Name the account of its allowance."""
    rule = parse_rules(RULES).on_unavailable
    assert isinstance(rule, Allowance)
    return rule.beside(account)


def grant_a_slice(lessor: Lessor, account: Account) -> Lease:
    """Grant somebody a slice of 0.30 USD."""
    lease = Lease(holder="allowance-1")
    want = Want(account=beside(account), known=0, need=300_000_000, wish=300_000_000, part=1)
    lessor.grant(lease, [want])
    return lease


def rows(run: Run, *options: str) -> list[dict[str, Any]]:
    code, output, errors = run("budgets", "--json", *options)
    assert (code, errors) == (0, "")
    found: list[dict[str, Any]] = json.loads(output)
    return found


def test_what_an_outage_cost_is_shown_beside_its_budget(home: Path, run: Run, org: Account) -> None:
    ledger = SQLiteLedger(home)
    lease = grant_a_slice(ledger, org)
    spent = event(new_id(), charge(beside(org), posted=200_000_000))
    ledger.post(event(new_id(), charge(org, posted=7 * USD)), None)
    ledger.post(msgspec.structs.replace(spent, lease_id=lease.id), None)
    found = rows(run)
    assert [(one["budget"], one["is_allowance"]) for one in found] == [
        ("org", False),
        ("org", True),
        ("searches", False),
        ("soft", False),
    ]
    unasked = found[1]
    assert (unasked["limit"], unasked["posted"], unasked["held"]) == ("5", "0.2", "0.1")
    assert unasked["remaining"] == "4.7"
    assert (unasked["period"], unasked["resets_at"]) == (org.period, found[0]["resets_at"])
    assert f"{org.period} (allowance)" in run("budgets")[1]
    ledger.close()


def test_an_allowance_of_which_nobody_has_anything_is_not_shown(
    home: Path, run: Run, org: Account
) -> None:
    ledger = SQLiteLedger(home)
    ledger.balances([org])
    ledger.post(event(new_id(), charge(beside(org), posted=0)), None)
    ledger.close()
    assert [one["is_allowance"] for one in rows(run)] == [False, False, False]
    assert [one["is_allowance"] for one in rows(run, "--all")].count(True) == 1


@pytest.mark.service
def test_a_shared_authority_is_asked_for_allowances_that_this_host_never_had(
    home: Path, run: Run, org: Account, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{redis_url}?name=allowances"
    monkeypatch.setenv("TOLLSPAN_AUTHORITY", url)
    run("authority", "open")
    SQLiteLedger(home).open()
    authority = open_authority(url, LeaseSettings(wait_seconds=5))
    lease = grant_a_slice(authority, org)
    authority.settle(
        [
            Settlement(
                call_id=new_id(),
                lease_id=lease.id,
                charges=(charge(beside(org), posted=200_000_000),),
            )
        ]
    )
    (unasked,) = [one for one in rows(run) if one["is_allowance"]]
    assert (unasked["budget"], unasked["limit"]) == ("org", "5")
    assert (unasked["posted"], unasked["held"]) == ("0.2", "0.1")
    authority.close()
