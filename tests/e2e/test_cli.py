"""The command line, as a person uses it after a program ran."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jsonschema
import pytest

from tests.fakes import FakeAnthropic, FakeOpenAI, Reply
from tests.harness import environment, program, run, write_rules
from tollspan.cli import _checks_sdks, event_schema, main
from tollspan.launch import SDKS

TOLLSPAN = str(Path(sys.executable).parent / "tollspan")
PROGRAM = """
    from openai import OpenAI
    client = OpenAI(max_retries=0)
    for _ in range(4):
        try:
            client.chat.completions.create(
                model="gpt-4o-mini", max_tokens=200, messages=[{"role": "user", "content": "Hi"}]
            )
        except Exception as error:
            print(type(error).__name__)
    client.close()
"""
LEFT_OUT = """
    from anthropic import AnthropicFoundry
    with AnthropicFoundry(api_key="k", max_retries=0) as client:
        for _ in range(3):
            client.messages.create(
                model="claude-haiku-4-5", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
            )
"""


@pytest.fixture(scope="module")
def after_a_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Three calls that fit 0.0007 USD and one that does not; the environment to look at them."""
    home = tmp_path_factory.mktemp("home")
    write_rules(home, limit="0.0007")
    with FakeOpenAI(default=Reply(output_tokens=150)) as fake:
        env = environment(
            home, fake.base_url, TOLLSPAN_CUSTOMER="acme", TOLLSPAN_TAGS="tier=free,region=eu"
        )
        done = run(program(PROGRAM), env)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "BudgetExceededError\n"
        assert fake.hits == 3
        env["BILLED"] = str(fake.billed_nanousd)
        yield env


def tollspan(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run([TOLLSPAN, *arguments], env)


def test_events_are_listed_in_order_with_the_refusal_last(after_a_run: dict[str, str]) -> None:
    done = tollspan(after_a_run, "events", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["type"] for event in events] == ["usage"] * 3 + ["decision"]
    assert sum(int(event["cost_nanousd"]) for event in events) == int(after_a_run["BILLED"])
    assert {event["customer"] for event in events} == {"acme"}
    assert [event["tags"] for event in events] == [{"tier": "free", "region": "eu"}] * 4
    assert {event["operation"] for event in events} == {"chat"}
    assert [event["output_tokens"] for event in events] == [150, 150, 150, None]
    assert events[3]["error_type"] == "tollspan.budget_exceeded"
    assert (events[3]["limit"], events[3]["unit"]) == ("0.0007", "USD")
    assert "denied" in tollspan(after_a_run, "events", "-n", "1").stdout
    validator = jsonschema.Draft202012Validator(event_schema())
    for event in events:
        validator.validate(event)


def test_the_report_sums_to_the_bill(after_a_run: dict[str, str]) -> None:
    done = tollspan(after_a_run, "report", "--by", "customer,model", "--json")
    (row,) = json.loads(done.stdout)
    assert row["customer"] == "acme"
    assert (row["calls"], row["denied"]) == (3, 1)
    assert row["cost_nanousd"] == after_a_run["BILLED"]
    assert "gpt-4o-mini" in tollspan(after_a_run, "report").stdout


def test_the_report_is_split_by_tags_and_shows_what_has_no_owner(
    after_a_run: dict[str, str],
) -> None:
    done = tollspan(after_a_run, "report", "--by", "tag.tier,customer,tag.none", "--json")
    (row,) = json.loads(done.stdout)
    assert (row["tag.tier"], row["customer"], row["tag.none"]) == ("free", "acme", "unattributed")
    assert row["cost_nanousd"] == after_a_run["BILLED"]
    table = tollspan(after_a_run, "report", "--by", "tag.tier,user").stdout
    assert re.search(r"^free +unattributed +3 ", table, re.MULTILINE)


@pytest.mark.parametrize("name", ["planet", "tag.", "tag.a b", "tag.a'b"])
def test_a_dimension_that_is_not_known_is_named(after_a_run: dict[str, str], name: str) -> None:
    done = tollspan(after_a_run, "report", "--by", f"model,{name}")
    assert done.returncode == 2
    assert "unknown dimension" in done.stderr
    assert "tag.tier say" in done.stderr


def test_budgets_show_what_is_left(after_a_run: dict[str, str]) -> None:
    (row,) = json.loads(tollspan(after_a_run, "budgets", "--json").stdout)
    assert row["budget"] == "all"
    assert Decimal(row["posted"]) * 10**9 == Decimal(after_a_run["BILLED"])
    assert row["held"] == row["unresolved"] == "0"
    assert Decimal(row["remaining"]) * 10**9 == 700_000 - Decimal(after_a_run["BILLED"])
    assert "all" in tollspan(after_a_run, "budgets").stdout


def doctors(env: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return the doctor's checks by id; it finds no problem."""
    done = tollspan(env, "doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return {check["id"]: check for check in json.loads(done.stdout)["checks"]}


def test_the_doctor_finds_nothing_bad(after_a_run: dict[str, str]) -> None:
    found = doctors(after_a_run)
    assert found["rules"]["text"].startswith("1 budget in ")
    assert "1 account, 4 events" in found["ledger"]["text"]


def test_the_doctor_says_of_each_sdk_how_many_methods_are_gated(
    after_a_run: dict[str, str],
) -> None:
    printed = doctors(after_a_run)
    for sdk in SDKS:
        check = printed[f"sdk.{sdk.package}"]
        found = re.search(
            rf"^{sdk.package} {version(sdk.package)} .*: (\d+) methods", check["text"]
        )
        assert check["status"] == "ok"
        assert found is not None
        assert int(found[1]) >= 8
    assert printed["sdk.mcp"]["text"].startswith(f"mcp {version('mcp')} ")


def test_the_doctor_looks_at_an_sdk_that_is_too_old(tmp_path: Path) -> None:
    metadata = tmp_path / "shadow" / "anthropic-0.50.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: anthropic\nVersion: 0.50.0\n")
    env = environment(tmp_path, "http://127.0.0.1:9/v1", PYTHONPATH=str(metadata.parents[1]))
    check = doctors(env)["sdk.anthropic"]
    assert check["status"] == "warning"
    assert check["text"].startswith("anthropic 0.50.0 is not a supported version")


def test_the_doctor_looks_where_no_sdk_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setenv("TOLLSPAN_HOME", str(tmp_path))
    monkeypatch.setattr(_checks_sdks, "version", nothing)
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for package in (*(sdk.package for sdk in SDKS), "mcp"):
        assert f"{package} is not installed in this Python" in printed


def test_the_doctor_names_the_clients_that_are_left_out(tmp_path: Path) -> None:
    write_rules(tmp_path)
    with FakeAnthropic() as fake:
        env = environment(tmp_path, fake.base_url, ANTHROPIC_FOUNDRY_BASE_URL=fake.base_url)
        done = run(program(LEFT_OUT), env)
        assert done.returncode == 0, done.stderr
        assert fake.hits == 3
    check = doctors(env)["sightings.not_metered"]
    assert check["status"] == "warning"
    assert "AnthropicFoundry, 3 times, last 2" in check["text"]


def test_the_doctor_tells_of_programs_that_installed_late(tmp_path: Path) -> None:
    write_rules(tmp_path)
    env = environment(tmp_path, "http://127.0.0.1:9/v1")
    late = "import openai; from tollspan.api import install; install()"
    assert run([sys.executable, "-c", late], env).returncode == 0
    check = doctors(env)["install.order"]
    assert check["status"] == "ok"
    assert "openai, 1 times" in check["text"]


def test_a_rebuilt_ledger_says_the_same(after_a_run: dict[str, str]) -> None:
    before = tollspan(after_a_run, "budgets", "--json").stdout
    done = tollspan(after_a_run, "ledger", "rebuild")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rebuilt" in done.stdout
    assert tollspan(after_a_run, "budgets", "--json").stdout == before


def test_looking_where_nothing_ran_says_so(tmp_path: Path) -> None:
    env = {**os.environ, "TOLLSPAN_HOME": str(tmp_path / "empty")}
    tmp_path.joinpath("empty").mkdir()
    done = run([TOLLSPAN, "budgets"], env)
    assert done.returncode == 1
    assert "no ledger" in done.stderr


def test_the_ledger_is_readable_by_its_owner_only(after_a_run: dict[str, str]) -> None:
    home = Path(after_a_run["TOLLSPAN_HOME"])
    assert home.joinpath("ledger.db").stat().st_mode & 0o777 == 0o600
