"""`/v1/usage` of a real server: its rows, its pages, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest

from tests.contract.central.making import usage_event
from tests.serving import RunningServer, running_server
from tollspan.ledger.central import scanning
from tollspan.usage import (
    BATCH_MEDIA_TYPE,
    Cost,
    DecisionEvent,
    DecisionNote,
    Fact,
    Usage,
    encode_batch,
    encode_cloud_event,
)


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


def ask(server: RunningServer, key: str, **parameters: str) -> Any:
    answer = server.ask("GET", f"/v1/usage?{urlencode(parameters)}", key=key)
    assert answer.status == 200, answer.body
    return answer.json


def test_a_group_has_its_values_its_tokens_and_exact_money(server: RunningServer) -> None:
    key = server.make_key("rows", "ingest", "read")
    plain = usage_event(customer="acme", cost=10**15 + 1)
    estimated = msgspec.structs.replace(
        usage_event(customer="acme", cost=7),
        usage=Usage(
            status="estimated", input_uncached=5, cache_read=2, output=3,
            quantities=(("web_searches", 1),),
        ),
    )  # fmt: skip
    unpriced = msgspec.structs.replace(usage_event(), cost=Cost(status="unpriced"), usage=None)
    refused = DecisionEvent(
        call=usage_event(customer="acme").call, error_type="x",
        decision=DecisionNote(action="deny", bound_nanousd=9),
    )  # fmt: skip
    send(server, key, plain, estimated, unpriced, refused)
    rows = ask(server, key, group_by="customer", order="cost")["rows"]
    used = plain.usage
    assert used is not None
    tokens = {
        name: getattr(used, name) + {"input_uncached": 5, "cache_read": 2, "output": 3}.get(name, 0)
        for name in ("input_uncached", "cache_read", "output", "reasoning")
    }
    assert rows[0] == {
        "customer": "acme", "calls": 2, "denied": 1, "denied_nanousd": "9",
        "cost_nanousd": str(10**15 + 8), "tokens": {n: c for n, c in tokens.items() if c},
        "input_tokens": used.input_tokens + 7, "output_tokens": used.output_tokens + 3,
        "quantities": {"web_searches": 1},
        "estimated": {"calls": 1, "cost_nanousd": "7"}, "unpriced": {"calls": 0},
        "unknown": {"calls": 0}, "late": 0, "suspected_duplicates": 0,
    }  # fmt: skip
    assert (rows[1]["customer"], rows[1]["unpriced"]) == (None, {"calls": 1})
    (none,) = ask(server, key, customer="unattributed")["rows"]
    assert none["calls"] == 1


def test_buckets_and_ends_of_time_are_utc(server: RunningServer) -> None:
    key = server.make_key("buckets", "ingest", "read")
    send(server, key, usage_event(), usage_event(age_seconds=86_400), usage_event(age_seconds=1))
    now = datetime.now(UTC)
    rows = ask(server, key, bucket="day")["rows"]
    assert rows[0]["start"] == f"{now - timedelta(days=1):%Y-%m-%d}T00:00:00Z"
    an_hour_ago = (now - timedelta(hours=1)).isoformat()
    (row,) = ask(server, key, **{"from": an_hour_ago})["rows"]
    assert row["calls"] == 2
    elsewhere = (now - timedelta(hours=1)).astimezone().isoformat()
    assert ask(server, key, **{"from": an_hour_ago, "to": elsewhere})["rows"] == []


def test_pages_go_on_where_the_one_before_ended(server: RunningServer) -> None:
    key = server.make_key("pages", "ingest", "read")
    send(server, key, *(usage_event(customer=f"c{n}") for n in range(5)))
    found: list[str] = []
    more: dict[str, str] = {}
    for _ in range(3):
        page = ask(server, key, group_by="customer", limit="2", **more)
        found += [row["customer"] for row in page["rows"]]
        more = {"cursor": page["next"] or ""}
    assert page["next"] is None
    assert found == [f"c{n}" for n in range(5)]


def test_sums_are_the_keys_own_tenants(server: RunningServer) -> None:
    one, other = server.make_key("one"), server.make_key("other")
    send(server, one, usage_event())
    assert ask(server, other)["rows"] == []
    assert ask(server, one)["rows"][0]["calls"] == 1
    assert server.ask("GET", "/v1/usage", key=server.make_key("one", "ingest")).status == 403
    assert server.ask("GET", "/v1/usage", key="").status == 401


@pytest.mark.parametrize(
    "query",
    [
        "group_by=tenant", "group_by=id,customer", "group_by=tag.", "bucket=week", "from=yesterday",
        "from=2026-11-28T00:00:00", "limit=0", "limit=10001", "cursor=x", "cursor=LTE", "order=up",
        "group_by=customer,model,user,team,step,agent,feature", "tag=x", "tag==y", "unknown=1",
        f"customer={quote(chr(0))}", f"cursor={'9' * 40}",
    ],
)  # fmt: skip
def test_a_wrong_question_is_refused(server: RunningServer, query: str) -> None:
    answer = server.ask("GET", f"/v1/usage?{query}")
    assert (answer.status, answer.problem) == (400, "invalid")


def test_a_question_that_reads_too_much_says_so(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = server.make_key("much")
    send(server, key, usage_event(session="s"), usage_event(session="t"))
    assert len(ask(server, key, group_by="session,tag.tier")["rows"]) == 2
    monkeypatch.setattr(scanning, "MOST_EVENTS", 1)
    answer = server.ask("GET", "/v1/usage?group_by=session", key=key)
    assert (answer.status, answer.problem) == (400, "too_much")


@pytest.mark.parametrize("unit", ["a\0b", "x" * 129])
def test_units_that_are_no_names_are_not_taken(server: RunningServer, unit: str) -> None:
    event = msgspec.structs.replace(usage_event(), usage=Usage(quantities=((unit, 1),)))
    body = encode_batch([encode_cloud_event(event)])
    answer = server.ask("POST", "/v1/events", data=body, headers={"Content-Type": BATCH_MEDIA_TYPE})
    (verdict,) = answer.json["results"]
    assert (verdict["status"], verdict["reason"]) == ("rejected", "invalid")


def test_the_description_names_the_route(server: RunningServer) -> None:
    described = server.ask("GET", "/openapi.json", key="").json["paths"]["/v1/usage"]["get"]
    names = {one["name"] for one in described["parameters"]}
    assert {"group_by", "bucket", "from", "to", "tag", "customer"} <= names
