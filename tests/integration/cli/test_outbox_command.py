"""`tollspan outbox`, and what the doctor says of sending."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.ledger.making import account, charge, event, new_id
from tests.fakes.ingest import FakeIngest
from tests.integration.cli.conftest import Run
from tollspan.cli import _checks_otel
from tollspan.ledger import SQLiteLedger


@pytest.fixture
def ingest(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeIngest]:
    with FakeIngest() as server:
        monkeypatch.setenv("TOLLSPAN_ENDPOINT", server.root_url)
        monkeypatch.setenv("TOLLSPAN_API_KEY", server.key)
        yield server


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """A try of the real launcher takes seconds, and is no matter of these tests."""
    monkeypatch.setattr(_checks_otel, "auto_launch_problem", lambda: None)


@pytest.fixture
def ids(home: Path) -> list[str]:
    """Events in the ledger."""
    ledger = SQLiteLedger(home)
    names = [new_id() for _ in range(3)]
    for name in names:
        ledger.post(event(name, charge(account("org", limit=9), posted=1)), None)
    ledger.close()
    return names


def listed(run: Run) -> dict[str, object]:
    code, output, _ = run("outbox", "list", "--json")
    assert code == 0
    found: dict[str, object] = json.loads(output)
    return found


def test_what_waits_is_shown_sent_and_gone(ingest: FakeIngest, ids: list[str], run: Run) -> None:
    found = listed(run)
    assert (found["waiting"], found["dead_letters"]) == (3, [])
    assert found["oldest"] is not None
    assert run("outbox", "send")[:2] == (0, f"3 events sent to {ingest.root_url}, 0 left\n")
    assert list(ingest.stored) == ids
    found = listed(run)
    assert (found["waiting"], found["oldest"], found["problem"]) == (0, None, None)
    assert found["sent_at"] is not None


def test_why_they_wait_is_said(ingest: FakeIngest, ids: list[str], run: Run) -> None:
    ingest.status = 503
    code, _, errors = run("outbox", "send")
    assert code == 1
    assert "it answers 503" in errors
    assert "why they wait: it answers 503" in run("outbox", "list")[1]
    assert f"{len(ids)} events to send to {ingest.root_url}: it answers 503" in run("doctor")[1]


def test_refused_events_are_listed_and_sent_again(
    ingest: FakeIngest, ids: list[str], run: Run
) -> None:
    ingest.refuses = lambda _: "too_old"
    assert run("outbox", "send")[0] == 0
    output = run("outbox", "list")[1]
    assert all(name in output for name in ids)
    assert "too_old" in output
    assert "3 events that" in run("doctor")[1]
    ingest.refuses = lambda _: None
    assert run("outbox", "replay", ids[0])[0] == 0
    assert run("outbox", "replay", "nothing")[0] == 1
    assert run("outbox", "replay")[0] == run("outbox", "replay", ids[0], "--all")[0] == 2
    run("outbox", "send")
    assert list(ingest.stored) == ids[:1]
    assert run("outbox", "replay", "--all")[0] == 0
    run("outbox", "send")
    assert set(ingest.stored) == set(ids)
    assert listed(run)["dead_letters"] == []


def test_without_an_address_events_stay(ids: list[str], run: Run) -> None:
    for command in ("list", "send"):
        code, _, errors = run("outbox", command)
        assert code == 1
        assert "TOLLSPAN_ENDPOINT" in errors
    assert "outbox" not in run("doctor")[1]
    assert ids


def test_an_address_without_a_key_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setenv("TOLLSPAN_ENDPOINT", "https://ingest.example.com")
    assert "TOLLSPAN_API_KEY is not" in run("doctor")[1]
    monkeypatch.setenv("TOLLSPAN_ENDPOINT", "ingest.example.com")
    monkeypatch.setenv("TOLLSPAN_API_KEY", "tsp_1")
    assert "expected https://host" in run("doctor")[1]
    assert home.exists()
