"""What a server tells beside its verdicts: used-up accounts and other rules, in force at once."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.contract.ledger.making import account, charge, event, new_id
from tests.e2e import spending
from tests.fakes import FakeOpenAI
from tests.fakes.ingest import FakeIngest
from tests.fakes.rule_server import FakeRules
from tollspan.budget import Flag
from tollspan.exporter import Heeder, RuleFetcher, Shipper
from tollspan.launch import Installed, install_or_raise, read_settings, uninstall
from tollspan.ledger import SQLiteLedger
from tollspan.usage import BudgetExceededError

ORG = account("org", limit=10**15)
USED_UP: dict[str, Any] = {
    "budget_id": "all",
    "limit": "5000000000",
    "spent": "5000000001",
    "held": "0",
}
ALL = {("all", "", "", "usd"): Flag(limit=5 * 10**9, spent=5 * 10**9 + 1, held=0)}


@pytest.fixture
def ingest() -> Iterator[FakeIngest]:
    with FakeIngest() as server:
        yield server


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SQLiteLedger]:
    ledger = SQLiteLedger(tmp_path)
    yield ledger
    ledger.close()


def ship_one(ingest: FakeIngest, ledger: SQLiteLedger, heeder: Heeder) -> int:
    """Store an event and send it, hearing what comes back."""
    ledger.post(event(new_id(), charge(ORG, posted=1), cost=1), None)
    return Shipper(ledger, ingest.root_url, ingest.key, heeder=heeder).ship()


def heeder_of(ingest: FakeIngest, ledger: SQLiteLedger, **more: Any) -> Heeder:
    return Heeder(ledger.home, ingest.root_url, **more)


def test_another_process_of_the_host_hears_which_accounts_are_used_up(
    ingest: FakeIngest, ledger: SQLiteLedger
) -> None:
    sends, other = heeder_of(ingest, ledger), heeder_of(ingest, ledger)
    told: list[object] = []
    sends.on_change = lambda: told.append(sends.look())
    assert ship_one(ingest, ledger, sends) == 1
    assert (other.look(), other.exceeded(), told) == (None, 0, [])
    ingest.tells = {"exceeded": [USED_UP]}
    ship_one(ingest, ledger, sends)
    assert (told, other.look(), other.look(), other.exceeded()) == ([ALL], ALL, None, 1)
    ship_one(ingest, ledger, sends)
    assert (len(told), other.look()) == (1, None)  # nothing new
    ingest.tells = {}
    ship_one(ingest, ledger, sends)
    assert other.exceeded() == 1  # it says nothing: what it said last counts
    ingest.tells = {"exceeded": []}
    ship_one(ingest, ledger, sends)
    assert (other.look(), other.exceeded()) == ({}, 0)


def test_what_one_server_says_is_not_for_those_who_send_to_another(
    ingest: FakeIngest, ledger: SQLiteLedger
) -> None:
    ingest.tells = {"exceeded": [USED_UP]}
    ship_one(ingest, ledger, heeder_of(ingest, ledger))
    assert Heeder(ledger.home, "https://other.example").look() is None
    assert heeder_of(ingest, ledger).look() == ALL  # a process that starts later


@pytest.mark.parametrize(
    "tells",
    [
        {"exceeded": "all"},
        {"exceeded": [{"budget_id": "all"}]},
        {"exceeded": [{**USED_UP, "limit": "much"}]},
        {"rules": 7},
    ],
)
def test_what_makes_no_sense_is_said_and_keeps_no_event_back(
    ingest: FakeIngest,
    ledger: SQLiteLedger,
    caplog: pytest.LogCaptureFixture,
    tells: dict[str, object],
) -> None:
    ingest.tells = tells
    heeder = heeder_of(ingest, ledger)
    with caplog.at_level(logging.WARNING):
        assert ship_one(ingest, ledger, heeder) == 1
    assert "what it tells of budgets and rules can't be read" in caplog.text
    assert heeder.look() is None


def test_other_rules_end_what_was_heard_before_them_and_a_time_to_come_ends_nothing(
    ingest: FakeIngest, ledger: SQLiteLedger, tmp_path: Path
) -> None:
    document = tmp_path / "tollspan.yaml"
    document.write_text("version: 1\n")
    heeder = heeder_of(ingest, ledger, document=document)
    ingest.tells = {"exceeded": [USED_UP]}
    ship_one(ingest, ledger, heeder)
    assert heeder.look() == ALL
    now = time.time_ns()
    os.utime(document, ns=(now, now + 3600 * 10**9))
    assert (heeder.look(), heeder.exceeded()) == (None, 1)
    os.utime(document, ns=(now, time.time_ns()))
    assert (heeder.look(), heeder.exceeded()) == ({}, 0)


def test_rules_that_the_server_names_are_fetched_at_once_and_once(
    ingest: FakeIngest, ledger: SQLiteLedger
) -> None:
    with FakeRules("version: 1\n") as rules:
        fetcher = RuleFetcher(rules.url, ledger.home, every_seconds=3600)
        fetcher.refresh()
        heeder = heeder_of(ingest, ledger, fetcher=fetcher)
        changes: list[int] = []
        heeder.on_change = lambda: changes.append(1)
        ingest.tells = {"rules": fetcher.known().etag}
        ship_one(ingest, ledger, heeder)
        assert (len(rules.asked), changes) == (1, [])
        rules.text = "version: 1\nbudgets: [{id: all, limit: 1 USD}]\n"
        ingest.tells = {"rules": '"of a replica that is behind"'}
        for _ in range(3):
            ship_one(ingest, ledger, heeder)
        assert (len(rules.asked), changes) == (2, [1])
        ingest.tells = {"rules": fetcher.known().etag}
        ship_one(ingest, ledger, heeder)
        assert len(rules.asked) == 2


def test_what_comes_with_new_rules_is_of_these_rules(
    ingest: FakeIngest, ledger: SQLiteLedger
) -> None:
    with FakeRules("version: 1\n") as rules:
        fetcher = RuleFetcher(rules.url, ledger.home)
        document = next(iter(_copies(fetcher)))
        heeder = heeder_of(ingest, ledger, fetcher=fetcher, document=document)
        ingest.tells = {"rules": '"new"', "exceeded": [USED_UP]}
        ship_one(ingest, ledger, heeder)
        assert document.exists()
        assert heeder.look() == ALL


def _copies(fetcher: RuleFetcher) -> list[Path]:
    return [fetcher._copy]


def ask(fake: FakeOpenAI) -> None:
    with OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client:
        spending.ask(client, 0, size=8)


def installed(ingest: FakeIngest, home: Path) -> Installed:
    (home / "tollspan.yaml").write_text(
        "version: 1\nhosts: {127.0.0.1: openai}\nbudgets: [{id: all, limit: 100 USD}]\n"
    )
    return install_or_raise(
        read_settings(
            {
                "TOLLSPAN_HOME": str(home),
                "TOLLSPAN_CONFIG": str(home / "tollspan.yaml"),
                "TOLLSPAN_ENDPOINT": ingest.root_url,
                "TOLLSPAN_API_KEY": ingest.key,
                "TOLLSPAN_AUTHORITY": "sqlite:",
            }
        )
    )


def test_the_next_call_of_a_program_is_denied_until_the_server_takes_it_back(
    ingest: FakeIngest, tmp_path: Path
) -> None:
    ingest.tells = {"exceeded": [USED_UP]}
    with FakeOpenAI() as fake:
        installed(ingest, tmp_path)
        try:
            ask(fake)  # nothing was said yet
            _wait_for(ingest, 1)
            with pytest.raises(BudgetExceededError) as caught:
                _ask_until_denied(fake)
            assert caught.value.source == "ingest_flag"
            hits = fake.hits
            with pytest.raises(BudgetExceededError):
                ask(fake)
            assert fake.hits == hits
            ingest.tells = {"exceeded": []}
            _ask_until_let_through(fake)
        finally:
            uninstall()


def _wait_for(ingest: FakeIngest, count: int) -> None:
    give_up_at = time.monotonic() + 20
    while len(ingest.stored) < count:
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def _ask_until_denied(fake: FakeOpenAI) -> None:
    for _ in range(100):
        ask(fake)
        time.sleep(0.05)


def _ask_until_let_through(fake: FakeOpenAI) -> None:
    """Each refusal is sent too, and what comes back is heard."""
    give_up_at = time.monotonic() + 20
    while time.monotonic() < give_up_at:
        try:
            return ask(fake)
        except BudgetExceededError:
            time.sleep(0.05)
    raise AssertionError("it is denied still")
