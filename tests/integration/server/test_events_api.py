"""`/v1/events` of a real server: what it takes, what it refuses and how, and what it shows."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec
import pytest

from tests.contract.central.making import usage_event
from tests.contract.ledger.making import account, charge, event, new_id
from tests.serving import RunningServer, running_server
from tollspan.exporter import Shipper
from tollspan.ledger import LedgerReader, SQLiteLedger
from tollspan.ledger.central import EventQuery
from tollspan.usage import (
    BATCH_MEDIA_TYPE,
    EVENT_MEDIA_TYPE,
    Fact,
    UsageEvent,
    decode_cloud_event,
    encode_batch,
    encode_cloud_event,
    event_id,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    where = f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}"
    with running_server(where, most_bytes=200_000, most_events=50, body_seconds=1.0) as running:
        yield running


def batch(*facts: Fact) -> bytes:
    return encode_batch([encode_cloud_event(fact) for fact in facts])


def post(server: RunningServer, data: bytes, kind: str = BATCH_MEDIA_TYPE, **more: str) -> object:
    answer = server.ask("POST", "/v1/events", data=data, headers={"Content-Type": kind, **more})
    return answer.json["results"] if answer.status == 200 else (answer.status, answer.problem)


def test_a_host_ships_to_it_and_everything_is_there_once(
    server: RunningServer, tmp_path: Path
) -> None:
    key = server.make_key("shipping", "ingest")
    ledger = SQLiteLedger(tmp_path)
    org = account("org", limit=10**15)
    for number in range(120):
        one = event(new_id(), charge(org, posted=number), cost=number)
        now = msgspec.structs.replace(one.call, started_at_unix_ns=time.time_ns())
        ledger.post(msgspec.structs.replace(one, call=now), None)
    shipper = Shipper(ledger, server.url, key, most_events=50)
    assert shipper.ship() == 120
    assert Shipper(ledger, server.url, key).ship() == 0
    found = [one.fact for one in server.ledger.reader.events("shipping", EventQuery(most=1000))]
    assert sorted(found, key=event_id) == sorted(LedgerReader(ledger.path).events(), key=event_id)
    ledger.close()


def test_verdicts_are_in_the_order_of_the_batch(server: RunningServer) -> None:
    good, old, early = (
        usage_event(),
        usage_event(age_seconds=36 * 86_400),
        usage_event(age_seconds=-400),
    )
    data = batch(good, old, early, good)[:-1] + b',{"id": "x"}]'
    results = post(server, data)
    assert isinstance(results, list)
    assert [(one["status"], one.get("reason")) for one in results] == [
        ("accepted", None),
        ("rejected", "too_old"),
        ("rejected", "in_the_future"),
        ("duplicate", None),
        ("rejected", "invalid"),
    ]
    assert [one.get("id") for one in results] == [
        event_id(good), event_id(old), event_id(early), event_id(good), None,
    ]  # fmt: skip


def test_a_single_event_and_plain_json_are_taken_too(server: RunningServer) -> None:
    one, two, three = usage_event(), usage_event(), usage_event()
    for data, kind in (
        (encode_cloud_event(one), EVENT_MEDIA_TYPE),
        (encode_cloud_event(two), "application/json; charset=utf-8"),
        (batch(three), "application/json"),
        (batch(three), f"{BATCH_MEDIA_TYPE}; charset=UTF-8"),
    ):
        results = post(server, data, kind)
        assert isinstance(results, list)
        assert len(results) == 1
    assert post(server, gzip.compress(batch(one)), **{"Content-Encoding": "gzip"}) == [
        {"id": event_id(one), "status": "duplicate"}
    ]


def changed(one: UsageEvent, **fields: object) -> bytes:
    """Write an event with fields of its data that a hostile client would send."""
    written = json.loads(encode_cloud_event(one))
    for path, value in fields.items():
        *parents, last = path.split("__")
        place = written["data"]
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value
    return encode_batch([json.dumps(written).encode()])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"cost__amount_nanousd": "-1"}, "invalid", id="negative cost"),
        pytest.param({"cost__amount_nanousd": str(10**30)}, "invalid", id="too dear"),
        pytest.param({"cost__amount_nanousd": None}, "invalid", id="priced without an amount"),
        pytest.param({"decision__bound_nanousd": str(10**30)}, "invalid", id="bound too dear"),
        pytest.param({"folded": {"seconds": 60, "calls": -1}}, "invalid", id="negative calls"),
        pytest.param({"usage__output": -5}, "invalid", id="negative tokens"),
        pytest.param({"usage__output": 10**25}, "invalid", id="too many tokens"),
        pytest.param({"usage__quantities": [["images", -1]]}, "invalid", id="negative images"),
        pytest.param({"call__attribution__customer": "a\0b"}, "invalid", id="control character"),
        pytest.param({"call__attribution__customer": "x" * 257}, "invalid", id="long customer"),
        pytest.param({"call__id": "01a.r"}, "invalid", id="a reversal's id"),
        pytest.param({"call__request__model": "m\0"}, "invalid", id="model with NUL"),
        pytest.param({"call__request__model": "m" * 600}, "invalid", id="long model"),
        pytest.param({"call__attribution__tags": [["a b", "c"]]}, "invalid", id="tag name"),
        pytest.param({"call__attribution__tenant": "other"}, "wrong_tenant", id="tenant"),
        pytest.param({"call__started_at_unix_ns": str(10**30)}, "in_the_future", id="far future"),
        pytest.param({"call__started_at_unix_ns": "-5"}, "too_old", id="before the epoch"),
        pytest.param({"charges": [{"budget_id": "b"}] * 257}, "invalid", id="many charges"),
        pytest.param(
            {"charges": [{"budget_id": "b", "posted": str(1 << 63)}]}, "invalid", id="large charge"
        ),
        pytest.param(
            {"charges": [{"budget_id": "b", "unresolved": str(-(1 << 63))}]},
            "invalid",
            id="large open charge",
        ),
        pytest.param(
            {"charges": [{"budget_id": "b", "drawn": "-1"}]}, "invalid", id="drawn below 0"
        ),
        pytest.param({"outcome__status": "fine"}, "invalid", id="unknown outcome"),
    ],
)
def test_what_no_call_can_be_is_refused_with_a_reason(
    server: RunningServer, fields: dict[str, object], reason: str
) -> None:
    one = usage_event()
    results = post(server, changed(one, **fields))
    assert isinstance(results, list)
    assert (results[0]["status"], results[0]["reason"]) == ("rejected", reason)
    assert results[0]["message"]
    assert post(server, batch(one)) == [{"id": event_id(one), "status": "accepted"}]


@pytest.mark.parametrize(
    ("data", "headers", "expected"),
    [
        pytest.param(b"{", {}, (400, "invalid"), id="no JSON"),
        pytest.param(b"{}", {}, (400, "invalid"), id="no array"),
        pytest.param(b"\xff\xfe", {}, (400, "invalid"), id="no UTF-8"),
        pytest.param(b"[" * 100_000, {}, (400, "invalid"), id="deep"),
        pytest.param(b"[" * 50_000 + b"]" * 50_000, {}, (400, "invalid"), id="deep, whole"),
        pytest.param(b"[" + b" " * 200_001 + b"]", {}, (413, "too_large"), id="long"),
        pytest.param(b"[" + b"{}," * 50 + b"{}]", {}, (413, "too_large"), id="many"),
        pytest.param(
            gzip.compress(b" " * 50_000_000), {"Content-Encoding": "gzip"}, (413, "too_large"),
            id="bomb",
        ),
        pytest.param(b"[]", {"Content-Encoding": "gzip"}, (400, "invalid"), id="no gzip"),
        pytest.param(
            gzip.compress(b"[]")[:-4], {"Content-Encoding": "gzip"}, (400, "invalid"), id="cut"
        ),
        pytest.param(
            zlib.compress(b"[]"), {"Content-Encoding": "deflate"},
            (415, "unsupported_media_type"), id="deflate",
        ),
        pytest.param(
            b"[]", {"Content-Type": "text/html"}, (415, "unsupported_media_type"), id="html"
        ),
    ],
)  # fmt: skip
def test_what_is_no_batch_is_refused_whole(
    server: RunningServer, data: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    answer = server.ask(
        "POST", "/v1/events", data=data, headers={"Content-Type": BATCH_MEDIA_TYPE, **headers}
    )
    assert (answer.status, answer.problem) == expected


def test_a_body_that_never_comes_ends_within_its_time(server: RunningServer) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname or "", address.port or 0), 10) as connection:
        connection.sendall(
            f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
            "Content-Length: 100\r\n\r\n[".encode()
        )
        began = time.monotonic()
        said = connection.recv(4096)
    assert b" 408 " in said.split(b"\r\n")[0]
    assert time.monotonic() - began < 5


def test_no_key_a_wrong_one_and_one_that_may_not_are_told_apart(server: RunningServer) -> None:
    reader, sender = server.make_key("acme", "read"), server.make_key("acme", "ingest")
    for key, path, method, expected in (
        ("", "/v1/events", "GET", (401, "unauthorized")),
        ("tsp_00000000_" + "A" * 43, "/v1/events", "GET", (401, "unauthorized")),
        (sender, "/v1/events", "GET", (403, "forbidden")),
        (reader, "/v1/events", "POST", (403, "forbidden")),
        (reader, "/v1/nothing", "GET", (404, "not_found")),
        (reader, "/v1/events", "DELETE", (405, "method_not_allowed")),
    ):
        answer = server.ask(method, path, key=key)
        assert (answer.status, answer.problem) == expected
    assert "WWW-Authenticate" in server.ask("GET", "/v1/key", key="x").headers


def test_a_key_sees_its_own_tenant_and_no_other(server: RunningServer) -> None:
    ann, bob = server.make_key("ann"), server.make_key("bob")
    mine = usage_event(customer="c")
    said = server.ask(
        "POST", "/v1/events", key=ann, data=batch(mine),
        headers={"Content-Type": BATCH_MEDIA_TYPE},
    )  # fmt: skip
    assert said.json["results"][0]["status"] == "accepted"
    assert len(server.ask("GET", "/v1/events", key=ann).json["events"]) == 1
    assert server.ask("GET", "/v1/events", key=bob).json["events"] == []
    wrong = server.ask("GET", "/v1/events", key=bob, headers={"Tollspan-Tenant": "ann"})
    assert (wrong.status, wrong.problem) == (403, "wrong_tenant")
    everybody = server.make_key("*", "read")
    assert server.ask("GET", "/v1/events", key=everybody).status == 400
    seen = server.ask("GET", "/v1/events", key=everybody, headers={"Tollspan-Tenant": "ann"})
    assert len(seen.json["events"]) == 1


def test_a_revoked_key_is_good_for_two_seconds_at_most(server: RunningServer) -> None:
    server.make_key("acme")
    key, secret = server.ledger.tenants.create_key("acme", ["read"], actor="test")
    assert server.ask("GET", "/v1/key", key=secret).json == {"tenant": "acme", "scopes": ["read"]}
    server.ledger.tenants.revoke(key.id, actor="test")
    time.sleep(2.1)
    assert server.ask("GET", "/v1/key", key=secret).status == 401


def test_events_are_shown_page_by_page_as_they_were_sent(server: RunningServer) -> None:
    key = server.make_key("pages")
    facts = [usage_event(customer=f"c{n % 2}", age_seconds=7_200 + n) for n in range(30)]
    server.ask("POST", "/v1/events", key=key, data=batch(*facts))
    found: list[Fact] = []
    path = "/v1/events?limit=8&order=newest"
    while True:
        page = server.ask("GET", path, key=key).json
        assert all(one["tollspanmarks"] == "late" for one in page["events"])
        found += [decode_cloud_event(json.dumps(one).encode()) for one in page["events"]]
        if page["next"] is None:
            break
        path = f"/v1/events?limit=8&order=newest&cursor={quote(page['next'])}"
    assert found == facts
    one = server.ask("GET", "/v1/events?customer=c1&limit=1000", key=key).json["events"]
    assert len(one) == 15
    nobody = server.ask("GET", "/v1/events?customer=unattributed", key=key).json["events"]
    assert nobody == []


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("limit=0", "query.limit"),
        ("limit=1001", "query.limit"),
        ("since=yesterday", "query.since"),
        ("since=2026-11-22T10:00:00", "query.since"),
        ("cursor=x", "query.cursor"),
        ("cursor=%00", "query.cursor"),
        ("cursor=LTE6eA", "query.cursor"),
        ("customer=%00", "query.customer"),
        ("kind=all", "query.kind"),
        ("costumer=ann", "query.costumer"),
    ],
)
def test_a_wrong_question_is_told_where_it_is_wrong(
    server: RunningServer, query: str, place: str
) -> None:
    answer = server.ask("GET", f"/v1/events?{query}")
    assert (answer.status, answer.problem) == (400, "invalid")
    assert answer.json["error"]["message"].startswith(place)


def test_times_at_the_ends_of_the_calendar_are_no_trouble(server: RunningServer) -> None:
    for query in ("since=0001-01-01T00:00:00Z", "until=9999-12-31T23:59:59Z"):
        assert server.ask("GET", f"/v1/events?limit=1&{query}").status == 200


def test_it_says_that_it_lives_without_a_key(server: RunningServer) -> None:
    for path in ("/healthz", "/readyz"):
        assert server.ask("GET", path, key="").json == {"status": "ok"}


def test_a_total_charges_the_accounts_of_all_its_calls(server: RunningServer) -> None:
    charges = [{"budget_id": f"b{number}", "posted": "1"} for number in range(400)]
    total = usage_event()
    folded = {"seconds": 60, "calls": 400}
    sent = changed(total, charges=charges, folded=folded)
    assert post(server, sent) == [{"id": event_id(total), "status": "accepted"}]
