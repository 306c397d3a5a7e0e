"""The command line, as a person uses it after a program ran."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import FakeOpenAI, Reply
from tests.harness import environment, program, run, write_rules

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


@pytest.fixture(scope="module")
def after_a_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Three calls that fit 0.0007 USD and one that does not; the environment to look at them."""
    home = tmp_path_factory.mktemp("home")
    write_rules(home, limit="0.0007")
    with FakeOpenAI(default=Reply(output_tokens=150)) as fake:
        env = environment(home, fake.base_url, TOLLSPAN_CUSTOMER="acme")
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
    assert sum(int(event["cost.amount_nanousd"]) for event in events[:3]) == int(
        after_a_run["BILLED"]
    )
    assert {event["call.attribution.customer"] for event in events} == {"acme"}
    assert events[3]["error_type"] == "tollspan.budget_exceeded"
    assert "denied" in tollspan(after_a_run, "events", "-n", "1").stdout


def test_the_report_sums_to_the_bill(after_a_run: dict[str, str]) -> None:
    done = tollspan(after_a_run, "report", "--by", "customer,model", "--json")
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert row["customer"] == "acme"
    assert (row["calls"], row["denied"]) == (3, 1)
    assert row["cost_nanousd"] == after_a_run["BILLED"]
    assert "gpt-4o-mini" in tollspan(after_a_run, "report").stdout


def test_budgets_show_what_is_left(after_a_run: dict[str, str]) -> None:
    (line,) = tollspan(after_a_run, "budgets", "--json").stdout.splitlines()
    row = json.loads(line)
    assert row["budget"] == "all"
    assert row["posted_nanousd"] == after_a_run["BILLED"]
    assert row["held_nanousd"] == row["unresolved_nanousd"] == "0"
    assert int(row["remaining_nanousd"]) == 700_000 - int(after_a_run["BILLED"])
    assert "all" in tollspan(after_a_run, "budgets").stdout


def test_the_doctor_finds_nothing_bad(after_a_run: dict[str, str]) -> None:
    done = tollspan(after_a_run, "doctor")
    assert done.returncode == 0
    assert "BAD" not in done.stdout
    assert "1 budgets" in done.stdout


def test_a_rebuilt_ledger_says_the_same(after_a_run: dict[str, str]) -> None:
    before = tollspan(after_a_run, "budgets", "--json").stdout
    done = tollspan(after_a_run, "ledger", "rebuild")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rebuilt" in done.stdout
    assert tollspan(after_a_run, "budgets", "--json").stdout == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(("report", "--by", "colour"), "unknown dimension 'colour'", id="dimension"),
        pytest.param(("events", "--since", "soon"), "no duration", id="duration"),
        pytest.param(("run",), "which program?", id="run what"),
    ],
)
def test_wrong_use_is_explained(
    after_a_run: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    done = tollspan(after_a_run, *arguments)
    assert done.returncode == 2
    assert says in done.stderr


def test_looking_where_nothing_ran_says_so(tmp_path: Path) -> None:
    env = {**os.environ, "TOLLSPAN_HOME": str(tmp_path / "empty")}
    tmp_path.joinpath("empty").mkdir()
    done = run([TOLLSPAN, "budgets"], env)
    assert done.returncode == 1
    assert "no ledger" in done.stderr


def test_the_ledger_is_readable_by_its_owner_only(after_a_run: dict[str, str]) -> None:
    home = Path(after_a_run["TOLLSPAN_HOME"])
    assert home.joinpath("ledger.db").stat().st_mode & 0o777 == 0o600
