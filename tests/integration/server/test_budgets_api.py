"""How budgets stand, over HTTP, by authorities of every kind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.contract.authority.making import Holder, settlement
from tests.contract.ledger.making import account
from tests.serving import RunningServer, running_server
from tollspan.budget import Account, Window, period, periods
from tollspan.ledger import TenantAuthorities

_RULES = """
version: 1
budgets:
  - {id: org, limit: 10 USD, window: month}
  - {id: customer-month, per: [customer], limit: 2 USD, limits: {acme: 5 USD}, window: month}
  - {id: velocity, per: [customer], limit: 1 USD, window: {rolling: 60s}, on_exceed: warn}
"""
_USD = 1_000_000_000
MONTH, _ = period(Window(every="month"), time.time_ns())
_ROLLING, _ = periods(Window(every="rolling", seconds=60), time.time_ns())


def of(budget_id: str, customer: str, when: str = MONTH) -> Account:
    return Account(
        budget_id=budget_id, scope=f'{{"customer":"{customer}"}}', period=when, limit=100 * _USD
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    where = tmp_path_factory.mktemp("budgets") / "server.db"
    authorities = f"sqlite:{where.with_name('money.db')}"
    with running_server(f"sqlite:{where}", authority=authorities) as made:
        yield made


def look(server: RunningServer, query: str = "", key: str | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = server.ask("GET", f"/v1/budgets?{query}{cursor}", key=key)
        assert answer.status == 200, answer.body
        found += answer.json["budgets"]
        if answer.json["next"] is None:
            return found
        cursor = f"&cursor={answer.json['next']}"


def spend(server: RunningServer, key: str, *charges: tuple[Account, int]) -> None:
    asked = {
        "settlements": [
            {
                "call_id": f"call-{time.time_ns()}",
                "charges": [
                    {"budget_id": one.budget_id, "scope": one.scope, "period": one.period,
                     "posted": str(posted)}
                    for one, posted in charges
                ],
            }
        ]
    }  # fmt: skip
    answer = server.ask("POST", "/v1/leases/settle", key=key, body=asked)
    assert answer.status == 200, answer.body


def test_budgets_of_the_rules_and_of_each_owner_are_shown_with_the_limits_in_force(
    server: RunningServer,
) -> None:
    key = server.make_key("shown")
    server.ask("PUT", "/v1/rules", key=key, data=_RULES.encode())
    spend(server, key, (of("customer-month", "acme"), 3 * _USD), (of("customer-month", "bob"), 1))
    rows = look(server, key=key)
    assert [(one["budget"], one["scope"]) for one in rows] == [
        ("org", {}),
        ("customer-month", {"customer": "acme"}),
        ("customer-month", {"customer": "bob"}),
    ]
    assert (rows[0]["limit"], rows[0]["posted"]) == ("10000000000", "0")
    acme = rows[1]
    assert acme == {
        "budget": "customer-month",
        "scope": {"customer": "acme"},
        "period": MONTH,
        "is_allowance": False,
        "unit": "nanousd",
        "limit": "5000000000",
        "posted": "3000000000",
        "held": "0",
        "leased": "0",
        "unresolved": "0",
        "remaining": "2000000000",
        "resets_at": acme["resets_at"],
    }
    assert acme["resets_at"].endswith("T00:00:00.000000Z")


def test_a_tenant_sees_its_own_budgets_alone(server: RunningServer) -> None:
    one, other = server.make_key("one"), server.make_key("other", "read")
    spend(server, one, (of("b", "acme"), 7))
    assert [row["posted"] for row in look(server, key=one)] == ["7"]
    assert look(server, key=other) == []
    assert server.ask("GET", "/v1/budgets", key=server.make_key("one", "ingest")).status == 403


def test_budgets_are_filtered_and_paged(server: RunningServer) -> None:
    key = server.make_key("paged")
    server.ask("PUT", "/v1/rules", key=key, data=_RULES.encode())
    for number in range(7):
        spend(server, key, (of("customer-month", f"c{number}"), number))
    every = look(server, "limit=3", key=key)
    assert len(every) == 8
    assert look(server, "limit=100", key=key) == every
    assert [one["posted"] for one in look(server, "of=customer:c4", key=key)] == ["4"]
    assert [one["budget"] for one in look(server, "budget=org", key=key)] == ["org"]
    assert look(server, "of=customer:unattributed", key=key) == []


def test_a_rolling_budget_is_one_row_and_what_is_over_is_shown_when_asked(
    server: RunningServer,
) -> None:
    key = server.make_key("rolling")
    server.ask("PUT", "/v1/rules", key=key, data=_RULES.encode())
    keys, _ = periods(Window(every="rolling", seconds=60), time.time_ns())
    spend(server, key, (of("velocity", "a", keys[0]), 1), (of("velocity", "a", keys[1]), 2),
          (of("velocity", "a", keys[2]), 1))  # fmt: skip
    spend(server, key, (of("customer-month", "a", "2020-01"), 9))
    shown = [one for one in look(server, key=key) if one["budget"] == "velocity"]
    assert [(one["posted"], one["period"]) for one in shown] == [("2", keys[1])]
    assert "2020-01" not in [one["period"] for one in look(server, key=key)]
    assert "2020-01" in [one["period"] for one in look(server, "all=true", key=key)]


def test_accounts_that_a_client_made_up_are_shown_as_they_are(server: RunningServer) -> None:
    key = server.make_key("liar")
    server.ask("PUT", "/v1/rules", key=key, data=_RULES.encode())
    for scope in ("[1]", "{", '{"customer":3}', "x" * 16_000):
        for when in (
            "9999-W99",
            "x/y",
            "2026-13",
            "9999999999s/-99999999999",
            "idle:1s/9999999999999999",
        ):
            spend(server, key, (Account(budget_id="org", scope=scope, period=when, limit=1), 1))
    rows = look(server, "all=true", key=key)
    assert {one["limit"] for one in rows[1:]} == {None}
    assert {one["posted"] for one in rows[1:]} == {"1"}
    assert len(rows) == 21


@pytest.mark.parametrize(
    "query",
    [
        f"cursor={quote(one)}"
        for one in ("eA", "cng", "YTp4", "!!", "YTpbMV0", "cjk5OTk5OTk5OTk5OTk5OTk5OTk5")
    ]
    + ["of=customer", "of=:x", "of=customer:%00", "limit=0", "limit=1001", "nothing=1"],
)
def test_a_question_that_makes_no_sense_is_refused(server: RunningServer, query: str) -> None:
    answer = server.ask("GET", f"/v1/budgets?{query}")
    assert (answer.status, answer.problem) == (400, "invalid")


def test_an_authority_of_any_kind_shows_each_account_once(authorities: TenantAuthorities) -> None:
    authority = authorities.of("listed")
    authority.open_epoch()
    other = authorities.of("listed.beside")
    other.open_epoch()
    other.settle([settlement(None, (account("theirs", limit=1), 1, 0))])
    holder = Holder(authority)
    assert holder.has(account("b5", limit=1_000), 30) == 30
    authority.settle(
        [settlement(None, (account(f"b{number}", limit=1), number, 1)) for number in range(10)]
    )
    found = {}
    cursor = ""
    for _ in range(40):
        page = authority.accounts(cursor, 3)
        found.update({one.account.budget_id: one for one in page.balances})
        cursor = page.cursor
        if not cursor:
            break
    assert sorted(found) == [f"b{number}" for number in range(10)]
    assert {(one.posted, one.held, one.unresolved) for one in found.values()} == {
        (number, 30 if number == 5 else 0, 1) for number in range(10)
    }
    assert {one.account.limit for one in found.values()} == {0}
    with pytest.raises(ValueError, match=r"cursor|UUID"):
        authority.accounts("nothing", 3)
