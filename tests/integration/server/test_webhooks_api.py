"""Webhooks of a real server: signed, in order, tried again, and never into its own network."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import msgspec
import pytest

from tests.contract.ledger.making import new_id, refused
from tests.e2e.waiting import wait_until
from tests.fakes.hooks import FakeHooks
from tests.serving import RunningServer, running_server
from tollspan.server import ServerSettings
from tollspan.server.webhooks.addresses import place_of
from tollspan.server.webhooks.posting import Poster
from tollspan.usage import BATCH_MEDIA_TYPE, TollspanError, encode_batch, encode_cloud_event


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    where = f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}"
    with running_server(
        where, private_webhooks=True, webhook_pause_seconds=0.05, webhook_seconds=1.0
    ) as running:
        yield running


@pytest.fixture
def hooks() -> Iterator[FakeHooks]:
    with FakeHooks() as fake:
        yield fake


def deny(server: RunningServer, key: str, count: int = 1) -> list[str]:
    """Send refusals as a host does; return their ids."""
    ids: list[str] = []
    for _ in range(count):
        made = refused(new_id())
        call = msgspec.structs.replace(made.call, started_at_unix_ns=time.time_ns())
        ids.append(made.id)
        said = server.ask(
            "POST", "/v1/events", key=key,
            data=encode_batch([encode_cloud_event(msgspec.structs.replace(made, call=call))]),
            headers={"Content-Type": BATCH_MEDIA_TYPE},
        )  # fmt: skip
        assert said.json["results"][0]["status"] == "accepted"
    return ids


def make(server: RunningServer, hooks: FakeHooks, key: str) -> tuple[str, str]:
    """Make a target; return its path and secret."""
    said = server.ask(
        "POST", "/v1/webhooks", key=key, body={"url": hooks.url, "events": ["denied"]}
    )
    assert said.status == 201, said.body
    return f"/v1/webhooks/{said.json['id']}", said.json["secret"]


def test_a_refusal_is_told_once_and_signed(server: RunningServer, hooks: FakeHooks) -> None:
    key = server.make_key("signed")
    path, secret = make(server, hooks, key)
    ids = deny(server, key, 3)
    wait_until(lambda: len(hooks.told) == 3)
    assert [one.json["data"]["event_id"] for one in hooks.told] == ids
    assert all(one.is_signed_by(secret) for one in hooks.told)
    assert not hooks.told[0].is_signed_by("whsec_other")
    wait_until(lambda: server.ask("GET", f"{path}/deliveries?state=waiting", key=key).json
               == {"deliveries": [], "next": None})  # fmt: skip
    page = server.ask("GET", f"{path}/deliveries?limit=2", key=key).json
    assert [one["state"] for one in page["deliveries"]] == ["delivered", "delivered"]
    assert page["deliveries"][0]["body"] == hooks.told[2].body.decode()
    last = server.ask("GET", f"{path}/deliveries?cursor={page['next']}", key=key).json
    assert [one["id"] for one in last["deliveries"]] == [hooks.told[0].id]
    assert secret not in str(server.ask("GET", path, key=key).json)


def test_both_secrets_sign_while_one_is_changed(server: RunningServer, hooks: FakeHooks) -> None:
    key = server.make_key("rotating")
    path, first = make(server, hooks, key)
    second = server.ask("POST", f"{path}/rotate", key=key).json["secret"]
    deny(server, key)
    wait_until(lambda: len(hooks.told) == 1)
    assert hooks.told[0].is_signed_by(first)
    assert hooks.told[0].is_signed_by(second)
    third = server.ask("POST", f"{path}/rotate", key=key, body={"keep_seconds": 0}).json["secret"]
    deny(server, key)
    wait_until(lambda: len(hooks.told) == 2)
    assert hooks.told[1].is_signed_by(third)
    assert not hooks.told[1].is_signed_by(second)


@pytest.mark.parametrize(
    ("status", "mood", "problem"),
    [
        (500, "good", "it answers 500"),
        (301, "good", "sends us elsewhere"),
        (200, "silent", "within 1 s"),
        (200, "drips", "within 1 s"),
    ],
)
def test_what_fails_is_sent_again_under_its_id_and_holds_back_what_follows(
    server: RunningServer, hooks: FakeHooks, status: int, mood: str, problem: str
) -> None:
    key = server.make_key(f"failing-{status}-{mood}")
    hooks.status, hooks.mood = status, mood
    hooks.headers = {"location": hooks.url}
    path, _ = make(server, hooks, key)
    ids = deny(server, key, 2)

    def oldest() -> dict[str, object]:
        found: dict[str, object] = server.ask("GET", f"{path}/deliveries", key=key).json[
            "deliveries"
        ][-1]
        return found

    wait_until(lambda: int(str(oldest()["attempts"])) >= 2)
    assert problem in str(oldest()["problem"])
    hooks.status, hooks.mood = 200, "good"
    hooks.go_on.set()
    wait_until(lambda: oldest()["state"] == "delivered")
    wait_until(lambda: hooks.told[-1].json["data"]["event_id"] == ids[1])
    assert [one.json["data"]["event_id"] for one in hooks.told] == [
        *[ids[0]] * (len(hooks.told) - 1), ids[1],
    ]  # fmt: skip
    assert len({one.id for one in hooks.told}) == 2


def test_a_target_that_asks_for_time_is_given_it(server: RunningServer, hooks: FakeHooks) -> None:
    key = server.make_key("waiting")
    hooks.status, hooks.headers = 503, {"retry-after": "600"}
    path, _ = make(server, hooks, key)
    deny(server, key)
    wait_until(lambda: server.ask("GET", path, key=key).json["failures"] == 1)
    later = server.ask("GET", path, key=key).json["next_try_at"]
    assert later is not None
    hooks.status = 200
    time.sleep(1)
    assert len(hooks.told) == 1
    server.ask("PATCH", path, key=key, body={"label": "now"})
    wait_until(lambda: len(hooks.told) == 2)


def test_a_silent_target_does_not_hold_up_others(server: RunningServer, hooks: FakeHooks) -> None:
    slow, quick = server.make_key("slow"), server.make_key("quick")
    with FakeHooks() as stuck:
        stuck.mood = "silent"
        for _ in range(6):
            make(server, stuck, slow)
        make(server, hooks, quick)
        deny(server, slow)
        deny(server, quick)
        wait_until(lambda: len(hooks.told) == 1)


def test_what_was_delivered_is_replayed_on_request(server: RunningServer, hooks: FakeHooks) -> None:
    key = server.make_key("replaying")
    path, _ = make(server, hooks, key)
    deny(server, key)

    def states() -> list[str]:
        page = server.ask("GET", f"{path}/deliveries", key=key).json["deliveries"]
        return [one["state"] for one in page]

    wait_until(lambda: states() == ["delivered"])
    again = server.ask("POST", f"{path}/replay", key=key, body={"deliveries": [hooks.told[0].id]})
    assert again.json == {"replayed": 1}
    wait_until(lambda: len(hooks.told) == 2)
    assert hooks.told[0].id == hooks.told[1].id
    assert server.ask("POST", f"{path}/replay", key=key).json == {"replayed": 0}


def test_only_admins_of_the_tenant_have_webhooks(server: RunningServer, hooks: FakeHooks) -> None:
    key, other = server.make_key("mine"), server.make_key("theirs")
    path, _ = make(server, hooks, key)
    assert server.ask("GET", "/v1/webhooks", key=server.make_key("mine", "read")).status == 403
    for method, below in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/deliveries"),
                          ("POST", "/rotate"), ("POST", "/replay")):  # fmt: skip
        body: object = {} if method in ("PATCH", "POST") else None
        assert server.ask(method, path + below, key=other, body=body).status == 404
    assert server.ask("GET", "/v1/webhooks", key=other).json == {"webhooks": []}
    assert server.ask("DELETE", path, key=key).status == 204
    assert server.ask("GET", path, key=key).status == 404


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "https://", "https://u:p@example.com/",
        "https://127.0.0.1/", "https://[::1]/", "https://10.1.2.3/", "https://169.254.169.254/x",
        "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/",
        "https://0.0.0.0/", "https://100.64.0.1/", "https://[fe80::1]/", "https://224.0.0.1/",
        "https://example.com:99999/", "https://exa mple.com/", "https://example.com/#x", "x",
        "https://[::1", "https://example.com/\u00e9",
    ],
)  # fmt: skip
def test_no_target_is_of_a_private_network_or_of_another_form(url: str) -> None:
    with pytest.raises(TollspanError, match="url: "):
        place_of(url, may_be_private=False)


@pytest.mark.parametrize("name", ["localhost", "127.1", "0x7f000001", "2130706433"])
def test_a_name_of_a_private_address_is_refused_when_it_is_sent(
    name: str, hooks: FakeHooks
) -> None:
    port = hooks.url.split(":")[2].split("/")[0]
    url = f"https://{name}:{port}/"
    assert place_of(url, may_be_private=False).host == name
    posted = Poster(may_be_private=False, seconds=1).post(url, b"{}", {})
    assert "private network" in posted.problem
    assert hooks.told == []


def test_a_refused_address_is_answered_with_what_is_wrong(server: RunningServer) -> None:
    said = server.ask(
        "POST", "/v1/webhooks", body={"url": "https://u:p@a.example/", "events": ["denied"]}
    )
    assert (said.status, said.problem) == (400, "invalid")
    assert "u:p" not in said.body.decode()
    for body in ({"url": "https://a.example"}, {"url": "https://a.example", "events": ["x"]}):
        assert server.ask("POST", "/v1/webhooks", body=body).status == 400
    many = [server.ask("POST", "/v1/webhooks", key=server.key,
                       body={"url": "https://a.example", "events": ["denied"]}).status
            for _ in range(21)]  # fmt: skip
    assert many == [201] * 20 + [400]
    assert ServerSettings(database="").private_webhooks is False
    assert json.loads(said.body)["error"]["message"].startswith("url: ")
