"""`tollspan authority` over a real Redis: opened, lost, filled from events, and opened again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from openai import OpenAI

from tests import harness
from tests.e2e import spending
from tests.e2e.test_law1_many_hosts import PATIENCE, standing
from tests.fakes import FakeOpenAI
from tests.integration.cli.conftest import Run
from tests.services import RedisServer
from tollspan.launch import install_or_raise, read_settings, uninstall
from tollspan.usage import GateUnavailableError

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
