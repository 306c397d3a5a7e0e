"""What the page shows of budgets: exact amounts, the nearest to their limits first, how long they
last; and what it says when it can't know."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.contract.central.making import usage_event
from tests.pages import Page, Person
from tests.serving import RunningServer, running_server
from tollspan.usage import encode_cloud_event

USD = 10**9
EVIL = "<script>alert(1)</script>"
RULES = """
version: 1
budgets:
  - {id: org, limit: 100 USD, window: month}
  - {id: each, per: [customer], limit: 10 USD, window: month}
  - {id: mini, where: {model: "*-mini"}, limit: 5000 tokens, window: day}
  - {id: calls, limit: 7 calls, window: {rolling: 60s}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("server")
    authority = f"sqlite:{home / 'money.db'}"
    with running_server(f"sqlite:{home / 'server.db'}", authority=authority) as running:
        yield running


def month() -> str:
    return f"{datetime.now(UTC):%Y-%m}"


def put(server: RunningServer, key: str, rules: str = RULES) -> None:
    assert server.ask("PUT", "/v1/rules", key=key, data=rules.encode()).status in (200, 201)


def charge(
    server: RunningServer, key: str, budget: str, posted: int, *, customer: str | None = None,
    unresolved: int = 0,
) -> None:  # fmt: skip
    scope = "" if customer is None else json.dumps({"customer": customer}, separators=(",", ":"))
    one = {"budget_id": budget, "scope": scope, "period": month(), "posted": str(posted),
           "unresolved": str(unresolved)}  # fmt: skip
    asked = {"settlements": [{"call_id": f"call-{time.time_ns()}", "charges": [one]}]}
    answer = server.ask("POST", "/v1/leases/settle", key=key, body=asked)
    assert answer.status == 200, answer.body


def spend(server: RunningServer, key: str, customer: str, cost: int) -> None:
    event = encode_cloud_event(usage_event(customer=customer, cost=cost))
    headers = {"Content-Type": "application/cloudevents+json"}
    assert server.ask("POST", "/v1/events", key=key, data=event, headers=headers).status == 200


def signed_in(server: RunningServer, key: str) -> Person:
    person = Person(server)
    assert person.sign_in(key).status == 303
    return person


def amounts(page: Page) -> list[int]:
    return [int(said["value"] or "") for tag, said in page.tags if tag == "data"]


def part(page: Page, name: str) -> str:
    """The words of one budget in the list."""
    return next(one for one in page.text.split("<li>") if name in one and "meter" in one)


def test_budgets_stand_in_order_with_what_is_spent_held_and_unresolved(
    server: RunningServer,
) -> None:
    key = server.make_key("standing")
    put(server, key)
    charge(server, key, "org", 20 * USD)
    charge(server, key, "each", 9 * USD, customer="ann", unresolved=USD // 2)
    charge(server, key, "each", 12 * USD, customer="bob")
    account = {"budget_id": "org", "period": month(), "limit": str(100 * USD)}
    want = {"account": account, "need": str(5 * USD), "wish": str(5 * USD)}
    lease = {"lease": {"holder": "h1"}, "wants": [want]}
    assert server.ask("POST", "/v1/leases/grant", key=key, body=lease).status == 200
    page = signed_in(server, key).get("/budgets")
    assert page.words.index("bob") < page.words.index("ann") < page.words.index("org")
    assert "$12.00 of $10.00" in page.words
    assert "$2.00 over" in page.words
    assert "1 used up" in page.words
    bob, org = part(page, "bob"), part(page, ">org<")
    assert 'class="limit" x="83.33"' in bob  # 10 of 12
    assert 'class="posted" width="20"' in org
    assert 'class="held" x="20" width="5"' in org
    assert {9 * USD, USD // 2, 5 * USD, 75 * USD} <= set(amounts(page))
    assert "0 of 5,000 tokens" in page.words
    assert "0 of 7 calls" in page.words


def test_a_budget_that_ends_before_its_period_says_so_and_one_that_lasts_too(
    server: RunningServer,
) -> None:
    key = server.make_key("pace")
    budgets = ("{id: ever, limit: 10 USD}", "{id: day, limit: 900 USD, window: day}")
    put(server, key, "\n  - ".join(("version: 1\nbudgets:", *budgets)))
    spend(server, key, "ann", USD)  # within the last hour: a dollar an hour, until more is known
    page = signed_in(server, key).get("/budgets")
    assert "runs out" in part(page, ">ever<")
    assert "enough for 10 hours" in part(page, ">ever<")
    assert "lasts" in part(page, ">day<")
    assert "1 will run out at this pace" in page.words


def test_of_budgets_of_some_calls_alone_no_pace_is_made_up(server: RunningServer) -> None:
    key = server.make_key("unknown")
    put(
        server, key, 'version: 1\nbudgets:\n  - {id: some, where: {model: "gpt*"}, limit: 10 USD}\n'
    )
    spend(server, key, "ann", USD)
    one = part(signed_in(server, key).get("/budgets"), ">some<")
    assert "within limit" in one
    assert "a day" not in one


def test_the_overview_compares_the_forecast_with_the_budget_of_the_month(
    server: RunningServer,
) -> None:
    key = server.make_key("forecast")
    put(server, key, "version: 1\nbudgets:\n  - {id: plan, limit: 2 USD, window: month}\n")
    spend(server, key, "ann", 3 * USD)
    person = signed_in(server, key)
    page = person.get("/")
    assert "above the limit of plan" in page.words
    assert "Budgets plan" in page.words
    put(server, key, "version: 1\nbudgets:\n  - {id: plan, limit: 90000 USD, window: month}\n")
    give_up_at = time.monotonic() + 30  # rules are looked up anew after a second
    while "above the limit" in page.words and time.monotonic() < give_up_at:
        page = person.get("/")
    assert "of plan , $90,000.00" in page.words


def test_a_tenant_without_budgets_is_told_how_to_make_some(server: RunningServer) -> None:
    key = server.make_key("none")
    page = signed_in(server, key).get("/budgets")
    assert "There is no budget yet" in page.words
    assert "tollspan rules put tollspan.yaml" in page.words


def test_owners_are_text_and_other_tenants_see_none_of_them(server: RunningServer) -> None:
    key = server.make_key("evil")
    put(server, key)
    charge(server, key, "each", USD, customer=EVIL)
    page = signed_in(server, key).get("/budgets?budget=each")
    assert EVIL in page.words
    assert EVIL not in page.text
    assert ">org<" not in page.text
    other = signed_in(server, server.make_key("good"))
    assert "alert" not in other.get("/budgets").text
    assert other.get("/budgets?tenant=evil").status == 403
    assert other.get("/budgets?page=0").status == 400


def test_many_owners_are_on_pages_each_once(server: RunningServer) -> None:
    key = server.make_key("many")
    put(server, key)
    for number in range(60):
        charge(server, key, "each", USD // 100 * number, customer=f"c{number:02}")
    person = signed_in(server, key)
    first = person.get("/budgets?budget=each")
    (later,) = first.links("page=2")
    second = person.get(later)
    seen = [name for name in (f"c{n:02}" for n in range(60))
            for page in (first, second) if f"<bdi>{name}</bdi>" in page.text]  # fmt: skip
    assert seen == [f"c{n:02}" for n in range(60)]
    assert "c59" in first.words
    assert "c00" in second.words


def test_an_authority_that_does_not_answer_leaves_the_rest_of_the_page(tmp_path: Path) -> None:
    where = f"sqlite:{tmp_path / 'server.db'}"
    with running_server(where, authority="redis://127.0.0.1:1/0") as server:
        spend(server, server.key, "ann", USD)
        person = signed_in(server, server.key)
        overview = person.get("/")
        assert (overview.status, "does not answer now" in overview.words) == (200, True)
        assert "$1.00" in overview.words
        assert "does not answer now" in person.get("/budgets").words
