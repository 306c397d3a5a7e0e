"""Signing in to the page: who may, for how long, and what no other site can do with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.pages import Person
from tests.serving import RunningServer, running_server
from tollspan.server.page.signing import Tries
from tollspan.server.problems import ProblemError


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    where = f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}"
    with running_server(where) as running:
        yield running


def test_who_is_not_signed_in_is_sent_to_sign_in_and_then_to_what_was_wanted(
    server: RunningServer,
) -> None:
    person = Person(server)
    answer = person.get("/spend?by=model&range=7d", follow=False)
    assert answer.status == 303
    assert answer.headers["Location"] == "/login?next=%2Fspend%3Fby%3Dmodel%26range%3D7d"
    form = person.get(answer.headers["Location"])
    assert ("input", "/spend?by=model&range=7d") in [
        (tag, said.get("value")) for tag, said in form.tags if said.get("name") == "next"
    ]
    signed = person.post(
        "/login", form_token=form.form_token, key=server.make_key("wanted", "read"),
        next="/spend?by=model&range=7d",
    )  # fmt: skip
    assert (signed.status, signed.headers["Location"]) == (303, "/spend?by=model&range=7d")
    assert person.get("/").status == 200


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/\t/evil", ""]
)
def test_signing_in_leads_to_no_other_host(server: RunningServer, wanted: str) -> None:
    assert Person(server).sign_in(server.key, wanted).headers["Location"] == "/"


def test_the_cookie_is_out_of_reach_and_holds_no_key(server: RunningServer) -> None:
    person = Person(server)
    answer = person.sign_in(server.key)
    said = [one for one in answer.headers["Set-Cookie"].split(", ") if one.startswith("tollspan=")]
    assert len(said) == 1
    parts = {part.strip().lower() for part in said[0].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= parts
    assert "secure" not in parts  # it is plain HTTP here; under TLS, see below
    assert all(server.key not in one for one in person.cookies())
    assert server.key not in answer.headers["Location"]


def test_under_tls_the_cookie_is_for_tls_and_this_host_alone(server: RunningServer) -> None:
    # uvicorn believes what a proxy on loopback says of the scheme.
    session = requests.Session()
    session.headers["X-Forwarded-Proto"] = "https"
    answer = session.get(f"{server.url}/login", timeout=30)
    said = answer.headers["Set-Cookie"]
    assert said.startswith("__Host-tollspan-login=")
    assert "; secure" in said.lower()
    assert "domain" not in said.lower()


def test_a_key_that_may_neither_read_nor_administer_does_not_sign_in(
    server: RunningServer,
) -> None:
    answer = Person(server).sign_in(server.make_key("senders", "ingest"))
    assert answer.status == 403
    assert "This key may ingest" in answer.words
    assert Person(server).sign_in(server.make_key("senders", "admin")).status == 303


def test_a_wrong_key_is_told_so_and_never_shown_again(server: RunningServer) -> None:
    answer = Person(server).sign_in("tsp_00000000_<script>")
    assert answer.status == 403
    assert "no API key that is good here" in answer.words
    assert "00000000" not in answer.text


def test_a_revoked_key_ends_its_sessions_at_once(server: RunningServer) -> None:
    key = server.make_key("revoked", "read")
    person = Person(server)
    person.sign_in(key)
    assert person.get("/", follow=False).status == 200
    server.ledger.tenants.revoke(key.split("_")[1], actor="test")
    assert person.get("/", follow=False).status == 303


def test_signing_out_ends_the_session_for_whoever_has_its_cookie(server: RunningServer) -> None:
    person = Person(server)
    person.sign_in(server.key)
    kept = requests.cookies.RequestsCookieJar()
    kept.update(person.session.cookies)
    token = person.get("/").form_token
    assert person.post("/logout", form_token=token).headers["Location"] == "/login"
    again = requests.get(f"{server.url}/", cookies=kept, allow_redirects=False, timeout=30)
    assert again.status_code == 303


def test_a_form_without_its_token_does_nothing(server: RunningServer) -> None:
    person = Person(server)
    person.get("/login")
    assert person.post("/login", key=server.key).status == 403
    assert person.post("/login", key=server.key, form_token="0" * 64).status == 403
    person.sign_in(server.key)
    assert person.post("/logout", other="x").status == 403
    other = Person(server)
    other.sign_in(server.key)
    assert person.post("/logout", form_token=other.get("/").form_token).status == 403
    assert person.get("/", follow=False).status == 200


def test_the_token_of_a_form_does_not_tell_the_cookie(server: RunningServer) -> None:
    person = Person(server)
    person.sign_in(server.key)
    page = person.get("/")
    assert all(value not in page.text for value in person.cookies() if value)


def test_a_new_session_ends_the_one_before_in_the_same_browser(server: RunningServer) -> None:
    person = Person(server)
    person.sign_in(server.key)
    kept = requests.cookies.RequestsCookieJar()
    kept.update(person.session.cookies)
    person.sign_in(server.key)
    again = requests.get(f"{server.url}/", cookies=kept, allow_redirects=False, timeout=30)
    assert again.status_code == 303


def test_an_api_key_in_the_address_is_good_for_nothing(server: RunningServer) -> None:
    answer = Person(server).get(f"/?key={server.key}", follow=False)
    assert answer.status in (303, 400)
    signed = Person(server)
    signed.sign_in(server.key)
    assert signed.get(f"/?key={server.key}").status == 400


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        pytest.param(b"{}", "application/json", 415, id="another type"),
        pytest.param(b"a=1&" * 20, "application/x-www-form-urlencoded", 400, id="many fields"),
        pytest.param(b"a=" + b"1" * 9_000, "application/x-www-form-urlencoded", 413, id="long"),
        pytest.param(b"\xff\xfe", "application/x-www-form-urlencoded", 400, id="no text"),
    ],
)
def test_a_form_that_is_none_is_told_so(
    server: RunningServer, body: bytes, kind: str, status: int
) -> None:
    answer = server.ask("POST", "/login", key="", data=body, headers={"Content-Type": kind})
    assert answer.status == status
    assert answer.body.startswith(b"<!doctype html>")


def test_too_many_wrong_keys_make_an_address_wait(tmp_path: Path) -> None:
    with running_server(f"sqlite:{tmp_path}/s.db") as server:
        person = Person(server)
        assert [person.sign_in("wrong").status for _ in range(10)] == [403] * 10
        answer = person.sign_in(server.key)
        assert answer.status == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 61


def test_tries_are_counted_for_a_minute_and_for_so_many_addresses() -> None:
    now = [0.0]
    tries = Tries(lambda: now[0])
    for _ in range(10):
        tries.note("a")
    with pytest.raises(ProblemError):
        tries.check("a")
    tries.check("b")
    now[0] = 60.0
    tries.check("a")
    for number in range(5_000):
        tries.note(str(number))
    assert len(tries._wrong) == 4_096
