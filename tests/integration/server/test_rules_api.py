"""`/v1/rules` as its clients meet it: read, put on a condition, looked up, rolled back, refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.contract.central.making import usage_event
from tests.serving import Answer, RunningServer, running_server
from tollspan.budget import parse_rules
from tollspan.ledger.central import Scope
from tollspan.usage import BATCH_MEDIA_TYPE, EventVerdicts, encode_batch, encode_cloud_event

YAML = "application/yaml"
FIRST = "version: 1\nbudgets:\n  - {id: all, limit: 5 USD}  # for everybody\n"
SECOND = 'version: 1\nbudgets: [{id: all, limit: 7 USD, window: month, message: "größer 💶"}]\n'


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningServer]:
    where = f"sqlite:{tmp_path / 'server.db'}"
    if request.param == "postgresql":
        where = request.getfixturevalue("postgres_url")
    with running_server(where) as running:
        yield running


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(f"sqlite:{tmp_path / 'server.db'}") as running:
        yield running


def put(server: RunningServer, text: str | bytes, **more: Any) -> Answer:
    headers = {"Content-Type": YAML, **more.pop("headers", {})}
    data = text if isinstance(text, bytes) else text.encode()
    return server.ask("PUT", "/v1/rules", data=data, headers=headers, **more)


def get(server: RunningServer, path: str = "/v1/rules", **more: Any) -> Answer:
    return server.ask("GET", path, headers={"Accept": YAML, **more.pop("headers", {})}, **more)


def test_a_tenant_without_rules_is_answered_with_nothing(server: RunningServer) -> None:
    answer = get(server)
    assert (answer.status, answer.body) == (204, b"")
    assert "ETag" not in answer.headers


def test_rules_that_are_put_are_read_as_they_were_and_as_json(server: RunningServer) -> None:
    for number, text in enumerate((FIRST, SECOND), 1):
        made = put(server, text)
        assert made.status == 201
        assert (made.json["version"], made.json["etag"]) == (number, made.headers["ETag"])
        assert made.json["put_by"].startswith("key ")
        answer = get(server)
        assert (answer.status, answer.body.decode()) == (200, text)
        assert answer.headers["Content-Type"].startswith(YAML)
        assert answer.headers["ETag"] == made.headers["ETag"]
        as_json = server.ask("GET", "/v1/rules")
        assert as_json.headers["Content-Type"] == "application/json"
        assert as_json.headers["ETag"] != answer.headers["ETag"]
        assert parse_rules(as_json.body.decode()) == parse_rules(text)


def test_who_has_the_rules_is_told_that_nothing_changed(server: RunningServer) -> None:
    etag = put(server, FIRST).headers["ETag"]
    for said in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = get(server, headers={"If-None-Match": said})
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)
    assert server.ask("GET", "/v1/rules", headers={"If-None-Match": etag}).status == 200  # JSON
    put(server, SECOND)
    assert get(server, headers={"If-None-Match": etag}).body.decode() == SECOND


def test_the_same_rules_again_are_no_new_version(server: RunningServer) -> None:
    first = put(server, FIRST)
    again = put(server, FIRST)
    assert (first.status, again.status, again.json) == (201, 200, first.json)
    assert len(server.ask("GET", "/v1/rules/history").json["versions"]) == 1


def test_rules_are_put_only_in_the_place_of_those_that_are_named(server: RunningServer) -> None:
    assert put(server, FIRST, headers={"If-Match": "*"}).status == 412
    first = put(server, FIRST, headers={"If-None-Match": "*"})
    assert first.status == 201
    assert put(server, SECOND, headers={"If-None-Match": "*"}).status == 412
    etag = first.headers["ETag"]
    refused = put(server, SECOND, headers={"If-Match": '"other"'})
    assert (refused.status, refused.problem) == (412, "precondition_failed")
    assert refused.headers["ETag"] == etag
    assert put(server, SECOND, headers={"If-Match": f"W/{etag}"}).status == 412
    assert get(server).body.decode() == FIRST
    json_etag = server.ask("GET", "/v1/rules").headers["ETag"]
    second = put(server, SECOND, headers={"If-Match": f'"x", {json_etag}'})
    assert second.status == 201
    assert put(server, FIRST, headers={"If-Match": etag}).status == 412
    for wrong in ("x", '"x', '"a" "b"', ""):
        said = put(server, FIRST, headers={"If-Match": wrong})
        assert (said.status, said.problem) == (400, "invalid")


def test_of_many_that_change_the_same_rules_one_does(server: RunningServer) -> None:
    etag = put(server, FIRST).headers["ETag"]

    def change(number: int) -> int:
        return put(server, f"version: 1  # {number}\n", headers={"If-Match": etag}).status

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(change, range(6))) == [201, 412, 412, 412, 412, 412]


def test_history_goes_back_page_by_page_and_each_version_can_be_read(server: RunningServer) -> None:
    texts = [f"version: 1  # {number}\n" for number in range(1, 6)]
    for text in texts:
        put(server, text)
    found: list[dict[str, Any]] = []
    path = "/v1/rules/history?limit=2"
    while True:
        page = server.ask("GET", path).json
        found += page["versions"]
        if page["next"] is None:
            break
        path = f"/v1/rules/history?limit=2&cursor={page['next']}"
    assert [one["version"] for one in found] == [5, 4, 3, 2, 1]
    for one in found:
        answer = get(server, f"/v1/rules/history/{one['version']}")
        assert (answer.body.decode(), answer.headers["ETag"]) == (
            texts[one["version"] - 1],
            one["etag"],
        )
    assert server.ask("GET", "/v1/rules/history/6").status == 404
    for wrong in ("history/0", f"history/{10**30}", "history/x", "history?cursor=x", "history?a=1"):
        assert server.ask("GET", f"/v1/rules/{wrong}").status == 400


def test_older_rules_are_put_in_force_again_as_a_new_version(server: RunningServer) -> None:
    for text in (FIRST, SECOND):
        etag = put(server, text).headers["ETag"]
    path = "/v1/rules/roll-back"
    assert server.ask("POST", path, body={"version": 9}).status == 404
    wrong = server.ask("POST", path, body={"version": 1}, headers={"If-Match": '"x"'})
    assert wrong.status == 412
    back = server.ask("POST", path, body={"version": 1}, headers={"If-Match": etag})
    assert (back.status, back.json["version"], back.json["rolled_back_to"]) == (201, 3, 1)
    assert get(server).body.decode() == FIRST
    assert server.ask("POST", path, body={"version": 1}).status == 200  # in force already
    bodies: list[object] = [{"version": "1"}, {"version": 10**20}, {"version": 1, "a": 2}, {}, []]
    for body in (*bodies, None):
        assert server.ask("POST", path, body=body).status == 400


def test_all_that_is_wrong_is_told_with_lines_and_nothing_is_stored(alone: RunningServer) -> None:
    answer = put(
        alone,
        "version: 1\nbudgets:\n  - {id: a, limit: 10 EUR}\n  - {id: b, limit: 1 USD, per: [x]}\n",
    )
    assert (answer.status, answer.problem) == (400, "invalid_rules")
    problems = answer.json["error"]["problems"]
    assert [one["line"] for one in problems] == [3, 4]
    assert "EUR; expected USD" in problems[0]["message"]
    assert "customer" in problems[1]["message"]
    assert answer.json["error"]["message"].startswith("rules:3: ")
    assert get(alone).status == 204


@pytest.mark.parametrize(
    ("text", "kind", "status"),
    [
        pytest.param(b'{"version": 1}', "application/json", 201, id="json"),
        pytest.param(b"version: 1", "application/json", 400, id="yaml said to be json"),
        pytest.param(
            b'{"version": 1, "budgets": [{"id": "a",\n\t"limit": "1 USD",'
            b' "message": "\\ud83d\\udcb6 \\/ \\\\ud83d\\\\udcb6"}]}',
            "application/json", 201, id="json with escapes",
        ),
        pytest.param(b'{"version": 1, "version": 1}', "application/json", 400, id="a key twice"),
        pytest.param(b"version: 1", "text/html", 415, id="html"),
        pytest.param(b"\xff", YAML, 400, id="no text"),
        pytest.param(b"version: 1 \0", YAML, 400, id="NUL"),
        pytest.param(b"", YAML, 400, id="empty"),
        pytest.param(b"\xef\xbb\xbfversion: 1", YAML, 201, id="with a mark"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused(
    alone: RunningServer, text: bytes, kind: str, status: int
) -> None:
    answer = put(alone, text, headers={"Content-Type": kind})
    assert answer.status == status
    if status == 201:
        as_json = alone.ask("GET", "/v1/rules")
        rules = parse_rules(as_json.body.decode())
        assert rules == parse_rules(get(alone).body.decode())
        if rules.budgets:
            assert rules.budgets[0].message == "💶 / \\ud83d\\udcb6"


BOMB = (
    "version: 1\nbudgets:\n  - &b {id: a, limit: 1 USD, where: {model: "
    "&l0 [x, x, x, x, x, x, x, x, x, x]"
    "}}\n" + "".join(f"x{n}: &l{n + 1} [{', '.join([f'*l{n}'] * 10)}]\n" for n in range(9))
)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        pytest.param(b"#" * ((1 << 20) + 1), 413, id="large"),
        pytest.param(b"[" * 1_000_000, 400, id="deep"),
        pytest.param(b"- " * 500_000, 400, id="deep in lines"),
        pytest.param(b"[" + b"a," * 500_000 + b"]", 413, id="wide"),
        pytest.param(b"[" * 900 + b"a," * 500_000 + b"]" * 900, 413, id="deep and wide"),
        pytest.param(BOMB.encode(), 413, id="aliases of aliases"),
        pytest.param(b"version: 1\nbudgets: &a [*a]\n", 413, id="an alias of itself"),
        pytest.param(
            b"version: 1\nbudgets:\n" + b"  - {id: a, limit: 1 EUR}\n" * 19_000, 400, id="all wrong"
        ),
        pytest.param(b"a" * 1_000_000 + b": b", 400, id="a long key"),
    ],
)
def test_a_hostile_document_is_refused_quickly(
    alone: RunningServer, text: bytes, status: int
) -> None:
    began = time.monotonic()
    assert put(alone, text).status == status
    assert time.monotonic() - began < 10
    assert get(alone).status == 204


def test_json_that_is_nested_very_deep_is_refused(alone: RunningServer) -> None:
    for text in (b"[" * 500_000, b"[" * 100_000 + b"]" * 100_000):
        assert put(alone, text, headers={"Content-Type": "application/json"}).status == 400


def test_who_may_what(alone: RunningServer) -> None:
    scopes: tuple[Scope, ...] = ("ingest", "read", "admin")
    keys = {scope: alone.make_key("acme", scope) for scope in scopes}
    assert put(alone, FIRST, key=keys["admin"]).status == 201
    for scope, key in keys.items():
        assert get(alone, key=key).status == 200
        may_change = scope == "admin"
        assert put(alone, SECOND, key=key).status == (201 if may_change else 403)
        back = alone.ask("POST", "/v1/rules/roll-back", key=key, body={"version": 1})
        assert back.status == (201 if may_change else 403)
        looks = 403 if scope == "ingest" else 200
        assert alone.ask("GET", "/v1/rules/history", key=key).status == looks
        assert alone.ask("GET", "/v1/rules/history/1", key=key).status == looks
    for method, path in (("GET", ""), ("PUT", ""), ("GET", "/history"), ("POST", "/roll-back")):
        assert alone.ask(method, f"/v1/rules{path}", key="tsp_00000000_" + "A" * 43).status == 401


def test_no_key_reads_or_changes_another_tenants_rules(alone: RunningServer) -> None:
    put(alone, FIRST)
    eve = alone.make_key("eve")
    assert get(alone, key=eve).status == 204
    assert alone.ask("GET", "/v1/rules/history/1", key=eve).status == 404
    assert alone.ask("GET", "/v1/rules/history", key=eve).json["versions"] == []
    assert alone.ask("POST", "/v1/rules/roll-back", key=eve, body={"version": 1}).status == 404
    said = {"Tollspan-Tenant": "acme"}
    for answer in (get(alone, key=eve, headers=said), put(alone, SECOND, key=eve, headers=said)):
        assert (answer.status, answer.problem) == (403, "wrong_tenant")
    assert put(alone, SECOND, key=eve).status == 201
    assert get(alone).body.decode() == FIRST
    everybody = alone.make_key("*")
    assert put(alone, SECOND, key=everybody, headers={"Tollspan-Tenant": "nobody"}).status == 403
    assert put(alone, SECOND, key=everybody, headers=said).status == 201
    assert get(alone).body.decode() == SECOND


def verdicts(server: RunningServer) -> EventVerdicts:
    answer = server.ask(
        "POST", "/v1/events", data=encode_batch([encode_cloud_event(usage_event())]),
        headers={"Content-Type": BATCH_MEDIA_TYPE},
    )  # fmt: skip
    assert answer.status == 200
    told = answer.json
    assert len(told["results"]) == 1
    return EventVerdicts(results=(), rules=told.get("rules"))


def test_replies_to_events_name_the_rules_as_hosts_fetch_them(alone: RunningServer) -> None:
    assert verdicts(alone).rules is None
    put(alone, FIRST)
    assert verdicts(alone).rules == get(alone).headers["ETag"]
    put(alone, SECOND)
    assert verdicts(alone).rules == get(alone).headers["ETag"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/yaml, */*", YAML),
        ("application/yaml, text/yaml, text/plain, */*", YAML),
        ("application/yaml;q=0.5, application/json", "application/json"),
        ("application/json;q=0.5, application/yaml;q=0.6", YAML),
        ("application/json;q=0, */*", YAML),
        ("text/html", None),
        ("application/yaml;q=x", None),
    ],
)
def test_the_form_is_the_one_that_is_wanted_most(
    alone: RunningServer, accept: str, kind: str | None
) -> None:
    put(alone, FIRST)
    answer = alone.ask("GET", "/v1/rules", headers={"Accept": accept})
    if kind is None:
        assert (answer.status, answer.problem) == (406, "not_acceptable")
    else:
        assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, kind)
        if kind != YAML:
            assert json.loads(answer.body)["version"] == 1
