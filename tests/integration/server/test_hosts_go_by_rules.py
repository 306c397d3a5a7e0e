"""Hosts that know a server and a key, and nothing else: its rules, and its books for the money."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from openai import OpenAI

from tests import harness
from tests.e2e import spending
from tests.fakes import FakeOpenAI
from tests.fakes.ingest import FakeIngest
from tests.integration.cli.conftest import Run, home, run
from tests.serving import RunningServer, running_server
from tollspan.cli import _checks_otel
from tollspan.exporter import HttpAuthority
from tollspan.launch import check_or_raise, install_or_raise, read_settings, uninstall
from tollspan.ledger.central import Scope
from tollspan.usage import BudgetExceededError, ConfigError, GateUnavailableError, LedgerError

__all__ = ["home", "run"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}") as running:
        yield running


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no tollspan.yaml, and no try of the launcher of OpenTelemetry."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_checks_otel, "auto_launch_problem", lambda: None)


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as running:
        yield running


def put(server: RunningServer, tenant: str, limit: str) -> None:
    text = f"version: 1\nhosts: {{127.0.0.1: openai}}\nbudgets: [{{id: all, limit: {limit} USD}}]\n"
    headers = {"Content-Type": "application/yaml"}
    key = server.make_key(tenant, "admin")
    assert (
        server.ask("PUT", "/v1/rules", key=key, data=text.encode(), headers=headers).status == 201
    )


def environ(url: str, key: str, home: Path) -> dict[str, str]:
    """Return all that a host has to be told; its calls may wait for a busy machine."""
    return {
        "TOLLSPAN_HOME": str(home),
        "TOLLSPAN_ENDPOINT": url,
        "TOLLSPAN_API_KEY": key,
        "TOLLSPAN_ACQUIRE_TIMEOUT": "20",
    }


@contextmanager
def host(url: str, key: str, home: Path) -> Iterator[None]:
    install_or_raise(read_settings(environ(url, key, home)))
    try:
        yield
    finally:
        uninstall()


def ask(fake: FakeOpenAI) -> None:
    with OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client:
        spending.ask(client, 0, size=8)


def ask_until_refused(fake: FakeOpenAI) -> None:
    for _ in range(1_000):
        try:
            ask(fake)
        except BudgetExceededError:
            return
    raise AssertionError("nothing was refused")


def until(fake: FakeOpenAI, wanted: type[Exception] | None) -> None:
    """Make calls until one ends so: each event's answer names the rules in force."""
    ends_at = time.monotonic() + 30
    found: object = object
    while found is not wanted:
        assert time.monotonic() < ends_at, f"the last call ended by {found}"
        time.sleep(0.1)
        try:
            ask(fake)
        except (BudgetExceededError, GateUnavailableError) as error:
            found = type(error)
        else:
            found = None


def test_rules_on_the_server_are_in_force_within_seconds_of_being_put_or_changed(
    server: RunningServer, fake: FakeOpenAI, tmp_path: Path
) -> None:
    with host(server.url, server.make_key("ada", "ingest"), tmp_path / "host"):
        until(fake, None)  # there are no rules
        put(server, "ada", "0")
        until(fake, BudgetExceededError)
        hits = fake.hits
        put(server, "ada", "100")
        until(fake, None)
    assert fake.hits == hits + 1


def test_hosts_with_keys_of_a_tenant_share_its_budgets_and_others_have_their_own(
    server: RunningServer, fake: FakeOpenAI, tmp_path: Path
) -> None:
    billed: dict[str, int] = {}
    for tenant in ("bob", "cleo"):
        put(server, tenant, "0.0006")
        before = fake.billed_nanousd
        key = server.make_key(tenant, "ingest")
        for name in ("a", "b"):
            with host(server.url, key, tmp_path / f"{tenant}-{name}"):
                ask_until_refused(fake)
        billed[tenant] = fake.billed_nanousd - before
        (stands,) = HttpAuthority(server.url, key=key).balances(
            [harness.balance(tmp_path / f"{tenant}-a").account]
        )
        assert (stands.posted, stands.held, stands.unresolved) == (billed[tenant], 0, 0)
    assert 0 < min(billed.values()) <= max(billed.values()) <= 600_000


def test_a_program_starts_strictly_with_rules_from_the_server_and_not_without(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ(server.url, server.make_key("dora", "ingest"), tmp_path).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="has none for this key"):
        check_or_raise()
    put(server, "dora", "1")
    monkeypatch.setenv("TOLLSPAN_HOME", str(tmp_path / "another"))  # this one has just asked
    check_or_raise()


def test_doctor_and_config_check_say_whose_rules_and_whose_books(
    server: RunningServer, home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ(server.url, server.make_key("emil", "ingest"), home).items():
        monkeypatch.setenv(name, value)
    assert "has no rules for this key" in run("doctor")[1]
    put(server, "emil", "1")
    (home / "rules").rename(home / "before")
    said = " ".join(run("doctor")[1].split())
    assert "of the ingest server, TOLLSPAN_ENDPOINT" in said
    assert f"{server.url}, named by TOLLSPAN_ENDPOINT" in said
    assert "of the ingest server, TOLLSPAN_ENDPOINT" in run("config", "check")[1]
    (home / "tollspan.yaml").write_text("version: 1\nbudgets: [{id: own, limit: 1 USD}]\n")
    code, said, _ = run("config", "check")
    assert code == 0
    assert f"found in TOLLSPAN_HOME; those of {server.url} are not asked for" in said


@pytest.mark.parametrize(
    ("scope", "rules", "money"),
    [
        pytest.param("read", "it has none for this key", "but not ingest", id="may not spend"),
        pytest.param(None, "is none that it knows", "none that is good here", id="unknown"),
    ],
)
def test_a_key_that_will_not_do_is_said_to_be_the_matter(
    server: RunningServer,
    home: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    scope: Scope | None,
    rules: str,
    money: str,
) -> None:
    key = "tsp_0123abcd_nobodys" if scope is None else server.make_key("fay", scope)
    for name, value in environ(server.url, key, home).items():
        monkeypatch.setenv(name, value)
    code, said, _ = run("doctor", "--json")
    found = {one["id"]: one for one in json.loads(said)["checks"]}
    assert code == 1
    assert rules in found["rules.address"]["text"]
    assert found["authority"]["status"] == "problem"
    assert money in found["authority"]["text"]
    assert "TOLLSPAN_API_KEY" in found["authority"]["text"]
    assert key not in said


def test_a_server_that_is_too_old_to_hold_budgets_is_named_and_lets_no_call_through(
    fake: FakeOpenAI, home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeIngest() as old:
        for name, value in environ(old.root_url, old.key, home).items():
            monkeypatch.setenv(name, value)
        (home / "tollspan.yaml").write_text(
            "version: 1\nhosts: {127.0.0.1: openai}\nbudgets: [{id: all, limit: 1 USD}]\n"
        )
        assert f"{old.root_url} has no /v1/leases" in " ".join(run("doctor")[1].split())
        with pytest.raises(LedgerError, match="no /v1/leases"):
            check_or_raise()
        with host(old.root_url, old.key, home), pytest.raises(GateUnavailableError):
            ask(fake)
        assert fake.hits == 0


def test_the_servers_own_commands_need_no_server_and_no_key(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLSPAN_ENDPOINT", "http://127.0.0.1:9")
    code, said, _ = run("keys", "create", "--scopes", "ingest")
    assert code == 0
    assert said.startswith("tsp_")
    assert (home / "server.db").exists()
