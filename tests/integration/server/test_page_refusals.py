"""What the page shows of calls that were refused: how many, by which rules, what was not spent."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from tests.contract.central.making import usage_event
from tests.pages import Page, Person
from tests.serving import RunningServer, running_server
from tollspan.usage import (
    BATCH_MEDIA_TYPE,
    DecisionEvent,
    DecisionNote,
    Fact,
    WarningNote,
    encode_batch,
    encode_cloud_event,
)

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    where = f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}"
    with running_server(where) as running:
        yield running


def shown(server: RunningServer, tenant: str, *facts: Fact) -> Person:
    """Send events of a tenant; return somebody who looks at its page."""
    key = server.make_key(tenant)
    body = encode_batch([encode_cloud_event(fact) for fact in facts])
    answer = server.ask(
        "POST", "/v1/events", key=key, data=body, headers={"Content-Type": BATCH_MEDIA_TYPE}
    )
    assert [one["status"] for one in answer.json["results"]] == ["accepted"] * len(facts)
    person = Person(server)
    assert person.sign_in(key).status == 303
    return person


def refusal(
    rule: str = "month", bound: int | None = 10, customer: str = "acme", **more: object
) -> DecisionEvent:
    made = usage_event(customer=customer)
    return msgspec.structs.replace(
        DecisionEvent(
            call=made.call, error_type="tollspan.budget_exceeded",
            decision=DecisionNote(action="deny", rule_ids=(rule,), bound_nanousd=bound),
        ),
        **more,
    )  # fmt: skip


def warning(share: str | None = "0.8", customer: str = "acme") -> DecisionEvent:
    return DecisionEvent(
        call=usage_event(customer=customer).call, number=1, limit=100, spent=80, held=0,
        decision=DecisionNote(action="warn", rule_ids=("warned-of",)),
        warning=WarningNote(reason="exceeded" if share is None else "share", share=share),
    )  # fmt: skip


def amounts(page: Page) -> list[str]:
    return [said["value"] or "" for tag, said in page.tags if tag == "data"]


def test_refusals_have_what_they_would_have_cost_at_most_and_on_average(
    server: RunningServer,
) -> None:
    person = shown(
        server, "sums", usage_event(cost=40), usage_event(cost=20), refusal(bound=1_000),
        refusal("velocity", 2_000), refusal("velocity", 3_000), refusal("models", None),
    )  # fmt: skip
    page = person.get("/refusals?range=today")
    assert amounts(page)[:2] == ["6000", "120"]  # bounds; four calls at 30 each
    assert "Refused 4 calls today" in page.words
    by_rule = page.words[page.words.index("By rule") : page.words.index("By customer")]
    assert by_rule.index("velocity") < by_rule.index("models") < by_rule.index("month")
    assert "models budget exceeded 1 unknown" in by_rule


def test_what_is_not_known_of_refusals_is_never_nothing(server: RunningServer) -> None:
    page = shown(server, "unknown", refusal(bound=None)).get("/refusals")
    assert "Would have cost at most unknown" in page.words
    assert "At average cost unknown" in page.words
    assert "$0.00" not in page.words


def test_a_rules_own_refusals_are_listed_alone(server: RunningServer) -> None:
    person = shown(
        server, "rules", refusal("one", customer="ann"), refusal("two", customer="bob"),
        refusal("one", customer="cid"),
    )  # fmt: skip
    (link,) = person.get("/refusals").links("rule=two")
    listed = person.get(link).text
    table = listed[listed.index("Calls that were refused") :]
    assert ("bob" in table, "ann" in table, "cid" in table) == (True, False, False)
    filtered = person.get("/refusals?customer=ann").text
    assert "bob" not in filtered


def test_warnings_are_apart_from_refusals(server: RunningServer) -> None:
    person = shown(server, "warned", warning(), warning(None), refusal())
    page = person.get("/refusals")
    assert "Refused 1 call" in page.words
    assert "warned-of" not in page.words
    (link,) = page.links("of=warnings")
    listed = person.get(link)
    assert "80% of the limit used" in listed.words
    assert "let through over the limit" in listed.words


def test_every_refusal_is_on_one_page_or_another_once(server: RunningServer) -> None:
    made = [refusal("odd" if n % 2 else "even", n) for n in range(110)]
    person = shown(server, "pages", *made)
    for wanted in ("", "odd"):
        seen: list[str] = []
        path = f"/refusals?rule={wanted}"
        for _ in range(4):
            page = person.get(path)
            seen += [one.call.id for one in made if one.call.id in page.text]
            later = [one for one in page.links("cursor=") if "cursor" in one]
            if not later:
                break
            path = later[-1]
        expected = [one.call.id for one in made if not wanted or one.decision.rule_ids == (wanted,)]
        assert sorted(seen) == sorted(expected)


def test_another_tenants_refusals_and_markup_are_not_there(server: RunningServer) -> None:
    shown(server, "theirs", refusal("their-rule", customer="their-customer"))
    person = shown(server, "ours", refusal(EVIL, customer=EVIL))
    page = person.get("/refusals")
    assert "their-" not in page.text
    assert EVIL in page.words
    assert EVIL not in page.text
    assert person.get("/refusals?tenant=theirs").status == 403
    assert person.get("/refusals?cursor=x").status == 400
    assert person.get(f"/refusals?rule={'x' * 300}").status == 400
