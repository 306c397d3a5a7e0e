"""`tollspan authority` over a real Redis: opened, lost, filled from events, and opened again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from openai import OpenAI

from tests import harness
from tests.e2e import spending
from tests.e2e.test_law1_many_hosts import PATIENCE, standing
from tests.fakes import FakeOpenAI
from tests.integration.cli.conftest import Run
from tests.services import RedisServer
from tollspan.budget import Account, Lease, LeaseSettings, Want
from tollspan.launch import install_or_raise, read_settings, uninstall
from tollspan.ledger import SQLiteLedger, open_authority
from tollspan.usage import GateUnavailableError, to_decimal

pytestmark = pytest.mark.service


def test_an_authority_that_nobody_shares_is_nothing_to_open(run: Run) -> None:
    code, _, said = run("authority", "open")
    assert code == 1
    assert "TOLLSPAN_AUTHORITY" in said


def test_an_authority_is_open_once(
    run: Run, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLSPAN_AUTHORITY", redis_url)
    code, said, _ = run("authority", "status", "--json")
    assert (code, json.loads(said)["epoch"]) == (1, None)
    assert run("authority", "open")[0] == 0
    first = json.loads(run("authority", "status", "--json")[1])["epoch"]
    assert first is not None
    code, said, _ = run("authority", "open")
    assert code == 0
    assert "is open since" in said
    assert json.loads(run("authority", "status", "--json")[1])["epoch"] == first
    run("authority", "open", "--anew")
    assert json.loads(run("authority", "status", "--json")[1])["epoch"] > first


def test_what_a_lost_authority_knew_comes_back_from_the_events(
    home: Path, run: Run, redis_server: RedisServer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLSPAN_AUTHORITY", redis_url)
    run("authority", "open")
    with FakeOpenAI() as fake:
        with harness.installed(home, TOLLSPAN_AUTHORITY=redis_url, TOLLSPAN_ACQUIRE_TIMEOUT="5"):
            client = OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0)
            for number in range(3):
                spending.ask(client, number, size=8)
        assert standing(redis_url, 10**11).posted == fake.billed_nanousd > 0
        redis_server.ask("FLUSHALL")
        with harness.installed(home, TOLLSPAN_AUTHORITY=redis_url, TOLLSPAN_ACQUIRE_TIMEOUT="5"):
            with pytest.raises(GateUnavailableError, match="tollspan authority open"):
                spending.ask(client, 3, size=8)
            client.close()
        code, said, _ = run("authority", "fill")
        assert code == 0
        assert "3 events" in said
        run("authority", "fill")
        assert standing(redis_url, 10**11).posted == fake.billed_nanousd
        run("authority", "open")
        assert run("authority", "status")[0] == 0
        with harness.installed(home, TOLLSPAN_AUTHORITY=redis_url, TOLLSPAN_ACQUIRE_TIMEOUT="5"):
            client = OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0)
            spending.ask(client, 4, size=8)
            client.close()
        assert standing(redis_url, 10**11).posted == fake.billed_nanousd


def test_the_rules_may_name_the_authority(home: Path, run: Run, redis_url: str) -> None:
    with FakeOpenAI() as fake:
        harness.write_rules(
            home,
            text=f"""
            version: 1
            authority: {redis_url}
            budgets: [{{id: all, limit: 100 USD}}]
            hosts: {json.dumps(dict.fromkeys(harness.HOSTS, "openai"))}
            """,
        )
        assert run("authority", "open")[0] == 0
        install_or_raise(read_settings({"TOLLSPAN_HOME": str(home), **PATIENCE}))
        try:
            client = OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0)
            spending.ask(client, 0, size=8)
            client.close()
        finally:
            uninstall()
        assert standing(redis_url, 10**11).posted == fake.billed_nanousd > 0


def test_budgets_are_shown_and_adjusted_as_all_hosts_have_them(
    home: Path, tmp_path: Path, run: Run, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLSPAN_AUTHORITY", redis_url)
    run("authority", "open")
    with FakeOpenAI() as fake:
        for number, where in enumerate((tmp_path / "elsewhere", home)):
            with harness.installed(
                where, limit="1", TOLLSPAN_AUTHORITY=redis_url, TOLLSPAN_ACQUIRE_TIMEOUT="5"
            ):
                client = OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0)
                spending.ask(client, number, size=8)
                client.close()
        billed = fake.billed_nanousd
    (row,) = json.loads(run("budgets", "--json")[1])
    assert (row["budget"], row["limit"], row["held"]) == ("all", "1", "0")
    assert row["posted"] == to_decimal(billed, "usd")
    code, said, _ = run("budget", "set", "all", "--left", "0.25 USD", "--reason", "agreed")
    assert (code, said) == (0, "all (lifetime): 0.25 USD left\n")
    assert standing(redis_url, 10**9).posted == 750_000_000


def test_what_an_ended_lease_left_is_listed_and_resolved_from_any_host(
    home: Path, run: Run, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLSPAN_AUTHORITY", redis_url)
    harness.write_rules(home, limit="1")
    run("authority", "open")
    SQLiteLedger(home).open()
    ended = open_authority(redis_url, LeaseSettings(life_seconds=0.2, drift_seconds=0.05))
    account = Account(budget_id="all", scope="", period="", limit=10**9)
    ended.grant(Lease(holder="gone"), [Want(account=account, known=0, need=500, wish=500)])
    give_up_at = time.monotonic() + 10
    while ended.expire() == 0:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    ended.close()
    (row,) = json.loads(run("budgets", "--unresolved", "--json")[1])
    assert (row["call_id"], row["amount"]) == ("gone/1", "0.0000005")
    code, _, _ = run(
        "budget", "resolve", "gone/1", "--spent", "0.0000002 USD", "--reason", "the bill says so"
    )
    assert code == 0
    assert json.loads(run("budgets", "--unresolved", "--json")[1]) == []
    balance = standing(redis_url, 10**9)
    assert (balance.posted, balance.held, balance.unresolved) == (200, 0, 0)
