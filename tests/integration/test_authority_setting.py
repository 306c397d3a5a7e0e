"""`TOLLSPAN_AUTHORITY`: budgets of this process alone, in another folder, and none to be had."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai import OpenAI

from tests import harness
from tests.e2e import spending
from tests.fakes import FakeOpenAI
from tollspan.cli import main
from tollspan.launch import check_or_raise, install_or_raise, read_settings, uninstall
from tollspan.usage import BudgetExceededError, ConfigError, GateUnavailableError, LedgerError

# Room for two calls: what a call costs is far below what it may cost.
LIMIT = "0.0006"
WRONG = "redis://127.0.0.1:1/0?no_such_option=1"


def ask_until_refused(fake: FakeOpenAI) -> int:
    """Make calls until one is refused; return how many were made."""
    client = OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0)
    for made in range(1_000):
        try:
            spending.ask(client, made, size=8)
        except BudgetExceededError:
            client.close()
            return made
    raise AssertionError("nothing was refused")


def test_a_budget_in_memory_is_forgotten_with_its_process_and_the_events_stay(
    tmp_path: Path,
) -> None:
    with FakeOpenAI() as fake:
        made = []
        for _ in range(2):
            with harness.installed(tmp_path, limit=LIMIT, TOLLSPAN_AUTHORITY="memory:"):
                made.append(ask_until_refused(fake))
        assert made[0] == made[1] > 0
        assert len(harness.usage_events(tmp_path)) == sum(made) == fake.hits
        assert harness.balance(tmp_path).posted == fake.billed_nanousd


def test_a_ledger_in_another_folder_is_the_one_of_all_who_name_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    with FakeOpenAI() as fake:
        with harness.installed(tmp_path / "a", limit=LIMIT, TOLLSPAN_AUTHORITY=f"sqlite:{shared}"):
            made = ask_until_refused(fake)
        with harness.installed(tmp_path / "b", limit=LIMIT, TOLLSPAN_AUTHORITY=f"sqlite:{shared}"):
            assert ask_until_refused(fake) == 0
        assert len(harness.usage_events(shared)) == made == fake.hits


def test_a_ledger_that_the_document_names_is_beside_it_for_the_program_and_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    harness.write_rules(tmp_path, limit=LIMIT)
    with (tmp_path / "tollspan.yaml").open("a") as document:
        document.write("authority: sqlite:money\n")
    monkeypatch.setenv("TOLLSPAN_HOME", str(tmp_path))
    with FakeOpenAI() as fake:
        try:
            install_or_raise(read_settings())
            made = ask_until_refused(fake)
        finally:
            uninstall()
    assert len(harness.usage_events(tmp_path / "money")) == made == fake.hits > 0
    assert main(["events", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == made + 1  # and the refusal
    assert main(["doctor"]) in (0, 1)
    assert f"{tmp_path / 'money'} can be written" in capsys.readouterr().out


def test_without_the_authority_that_is_named_calls_are_denied_and_strict_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeOpenAI() as fake:
        with harness.installed(tmp_path, TOLLSPAN_AUTHORITY=WRONG) as installed:
            assert isinstance(installed.problem, ConfigError)
            client = OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0)
            with pytest.raises(GateUnavailableError, match="no_such_option"):
                spending.ask(client, 0, size=8)
            client.close()
        assert fake.hits == 0
    monkeypatch.setenv("TOLLSPAN_HOME", str(tmp_path))
    for address, kind in ((WRONG, ConfigError), ("redis://127.0.0.1:1/0", LedgerError)):
        monkeypatch.setenv("TOLLSPAN_AUTHORITY", address)
        with pytest.raises(kind):
            check_or_raise()
