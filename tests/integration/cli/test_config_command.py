"""`tollspan config`: all that is wrong at once, what is odd, and what the rules say of one call."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.contract.authority.making import Holder
from tests.integration.cli.books import call, used, write
from tests.integration.cli.conftest import Run
from tollspan.budget import OWNERS, Account, Hold, Window, period
from tollspan.cli._config_parser import OWNER_OPTIONS
from tollspan.ledger import LEDGER_FILE, RedisAuthority, SQLiteLedger

RULES = """\
version: 1
budgets:
  - {id: org, limit: 10 USD, window: month}
  - {id: customer, per: [customer], limit: 0.0055 USD}
  - {id: noted, limit: 10 tokens, on_exceed: shadow}
  - {id: minis, where: {model: "*-mini", tag.tier: free}, limit: 1 USD}
  - {id: searches, where: {tool: search}, limit: 2 calls}
"""


@pytest.fixture
def rules(home: Path) -> Path:
    """A home with rules."""
    document = home / "tollspan.yaml"
    document.write_text(RULES)
    return document


def explained(run: Run, *options: str) -> dict[str, Any]:
    code, output, errors = run("config", "explain", "--json", *options)
    assert (code, errors) == (0, "")
    found: dict[str, Any] = json.loads(output)
    return found


def checked(run: Run, document: Path, text: str) -> tuple[int, dict[str, Any]]:
    document.write_text(text)
    code, output, _ = run("config", "check", str(document), "--json")
    return code, json.loads(output)


def test_all_errors_are_told_with_their_lines(home: Path, run: Run) -> None:
    document = home / "new.yaml"
    code, found = checked(
        run, document, "version: 1\nbudgets:\n  - {id: a}\n  - {id: b, limit: 3 EUR}\n"
    )
    assert (code, found["status"], found["meaning"]) == (1, "problem", [])
    assert [(one["line"], one["file"]) for one in found["findings"]] == [
        (3, str(document)),
        (4, str(document)),
    ]
    code, output, _ = run("config", "check", str(document))
    assert code == 1
    assert [line.split()[0] for line in output.splitlines()] == ["wrong", "wrong"]


@pytest.mark.parametrize(
    ("budgets", "odd"),
    [
        pytest.param("{id: a, limit: 0 USD}", "a refuses every call", id="nothing is allowed"),
        pytest.param(
            "{id: a, limit: 0 USD, on_exceed: warn}",
            "a says `warn` of every call",
            id="warns of all",
        ),
        pytest.param(
            "{id: a, limit: 0 calls, where: {model: o3}, warn_at: 0.5}",
            "a has shares to warn at of a limit of 0",
            id="shares of nothing",
        ),
        pytest.param(
            "{id: a, limit: 1 USD, on_exceed: shadow, message: hello}",
            "a tells nobody its `message`",
            id="a message for nobody",
        ),
        pytest.param(
            "{id: b, limit: 1 USD}\nplans:\n  pro: {budgets: [{id: a, limit: 1 USD}]}",
            "a counts no call: nobody is assigned the plan pro",
            id="a plan for nobody",
        ),
        pytest.param(
            "{id: a, limit: 1 USD, where: {model: gpt-4x}}",
            "a counts no call: the price book knows no model like gpt-4x",
            id="no such model",
        ),
        pytest.param(
            "{id: a, limit: 2 USD, per: [user, team]}\n"
            "  - {id: b, limit: 1 USD, per: [team, user]}",
            "b counts the same calls as a: a refuses nothing that b lets through",
            id="twins",
        ),
    ],
)
def test_what_is_odd_is_told_and_is_no_error(home: Path, run: Run, budgets: str, odd: str) -> None:
    text = f"version: 1\nbudgets:\n  - {budgets}\n"
    code, found = checked(run, home / "new.yaml", text)
    assert (code, found["status"]) == (0, "warning")
    (finding,) = found["findings"]
    assert finding["text"].startswith(odd)
    assert finding["budget"] == odd[0]
    assert odd in run("config", "check", str(home / "new.yaml"))[1]


@pytest.mark.parametrize(
    "budgets",
    [
        "{id: a, limit: 0 calls, where: {model: o3}}",
        "{id: a, limit: 0 USD, per: [customer], limits: {acme: 1 USD}, warn_at: 0.5}",
        "{id: a, limit: 1 USD}\n  - {id: b, per: [user], limit: 2 USD, limits: {u: 3 USD}}",
        "{id: a, limit: 1 USD, on_exceed: shadow, warn_at: 0.5, message: hello}",
        "{id: a, limit: 1 USD, on_exceed: warn}\n  - {id: b, limit: 2 USD}",
        "{id: a, limit: 1 USD, window: day}\n  - {id: b, limit: 2 USD, window: month}",
        "{id: a, limit: 1 USD}\n  - {id: b, limit: 2 USD, per: [user]}",
        "{id: a, limit: 1 USD}\n  - {id: b, limit: 2 tokens}",
    ],
)
def test_what_makes_sense_is_not_odd(home: Path, run: Run, budgets: str) -> None:
    code, found = checked(run, home / "new.yaml", f"version: 1\nbudgets:\n  - {budgets}\n")
    assert (code, found["status"], found["findings"]) == (0, "ok", [])
    assert len(found["meaning"]) == budgets.count("id:")


def test_a_document_without_budgets_refuses_nothing_and_that_is_odd(home: Path, run: Run) -> None:
    code, found = checked(run, home / "new.yaml", "version: 1\n")
    assert (code, found["status"]) == (0, "warning")


def test_an_explanation_has_what_each_budget_has_and_what_the_call_asks(
    rules: Path, run: Run
) -> None:
    ledger = SQLiteLedger(rules.parent)
    account = Account(budget_id="customer", scope='{"customer":"acme"}', period="", limit=5_500_000)
    now = time.time_ns()
    assert ledger.hold(Hold(call_id="f" * 32, started_at_unix_ns=now, legs=((account, 9),))) is None
    before = (rules.parent / LEDGER_FILE).read_bytes()
    found = explained(
        run, "--model", "gpt-4o", "--customer", "acme", "--max-output", "10", "--input-bytes", "100"
    )
    org, customer, noted = found["touched"]
    assert (org["budget"], org["limit"], org["fits"], org["because"]) == ("org", "10", True, [])
    assert (customer["scope"], customer["held"]) == ({"customer": "acme"}, "0.000000009")
    assert customer["remaining"] == "0.005499991"
    assert customer["asked"] == org["asked"] != "0"
    assert int(found["bound_nanousd"]) / 1e9 == float(org["asked"])
    assert (noted["unit"], noted["fits"], noted["on_exceed"]) == ("tokens", False, "shadow")
    assert found["decision"] == "shadow"
    assert found["rule_ids"] == ["noted"]
    assert found["attribution"] == {"customer": "acme"}
    assert {one["budget"]: one["why"] for one in found["untouched"]} == {
        "minis": ["model is gpt-4o, not *-mini", "tag.tier is unattributed, not free"],
        "searches": ["tool is none, not search"],
    }
    assert (rules.parent / LEDGER_FILE).read_bytes() == before
    ledger.close()


@pytest.mark.service
def test_the_authority_in_force_is_asked(
    rules: Path, run: Run, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLSPAN_AUTHORITY", redis_url)
    shared = RedisAuthority(redis_url, timeout_seconds=5)
    shared.open_epoch()
    month, _ = period(Window(every="month"), time.time_ns())
    account = Account(budget_id="org", scope="", period=month, limit=10**10)
    assert Holder(shared).has(account, 4_000_000_000) == 4_000_000_000
    org = explained(run, "--model", "gpt-4o", "--max-output", "1")["touched"][0]
    assert (org["budget"], org["held"], org["remaining"]) == ("org", "4", "6")
    shared.close()


@pytest.mark.parametrize("authority", ["memory:", "sqlite:"])
def test_where_nothing_was_counted_nothing_is(
    rules: Path, run: Run, authority: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLSPAN_AUTHORITY", authority)
    for one in explained(run, "--model", "gpt-4o", "--max-output", "1")["touched"]:
        assert (one["posted"], one["held"], one["unresolved"]) == ("0", "0", "0")
    assert not (rules.parent / LEDGER_FILE).exists()


def test_a_refusal_is_explained_as_the_caller_would_get_it(rules: Path, run: Run) -> None:
    found = explained(run, "--model", "openai/gpt-4o", "--customer", "acme")
    assert (found["decision"], found["error_type"]) == ("deny", "tollspan.budget_exceeded")
    assert found["rule_ids"] == ["customer"]
    assert found["bound_reasons"] == ["model_max"]
    assert "budget 'customer' of customer 'acme' has 0.0055 USD" in found["text"]
    code, output, _ = run("config", "explain", "--model", "gpt-4o", "--customer", "acme")
    assert code == 0
    assert output.splitlines()[0].endswith("for customer acme: refused")
    assert "no (deny)" in output
    assert "minis: model is gpt-4o, not *-mini; tag.tier is unattributed, not free" in output


def test_a_call_that_is_made_to_fit_is_explained_with_what_goes_out(home: Path, run: Run) -> None:
    (home / "tollspan.yaml").write_text("""\
version: 1
budgets:
  - {id: dear, limit: 0.01 USD, where: {model: gpt-4*}, on_exceed: {reroute: {gpt-4o: gpt-4o-mini}}}
  - {id: short, limit: 0.01 USD, on_exceed: clamp, where: {model: claude*}}
""")
    found = explained(run, "--model", "gpt-4o", "--input-bytes", "2000", "--max-output", "500")
    assert (found["decision"], found["model"]) == ("reroute", "gpt-4o")
    assert (found["sent_model"], found["sent_max_output_tokens"]) == ("gpt-4o-mini", 500)
    (dear,) = found["touched"]
    assert (dear["on_exceed"], dear["fits"]) == ("reroute", False)
    assert float(dear["asked"]) > 0.01 > int(found["bound_nanousd"]) / 1e9  # asked, and sent
    found = explained(run, "--model", "claude-haiku-4-5", "--max-output", "9000")
    assert (found["decision"], found["sent_model"]) == ("clamp", "claude-haiku-4-5")
    assert 256 <= found["sent_max_output_tokens"] < 9000
    assert 0.0095 < int(found["bound_nanousd"]) / 1e9 <= 0.01
    words = run(
        "config", "explain", "--model", "gpt-4o", "--input-bytes", "9", "--max-output", "999"
    )
    assert "goes out with gpt-4o-mini in place of gpt-4o" in words[1]


def test_a_rolling_budget_is_explained_in_one_row(rules: Path, run: Run) -> None:
    rules.write_text(
        "version: 1\nbudgets: [{id: fast, limit: 0.00001 USD, window: {rolling: 24h}}]\n"
    )
    found = explained(run, "--model", "gpt-4o-mini")
    assert (found["decision"], found["rule_ids"]) == ("deny", ["fast"])
    (touched,) = found["touched"]
    assert (touched["budget"], touched["fits"], touched["posted"]) == ("fast", False, "0")
    assert touched["period"].startswith("86400s/")
    assert "last 1d" in run("config", "explain", "--model", "gpt-4o-mini")[1]


def test_a_call_that_no_budget_counts_is_let_through(rules: Path, run: Run) -> None:
    rules.write_text("version: 1\nbudgets:\n  - {id: o3s, limit: 1 USD, where: {model: o3}}\n")
    found = explained(run, "--model", "gpt-4o-mini")
    assert (found["decision"], found["touched"]) == ("allow", [])
    assert "No budget of" in run("config", "explain", "--model", "gpt-4o-mini")[1]


def test_tags_and_the_settings_owners_count(
    rules: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLSPAN_CUSTOMER", "bolt")
    options = ("--model", "gpt-4o-mini", "--tag", "tier=free", "--max-output", "1")
    found = explained(run, *options)
    minis = found["touched"][-1]
    assert minis["because"] == ["model is gpt-4o-mini, as *-mini", "tag.tier is free, as free"]
    assert found["attribution"] == {"customer": "bolt", "tag.tier": "free"}
    assert explained(run, *options, "--customer", "acme")["attribution"]["customer"] == "acme"


def test_plans_own_limits_and_what_is_left_out_are_explained(rules: Path, run: Run) -> None:
    rules.write_text("""\
version: 1
budgets:
  - {id: each, per: [customer], limit: 1 USD, limits: {acme: 5 USD}}
  - {id: small, where: {model: ["!o3*"]}, limit: 1 USD}
  - {id: large, where: {model: [o3*, "!o3-mini"], team: "!red"}, limit: 1 USD}
plans:
  free: {budgets: [{id: free-month, limit: 1 USD, window: month}]}
  pro: {budgets: [{id: pro-month, limit: 9 USD, window: month}]}
assign:
  acme: {plan: pro, anchor: 2026-11-14}
  "*": free
""")
    options = ("--model", "o3", "--customer", "acme", "--at", "2026-11-28", "--max-output", "1")
    found = explained(run, *options)
    each, large, pro = found["touched"]
    assert (each["budget"], each["limit"]) == ("each", "5")
    assert large["because"] == [
        "model is o3, as o3*, but not o3-mini",
        "team is unattributed, as not red",
    ]
    assert (pro["period"], pro["resets_at"]) == (
        "2026-11-14/2026-12-14",
        "2026-12-14T00:00:00.000000Z",
    )
    assert pro["because"] == ["the customer's plan is pro, as pro"]
    assert {one["budget"]: one["why"] for one in found["untouched"]} == {
        "small": ["model is o3; asked is not o3*"],
        "free-month": ["the customer's plan is pro, not free"],
    }
    assert run("config", "explain", *options)[0] == 0


def test_a_policy_that_refuses_a_call_is_named(rules: Path, run: Run) -> None:
    rules.write_text("version: 1\npolicies:\n  - {id: no-o3, deny: {model: o3}}\n")
    found = explained(run, "--model", "o3", "--customer", "acme")
    assert (found["decision"], found["rule_ids"], found["touched"]) == ("deny", ["no-o3"], [])
    assert "no-o3" in found["text"]
    assert explained(run, "--model", "gpt-4o")["decision"] == "allow"
    assert run("config", "check")[0] == 0


def test_a_tool_is_explained_by_its_calls(rules: Path, run: Run) -> None:
    write(rules.parent, used(call(1)))
    found = explained(run, "--tool", "search")
    searches = found["touched"][-1]
    assert (searches["budget"], searches["unit"], searches["asked"]) == ("searches", "calls", "1")
    assert searches["because"] == ["tool is search, as search"]


def test_another_document_and_another_time_may_be_asked_for(rules: Path, run: Run) -> None:
    other = rules.parent / "other.yaml"
    other.write_text("version: 1\nbudgets:\n  - {id: new, limit: 1 USD, window: month}\n")
    found = explained(run, "--model", "o3", "--config", str(other), "--at", "2026-03-01")
    (new,) = found["touched"]
    assert (new["budget"], new["period"]) == ("new", "2026-03")
    assert new["resets_at"] == "2026-04-01T00:00:00.000000Z"
    assert found["document"] == str(other)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Name one by --model or by --tool"),
        (("--model", "o3", "--tool", "search"), "Name one by --model or by --tool"),
        (("--model", "nobodys-model"), "is --provider missing?"),
        (("--model", "o3", "--config", "nowhere.yaml"), "nowhere.yaml: can't be read"),
        (("--model", "o3", "--customer", "a\nb"), "control character"),
    ],
)
def test_what_can_not_be_explained_says_why(
    rules: Path, run: Run, options: tuple[str, ...], said: str
) -> None:
    code, output, errors = run("config", "explain", *options)
    assert (code, output) == (1, "")
    assert said in errors


def test_whom_a_call_may_be_for_is_the_same_in_the_options_and_in_the_rules() -> None:
    assert OWNER_OPTIONS == OWNERS
