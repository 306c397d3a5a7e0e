"""`tollspan budget simulate`: the calls of a ledger against rules that are to come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.integration.cli.books import EVERY_KIND, HOUR_NS, NOON_UNIX_NS, call, denied, used, write
from tests.integration.cli.conftest import Run
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.usage import Charge, UsageEvent

RULES = """\
version: 1
budgets:
  - {id: each, per: [customer], limit: 0.00000205 USD}
  - {id: noted, limit: 2 calls, on_exceed: shadow}
"""


@pytest.fixture
def new(home: Path) -> Path:
    """Rules to try, and a ledger with calls of two customers, not in the order of their starts."""
    write(
        home,
        used(call(3, customer="acme")),
        used(call(2, customer="bolt"), nanousd=50),
        used(call(1, customer="acme")),
        used(call(4, customer="acme"), nanousd=700),
        denied(call(5, customer="acme")),
    )
    document = home / "new.yaml"
    document.write_text(RULES)
    return document


def simulated(run: Run, document: Path, *options: str) -> dict[str, Any]:
    code, output, errors = run("budget", "simulate", "--config", str(document), "--json", *options)
    assert (code, errors) == (0, "")
    found: dict[str, Any] = json.loads(output)
    return found


def test_calls_are_refused_by_rule_and_owner(new: Path, run: Run) -> None:
    before = (new.parent / LEDGER_FILE).read_bytes()
    found = simulated(run, new)
    assert (found["calls"], found["cost_nanousd"], found["refused_then"]) == (4, "2750", 1)
    assert found["document"] == str(new)
    by_cost = found["by_cost"]
    assert (by_cost["refused"], by_cost["refused_nanousd"]) == (1, "700")
    assert {(one["rule"], one["action"]): one["calls"] for one in by_cost["rules"]} == {
        ("each", "deny"): 1,
        ("noted", "shadow"): 1,
    }
    (each,) = (one for one in by_cost["rules"] if one["rule"] == "each")
    assert each == {
        "rule": "each",
        "scope": {"customer": "acme"},
        "action": "deny",
        "calls": 1,
        "cost_nanousd": "700",
        "first": "2026-11-22T16:00:00.000000Z",
    }
    by_bounds = found["by_bounds"]
    assert (by_bounds["refused"], by_bounds["refused_nanousd"]) == (4, "2750")
    assert (new.parent / LEDGER_FILE).read_bytes() == before


def test_only_calls_of_the_time_are_replayed(new: Path, run: Run) -> None:
    found = simulated(run, new, "--since", "2026-11-22T15:00:00Z")
    assert (found["calls"], found["by_cost"]["refused"]) == (2, 0)
    assert found["since"] == "2026-11-22T15:00:00.000000Z"
    assert simulated(run, new, "--until", "2026-11-22T15:00:00Z")["calls"] == 2


def test_a_budget_that_stays_has_what_it_had_before(home: Path, run: Run) -> None:
    events = [
        msgspec.structs.replace(
            used(call(number, customer="acme")),
            charges=(Charge(budget_id="org", posted=1_000),),
        )
        for number in range(4)
    ]
    write(home, *events)
    document = home / "tollspan.yaml"
    document.write_text("version: 1\nbudgets:\n  - {id: org, limit: 0.0000035 USD}\n")
    assert simulated(run, document)["by_cost"]["refused"] == 1
    later = simulated(run, document, "--since", "2026-11-22T14:00:00Z")
    assert (later["calls"], later["by_cost"]["refused"]) == (2, 1)
    document.write_text("version: 1\nbudgets:\n  - {id: other, limit: 0.0000035 USD}\n")
    assert simulated(run, document, "--since", "2026-11-22T14:00:00Z")["by_cost"]["refused"] == 0


def test_people_see_sums_by_rule_and_who_is_hit(new: Path, run: Run) -> None:
    code, output, _ = run("budget", "simulate", "--config", str(new))
    assert code == 0
    lines = output.splitlines()
    assert lines[0] == (
        f"{new} over 4 calls of 0.00000275 USD; 1 more were refused then, and are left out"
    )
    assert lines[1].split() == ["by", "cost", "1", "calls", "refused,", "of", "0.0000007", "USD"]
    assert lines[2].split() == ["by", "bounds", "4", "calls", "refused,", "of", "0.00000275", "USD"]
    assert [line.split()[:2] for line in lines if line.startswith(("each", "noted"))] == [
        ["each", "refused"],
        ["noted", "noted"],
        ["each", "customer"],
        ["each", "customer"],
    ]


def test_rules_that_refuse_nothing_say_so(books: Path, run: Run) -> None:
    document = books / "tollspan.yaml"
    document.write_text("version: 1\nbudgets:\n  - {id: org, limit: 100 USD}\n")
    found = simulated(run, document)
    calls = [event for event in EVERY_KIND if isinstance(event, UsageEvent)]
    assert (found["calls"], found["refused_then"]) == (len(calls), 1)
    assert (
        found["by_cost"]
        == found["by_bounds"]
        == {
            "refused": 0,
            "refused_nanousd": "0",
            "rules": [],
        }
    )
    code, output, _ = run("budget", "simulate")
    assert code == 0
    assert len(output.splitlines()) == 3


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (None, "no rules: there is no tollspan.yaml"),
        ("version: 2\n", "`version` is '2'"),
        ("version: 1\n", "no ledger at"),
    ],
)
def test_what_can_not_be_replayed_says_why(
    home: Path, run: Run, rules: str | None, said: str
) -> None:
    if rules is not None:
        (home / "tollspan.yaml").write_text(rules)
    code, output, errors = run("budget", "simulate")
    assert (code, output) == (1, "")
    assert said in errors


def test_events_come_in_the_order_of_their_starts(home: Path) -> None:
    numbers = [(number * 37) % 101 for number in range(101)]
    write(home, *[used(call(number)) for number in numbers])
    reader = LedgerReader(home / LEDGER_FILE)
    starts = [event.call.started_at_unix_ns for event in reader.events_by_start()]
    assert starts == sorted(starts)
    assert len(starts) == 101
    some = reader.events_by_start(
        since_unix_ns=NOON_UNIX_NS + 5 * HOUR_NS, until_unix_ns=NOON_UNIX_NS + 8 * HOUR_NS
    )
    assert [event.call.id for event in some] == [call(number).id for number in (5, 6, 7)]


def test_charges_of_before_are_summed_account_by_account(home: Path) -> None:
    charge = Charge(budget_id="b", scope='{"user":"u"}', period="2026-11", posted=3, unresolved=2)
    other = Charge(budget_id="b", unit="calls", posted=1)
    write(
        home,
        *[msgspec.structs.replace(used(call(n)), charges=(charge, other)) for n in range(5)],
        denied(call(9)),
    )
    reader = LedgerReader(home / LEDGER_FILE)
    found = {one.unit: one for one in reader.charged_before(NOON_UNIX_NS + 3 * HOUR_NS)}
    assert found["usd"] == msgspec.structs.replace(charge, posted=9, unresolved=6)
    assert found["calls"] == msgspec.structs.replace(other, posted=3)
    assert list(reader.charged_before(NOON_UNIX_NS)) == []
