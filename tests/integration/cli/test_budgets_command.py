"""`tollspan budgets` and `config check`: what is left, until when, and what the rules mean."""

from __future__ import annotations

import json
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.contract.ledger.making import charge as making_charge
from tests.contract.ledger.making import event, new_id
from tests.integration.cli.conftest import Run
from tollspan.budget import EVERY, Account, Every, Hold, Window, end_of_key, period, periods
from tollspan.ledger import LEDGER_FILE, SQLiteLedger
from tollspan.usage import (
    Attribution,
    BudgetUnit,
    Call,
    Charge,
    Cost,
    DecisionNote,
    Outcome,
    Request,
    UsageEvent,
)

KEYS = [
    "budget", "scope", "period", "is_allowance", "unit", "limit", "posted", "held", "leased",
    "unresolved", "remaining", "resets_at",
]  # fmt: skip
RULES = """\
version: 1
budgets:
  - {id: org, limit: 10 USD, window: month, warn_at: [0.5, 1]}
  - {id: customer, per: [customer], limit: 0.0055 USD, window: {every: day, timezone: Asia/Tokyo}}
  - {id: tools, where: {tool: search, tag.tier: [free, trial]}, limit: 100 calls, on_exceed: warn}
  - {id: never, where: {model: o3}, limit: 0 calls}
defaults: {on_unavailable: allow}
"""
SENTENCES = """\
org: at most 10.00 USD in each calendar month (UTC); over all calls; a call that may not fit is \
refused; warned at 50 and 100 %.
customer: at most 0.0055 USD for each customer on each day (Asia/Tokyo); over all calls; a call \
that may not fit is refused.
tools: at most 100 calls in all, for good; over calls whose tool is search and whose tag tier is \
free or trial; a call that may not fit goes through, and somebody is warned.
never: nothing; over calls whose model is o3; a call that may not fit is refused.
While the ledger can't answer, calls go through uncounted.
"""
DECIMAL = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}


def charge(
    budget: str,
    posted: int,
    *,
    scope: str = "",
    key: str = "",
    unit: BudgetUnit = "usd",
    unresolved: int = 0,
) -> Charge:
    return Charge(
        budget_id=budget, scope=scope, period=key, unit=unit, posted=posted, unresolved=unresolved
    )


@pytest.fixture
def spent(home: Path) -> Path:
    """A home with rules, and a ledger that was charged in this month and in a past one."""
    (home / "tollspan.yaml").write_text(RULES)
    now = time.time_ns()
    today, _ = period(Window(every="day", timezone="Asia/Tokyo"), now)
    month, _ = period(Window(every="month"), now)
    ledger = SQLiteLedger(home)
    for number, charges in enumerate(
        (
            (charge("org", 2_500_000_000, key=month, unresolved=1),),
            (charge("org", 1_000_000_000, key="2020-02"),),
            (charge("customer", 4_015_300, scope='{"customer":"acme"}', key=today),),
            (charge("customer", 9_000_000, scope='{"customer":null}', key=today),),
            (charge("tools", 12, unit="calls"),),
            (charge("gone", 5, key="2020-W01"),),
        )
    ):
        call = Call(
            id=f"{number:032x}",
            started_at_unix_ns=now,
            request=Request(provider="openai", operation="chat", model="gpt-4o-mini"),
            attribution=Attribution(),
        )
        ledger.post(
            UsageEvent(
                call=call,
                decision=DecisionNote(),
                outcome=Outcome(status="ok"),
                usage=None,
                cost=Cost(status="not_billed", amount_nanousd=0),
                charges=charges,
            ),
            None,
        )
    ledger.close()
    return home


def rows(run: Run, *options: str) -> list[dict[str, Any]]:
    code, output, errors = run("budgets", "--json", *options)
    assert (code, errors) == (0, "")
    found: list[dict[str, Any]] = json.loads(output)
    return found


def test_every_row_has_exactly_the_promised_keys(spent: Path, run: Run) -> None:
    for row in rows(run, "--all"):
        assert list(row) == KEYS
        assert row["unit"] in {"USD", "tokens", "calls"}
        assert row["leased"] == "0"
        for key in ("limit", "posted", "held", "leased", "unresolved", "remaining"):
            jsonschema.validate(row[key], DECIMAL)


def test_amounts_are_exact_decimals_in_the_unit(spent: Path, run: Run) -> None:
    org, acme, nobody, tools, never = rows(run)
    assert (org["limit"], org["posted"], org["unresolved"]) == ("10", "2.5", "0.000000001")
    assert org["remaining"] == "7.499999999"
    assert (acme["scope"], acme["unit"], acme["limit"]) == ({"customer": "acme"}, "USD", "0.0055")
    assert (acme["posted"], acme["remaining"]) == ("0.0040153", "0.0014847")
    assert (nobody["scope"], nobody["remaining"]) == ({"customer": None}, "-0.0035")
    assert (tools["unit"], tools["limit"], tools["posted"]) == ("calls", "100", "12")
    assert tools["resets_at"] is None
    assert (never["budget"], never["posted"], never["limit"]) == ("never", "0", "0")


def test_a_period_ends_by_the_budgets_own_clock(spent: Path, run: Run) -> None:
    org, acme, *_ = rows(run)
    now = datetime.now(UTC)
    for row, hour in ((org, "00:00:00.000000Z"), (acme, "15:00:00.000000Z")):
        assert row["resets_at"].endswith(hour)
        assert datetime.fromisoformat(row["resets_at"]) > now


def test_past_periods_are_shown_when_asked_for(spent: Path, run: Run) -> None:
    past = [row for row in rows(run, "--all") if row["period"].startswith("2020")]
    assert [(row["budget"], row["resets_at"]) for row in past] == [
        ("org", "2020-03-01T00:00:00.000000Z"),
        ("gone", "2020-01-06T00:00:00.000000Z"),
    ]
    assert not any(row["period"].startswith("2020") for row in rows(run))


def test_who_has_a_limit_of_his_own_is_shown_with_it(spent: Path, run: Run) -> None:
    rules = RULES.replace("0.0055 USD,", "0.0055 USD, limits: {acme: 7 USD},")
    (spent / "tollspan.yaml").write_text(rules)
    assert [row["limit"] for row in rows(run)[1:3]] == ["7", "0.0055"]


def test_traces_are_shown_when_asked_for(spent: Path, run: Run) -> None:
    (spent / "tollspan.yaml").write_text(
        RULES.replace("defaults", "  - {id: each, limit: 1 USD, window: trace}\ndefaults")
    )
    ledger = SQLiteLedger(spent)
    account = Account(budget_id="each", scope="", period="a" * 32, limit=10**9)
    hold = Hold(call_id="e" * 32, started_at_unix_ns=time.time_ns(), legs=((account, 7),))
    assert ledger.hold(hold) is None
    assert [row for row in rows(run) if row["budget"] == "each"] == []
    (row,) = [row for row in rows(run, "--all") if row["budget"] == "each"]
    assert (row["period"], row["resets_at"]) == ("a" * 32, None)
    ledger.close()


def test_people_see_who_is_over_and_what_only_warns(spent: Path, run: Run) -> None:
    code, output, _ = run("budgets")
    assert code == 0
    table = {line.split()[0] + line.split()[1]: line for line in output.splitlines()[2:]}
    assert " 164%" in table["customercustomer"]
    assert "customer unattributed" in table["customercustomer"]
    assert "only warns" in table["toolslifetime"]
    assert " 25%" in next(line for line in output.splitlines() if line.startswith("org"))


def test_rules_that_cannot_be_read_leave_what_the_ledger_knows(spent: Path, run: Run) -> None:
    (spent / "tollspan.yaml").write_text("version: 2\n")
    code, output, errors = run("budgets", "--json")
    assert code == 0
    assert errors.startswith("tollspan budgets: ")
    assert "shown is what the ledger knows" in errors
    assert {row["budget"] for row in json.loads(output)} == {"org", "customer", "tools"}


def test_unresolved_calls_are_listed(spent: Path, run: Run) -> None:
    ledger = SQLiteLedger(spent)
    account = Account(budget_id="org", scope="", period="", limit=10**9)
    hold = Hold(call_id="f" * 32, started_at_unix_ns=time.time_ns(), legs=((account, 7_000_000),))
    assert ledger.hold(hold) is None
    ledger.close()  # the owner left, and its hold with nobody
    (row,) = rows(run, "--unresolved")
    assert (row["call_id"], row["budget"], row["amount"]) == ("f" * 32, "org", "0.007")
    assert "f" * 32 in run("budgets", "--unresolved")[1]
    assert run("doctor")[1].count("org 0.007 USD") == 1


def test_an_unresolved_call_of_a_rolling_budget_is_one_until_it_is_resolved(
    home: Path, run: Run
) -> None:
    (home / "tollspan.yaml").write_text(
        "version: 1\nbudgets: [{id: fast, limit: 1 USD, window: {rolling: 90d}}]\n"
    )
    now = time.time_ns()
    keys, _ = periods(Window(every="rolling", seconds=90 * 86_400), now)
    accounts = [Account(budget_id="fast", scope="", period=key, limit=10**9) for key in keys]
    hold = Hold(
        call_id="f" * 32, started_at_unix_ns=now, legs=tuple((one, 7_000_000) for one in accounts)
    )
    ledger = SQLiteLedger(home)
    assert ledger.hold(hold) is None
    ledger.close()
    (row,) = rows(run, "--unresolved")
    assert (row["budget"], row["amount"]) == ("fast", "0.007")
    (budget,) = rows(run)
    assert budget["unresolved"] == "0.007"
    assert run("doctor")[1].count("fast 0.007 USD") == 1
    code, said, _ = run("budget", "resolve", "f" * 32, "--spent", "0.005 USD", "--reason", "x")
    assert (code, said.count("0.005 USD in fast")) == (0, 1)
    (budget,) = rows(run)
    assert (budget["unresolved"], budget["posted"]) == ("0", "0.005")


def test_every_budget_is_said_in_a_sentence(spent: Path, run: Run) -> None:
    code, output, _ = run("config", "check")
    assert code == 0
    assert [line.strip() for line in output.splitlines()[1:-1]] == SENTENCES.splitlines()


def test_all_that_is_in_force_is_checked(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("config", "check")[0] == 1  # no rules
    (home / "tollspan.yaml").write_text("version: 1\n")
    assert run("config", "check")[0] == 0
    (home / "prices.yaml").write_text("version: 1\nmodls: {}\n")
    monkeypatch.setenv("TOLLSPAN_STRICT", "perhaps")
    code, output, _ = run("config", "check")
    assert code == 1
    assert "TOLLSPAN_STRICT is 'perhaps'; expected true or false" in output
    assert "prices.yaml:2: unknown key `modls`" in output


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"])
@pytest.mark.parametrize("anchor", [None, date(2026, 1, 31), date(2024, 2, 29)])
@pytest.mark.parametrize("every", EVERY[1:])
def test_a_periods_key_says_when_it_ends(zone: str, every: Every, anchor: date | None) -> None:
    count = 1 if every != "day" or anchor is None else 30
    window = Window(
        every=every, timezone=zone, anchor=anchor if every != "hour" else None, count=count
    )
    for day in range(0, 1_200, 7):
        moment = (1_704_067_200 + day * 86_400 + day * 977) * 10**9
        key, end = period(window, moment)
        assert end_of_key(key, zone) == end


def test_a_rolling_budget_is_one_row_by_its_fullest_account(home: Path, run: Run) -> None:
    (home / "tollspan.yaml").write_text(
        "version: 1\nbudgets:\n"
        "  - {id: fast, per: [customer], limit: 1 USD, window: {rolling: 30d}}\n"
        "  - {id: idle, limit: 1 USD, window: {rolling: 60s}}\n"
    )
    keys, _ = periods(Window(every="rolling", seconds=30 * 86_400), time.time_ns())
    ledger = SQLiteLedger(home)
    for key, posted in zip((*keys, "60s/00000000007"), (1, 2, 3, 5, 4, 3, 2, 1), strict=True):
        where = Account(budget_id="fast", scope='{"customer":"a"}', period=key, limit=10**9)
        ledger.post(event(new_id(), making_charge(where, posted=posted * 10**8)), None)
    ledger.close()
    fast, idle = rows(run)
    assert (fast["budget"], fast["period"], fast["posted"]) == ("fast", keys[3], "0.5")
    assert fast["resets_at"] is not None
    assert (idle["budget"], idle["posted"]) == ("idle", "0")
    assert {row["period"] for row in rows(run, "--all")} >= {keys[3], "60s/00000000007"}
    assert len(rows(run, "--all")) == 3
    assert "last 30d" in run("budgets")[1]


@pytest.mark.parametrize("seconds", [1, 7, 60, 7_776_000])
def test_a_rolling_windows_key_says_when_it_ends(seconds: int) -> None:
    for moment in (1_704_067_200 * 10**9, 1_704_067_201_234_567_891):
        keys, until = periods(Window(every="rolling", seconds=seconds), moment)
        assert end_of_key(keys[-1], "UTC") == until


@pytest.mark.parametrize("key", ["", "someday", "2026-Q5", "2026-W"])
def test_what_is_no_period_has_no_end(key: str) -> None:
    assert end_of_key(key, "UTC") is None


def test_a_ledger_that_nobody_made_is_not_made_by_looking(home: Path, run: Run) -> None:
    assert run("budgets")[0] == 1
    assert not (home / LEDGER_FILE).exists()
