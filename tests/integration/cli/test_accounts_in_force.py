"""Commands over accounts go by the authority in force, and say the same where it can't be had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.contract.authority.making import Holder
from tests.contract.ledger.making import account
from tests.integration.cli.conftest import Run
from tollspan.budget import LeaseSettings
from tollspan.ledger import LEDGER_FILE, open_authority

RULES = "version: 1\nbudgets: [{id: all, limit: 1 USD}]\n"
OVER_ACCOUNTS = (
    ("budgets",),
    ("budgets", "--unresolved"),
    ("budget", "raise", "all", "--by", "1 USD", "--reason", "r"),
    ("budget", "set", "all", "--left", "1 USD", "--reason", "r"),
    ("budget", "reset", "all", "--reason", "r"),
    ("budget", "resolve", "me/1", "--nothing", "--reason", "r"),
    ("authority", "status"),
    ("authority", "open"),
    ("authority", "fill"),
)


@pytest.fixture(autouse=True)
def rules(home: Path) -> None:
    (home / "tollspan.yaml").write_text(RULES)


@pytest.mark.parametrize("command", OVER_ACCOUNTS, ids=" ".join)
def test_an_authority_out_of_reach_is_said_by_each_in_the_same_words(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TOLLSPAN_AUTHORITY", "redis://me:hush@127.0.0.1:1/0")
    code, _, said = run(*command)
    assert code == 1
    assert "redis://127.0.0.1:1/0 can't be used" in said
    assert "hush" not in said


@pytest.mark.parametrize("command", OVER_ACCOUNTS, ids=" ".join)
def test_an_address_that_is_none_is_said_by_each_in_the_same_words(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TOLLSPAN_AUTHORITY", "redis://127.0.0.1:1/0?retries=3")
    code, _, said = run(*command)
    assert code == 1
    assert "unknown key 'retries'" in said


@pytest.mark.parametrize("command", [one for one in OVER_ACCOUNTS if one[0] == "authority"])
def test_what_nobody_shares_is_nothing_to_open(run: Run, command: tuple[str, ...]) -> None:
    code, _, said = run(*command)
    assert (code, "nobody else shares" in said) == (1, True)


def test_accounts_in_the_memory_of_processes_are_nothing_to_adjust(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLSPAN_AUTHORITY", "memory:")
    code, _, said = run("budget", "raise", "all", "--by", "1 USD", "--reason", "r")
    assert (code, "memory:" in said) == (1, True)
    assert not (home / LEDGER_FILE).exists()


@pytest.mark.service
def test_a_host_that_made_no_call_sees_what_others_have_used_and_leased(
    home: Path, run: Run, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLSPAN_AUTHORITY", redis_url)
    authority = open_authority(redis_url, LeaseSettings())
    authority.open_epoch()
    place = account("all", limit=10**9)
    other = Holder(authority)
    other.has(place, 400_000_000)
    other.spends(place, 100_000_000)
    authority.close()
    (row,) = json.loads(run("budgets", "--json")[1])
    assert (row["posted"], row["held"], row["leased"]) == ("0.1", "0.3", "0.3")
    assert row["remaining"] == "0.6"
    assert not (home / LEDGER_FILE).exists()
