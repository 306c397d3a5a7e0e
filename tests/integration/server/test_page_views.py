"""What the page shows: exact money, links that lead on, nothing of another tenant, no markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.contract.central.making import usage_event
from tests.pages import Page, Person
from tests.serving import RunningServer, running_server
from tollspan.usage import (
    BATCH_MEDIA_TYPE,
    Attribution,
    Cost,
    DecisionEvent,
    DecisionNote,
    Fact,
    UsageEvent,
    encode_batch,
    encode_cloud_event,
)

EVIL = "<script>alert(1)</script>\"'&{{7*7}}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    where = f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}"
    with running_server(where) as running:
        yield running


def send(server: RunningServer, key: str, *facts: Fact) -> None:
    body = encode_batch([encode_cloud_event(fact) for fact in facts])
    answer = server.ask(
        "POST", "/v1/events", key=key, data=body, headers={"Content-Type": BATCH_MEDIA_TYPE}
    )
    assert [one["status"] for one in answer.json["results"]] == ["accepted"] * len(facts)


def signed_in(server: RunningServer, tenant: str) -> Person:
    person = Person(server)
    assert person.sign_in(server.make_key(tenant, "read")).status == 303
    return person


def amounts(page: Page) -> list[str]:
    """Every exact amount on it, in nano-USD."""
    return [said["value"] or "" for tag, said in page.tags if tag == "data"]


def said_by(attribution: Attribution, cost: int = 5, model: str = "gpt-4o-mini") -> UsageEvent:
    made = usage_event(cost=cost, model=model)
    return msgspec.structs.replace(
        made, call=msgspec.structs.replace(made.call, attribution=attribution)
    )


def test_a_new_tenant_is_told_what_comes_next(server: RunningServer) -> None:
    page = signed_in(server, "newcomer").get("/")
    assert "tollspan keys create --tenant newcomer --scopes ingest" in page.words
    assert f"export TOLLSPAN_ENDPOINT={server.url}" in page.words


def test_the_overview_has_today_the_month_and_where_it_leads(server: RunningServer) -> None:
    key = server.make_key("glance", "ingest")
    send(server, key, usage_event(customer="acme", cost=2 * 10**9),
         usage_event(customer="globex", cost=10**9 + 1))  # fmt: skip
    page = signed_in(server, "glance").get("/")
    assert amounts(page)[:2] == ["3000000001", "3000000001"]
    assert int(amounts(page)[2]) >= 3_000_000_001
    assert "Forecast" in page.words
    assert "acme" in page.words
    assert page.links("customer=globex")


def test_looking_closer_keeps_what_was_chosen_and_adds_to_it(server: RunningServer) -> None:
    key = server.make_key("closer", "ingest")
    for customer, model, cost in (("acme", "gpt-4o", 7), ("acme", "o3", 5), ("globex", "o3", 3)):
        send(server, key, usage_event(customer=customer, model=model, cost=cost))
    person = signed_in(server, "closer")
    page = person.get("/spend?range=today")
    assert amounts(page)[0] == "15"
    (link,) = page.links("customer=acme")
    closer = person.get(link)
    assert amounts(closer)[0] == "12"
    assert "Spend by model" in closer.words
    (further,) = closer.links("model=o3")
    assert {"customer=acme", "range=today", "model=o3"} <= set(further.partition("?")[2].split("&"))
    furthest = person.get(further)
    assert amounts(furthest)[0] == "5"
    (without,) = [one for one in furthest.links("customer=acme") if "model" not in one][:1]
    assert amounts(person.get(without))[0] == "12"


def test_the_page_says_what_the_api_says(server: RunningServer) -> None:
    key = server.make_key("same", "ingest", "read")
    send(server, key, *(usage_event(customer=f"c{n}", cost=10**9 + n) for n in range(5)))
    page = signed_in(server, "same").get("/spend?by=customer&range=today")
    (asked,) = re.findall(r"TOLLSPAN_ENDPOINT(/v1/usage\?[^\"]+?)&#34;|ENDPOINT(/v1[^\"<]+)\"",
                          page.text)  # fmt: skip
    address = (asked[0] or asked[1]).replace("&amp;", "&")
    rows = server.ask("GET", address, key=key).json["rows"]
    table = page.text[page.text.index("the dearest first</caption>") :]
    assert re.findall(r'<data value="(\d+)">', table) == [row["cost_nanousd"] for row in rows]


def test_rows_come_in_pages(server: RunningServer) -> None:
    key = server.make_key("pages", "ingest")
    send(server, key, *(usage_event(customer=f"c{n:03}", cost=1_000 + n) for n in range(60)))
    person = signed_in(server, "pages")
    first = person.get("/spend")
    (later,) = first.links("cursor=")
    second = person.get(later)
    assert len(first.links("customer=c")) == 50
    assert len(second.links("customer=c")) == 10
    assert not second.links("cursor=")


@pytest.mark.parametrize(
    "dimension",
    [*("customer", "session", "user", "agent", "feature", "step", "team", "project"),
     *("service", "environment", "tag.x", "model")],
)  # fmt: skip
def test_values_of_any_dimension_are_text_and_nothing_else(
    server: RunningServer, dimension: str
) -> None:
    tenant = f"evil-{dimension}"
    if dimension == "model":
        event = said_by(Attribution(), model=EVIL)
    elif dimension == "tag.x":
        event = said_by(Attribution(tags=(("x", EVIL),)))
    else:
        event = said_by(msgspec.structs.replace(Attribution(), **{dimension: EVIL}))
    send(server, server.make_key(tenant, "ingest"), event)
    person = signed_in(server, tenant)
    for path in ("/", f"/spend?by={dimension}"):
        page = person.get(path)
        assert page.status == 200
        assert [said for tag, said in page.tags if tag == "script"] == [{"src": page_script(page)}]
        assert all(not name.startswith("on") for _, said in page.tags for name in said)
    listed = person.get(f"/spend?by={dimension}")
    assert EVIL in listed.words
    closer = person.get(next(one for one in listed.links("script") if one.startswith("/spend")))
    assert closer.status == 200
    assert EVIL in closer.words


def page_script(page: Page) -> str:
    return next(said["src"] or "" for tag, said in page.tags if tag == "script")


def test_every_page_forbids_scripts_styles_and_frames_of_others(server: RunningServer) -> None:
    person = signed_in(server, "policy")
    for path in ("/", "/spend", "/login", "/spend?range=no", "/spend?tenant=acme"):
        page = person.get(path)
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert all("style" not in said for _, said in page.tags)
        assert [tag for tag, said in page.tags if tag == "style"] == []
        assert all(said.get("src") for tag, said in page.tags if tag == "script")


def test_nothing_on_a_page_comes_from_elsewhere(server: RunningServer) -> None:
    page = signed_in(server, "offline").get("/")
    named = [said.get(name) for _, said in page.tags for name in ("src", "href", "action")]
    assert all(one.startswith(("/", "#")) and one[1:2] != "/" for one in named if one)
    for _, said in page.tags:
        address = said.get("src") or (said.get("href") or "")
        if address.startswith("/static/"):
            asset = server.ask("GET", address, key="")
            assert asset.status == 200
            assert "immutable" in asset.headers["Cache-Control"]
            assert server.ask("GET", address.replace("/static/", "/static/0"), key="").status == 404


def test_a_key_of_one_tenant_sees_no_other_whatever_the_address_says(
    server: RunningServer,
) -> None:
    send(server, server.make_key("mine", "ingest"), usage_event(customer="theirs", cost=77))
    other = signed_in(server, "other")
    for path in ("/", "/spend"):
        page = other.get(f"{path}?tenant=mine")
        assert page.status == 403
        assert "theirs" not in page.text
        assert "theirs" not in other.get(path).text
    assert other.get("/tenants", follow=False).headers["Location"] == "/"


def test_a_key_for_all_chooses_a_tenant_and_keeps_it_on_the_way(server: RunningServer) -> None:
    send(server, server.make_key("one", "ingest"), usage_event(customer="acme", cost=11))
    send(server, server.make_key("two", "ingest"), usage_event(customer="acme", cost=22))
    person = Person(server)
    person.sign_in(server.make_key("*", "admin"))
    assert person.get("/", follow=False).headers["Location"] == "/tenants"
    listed = person.get("/tenants")
    assert "/?tenant=one" in listed.links()
    page = person.get("/spend?tenant=two&range=today")
    assert amounts(page)[0] == "22"
    (link,) = page.links("customer=acme")
    assert "tenant=two" in link
    assert amounts(person.get(link))[0] == "22"
    assert person.get("/spend?tenant=nobody").status == 404


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("by=nonsense", "dimensions"), ("by=customer,model", "one dimension"),
        ("range=week", "range"), ("from=2026-13-01", "from"), ("nonsense=1", "nonsense"),
        ("from=2026-02-02&to=2026-02-01", "from"), ("cursor=x", "cursor"),
        ("tag=novalue", "tag"), ("customer=%00", "customer"), ("to=9999-12-31", "to"),
    ],
)  # fmt: skip
def test_what_can_not_be_shown_is_told_on_a_page(
    server: RunningServer, query: str, word: str
) -> None:
    page = signed_in(server, "wrong").get(f"/spend?{query}")
    assert page.status == 400
    assert word in page.words
    assert page.text.startswith("<!doctype html>")


def test_fields_that_a_form_leaves_empty_say_nothing(server: RunningServer) -> None:
    send(server, server.make_key("empty", "ingest"), usage_event(customer="acme", cost=9))
    query = "by=&range=&from=&to=&customer=&model=&tag=&tenant=&session="
    assert amounts(signed_in(server, "empty").get(f"/spend?{query}"))[0] == "9"


def test_a_span_between_days_has_both_of_them(server: RunningServer) -> None:
    key = server.make_key("days", "ingest")
    now = datetime.now(UTC)
    for days in (1, 2, 3):
        send(server, key, usage_event(cost=10**days, age_seconds=days * 86_400))
    first, last = ((now - timedelta(days=days)).date() for days in (3, 2))
    page = signed_in(server, "days").get(f"/spend?from={first}&to={last}")
    assert amounts(page)[0] == "1100"


def test_what_was_refused_unpriced_or_estimated_is_shown_with_the_sums(
    server: RunningServer,
) -> None:
    unpriced = msgspec.structs.replace(usage_event(customer="acme"), cost=Cost(status="unpriced"))
    refused = DecisionEvent(
        call=usage_event(customer="acme").call, error_type="x",
        decision=DecisionNote(action="deny", bound_nanousd=9),
    )  # fmt: skip
    send(server, server.make_key("notes", "ingest"), unpriced, refused)
    page = signed_in(server, "notes").get("/spend")
    assert "1 unpriced" in page.words
    assert '<td class="number"><span class="warn">unpriced</span></td>' in page.text  # never $0.00
    assert "1 refused" in page.words


def test_the_page_is_no_part_of_the_apis_description(server: RunningServer) -> None:
    paths = server.ask("GET", "/openapi.json", key="").json["paths"]
    assert [path for path in paths if not path.startswith("/v1/") and path not in
            ("/healthz", "/readyz", "/metrics")] == []  # fmt: skip
