"""A real server under clients that ask too often, too much, too slowly, and never read."""

from __future__ import annotations

import contextlib
import gzip
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from google.rpc.status_pb2 import Status

from tests.contract.central.making import usage_event
from tests.contract.ledger.making import account, charge, event, new_id
from tests.serving import RunningServer, running_server
from tollspan.exporter import Shipper
from tollspan.ledger import SQLiteLedger
from tollspan.server.otlp import PROTOBUF
from tollspan.usage import BATCH_MEDIA_TYPE, TollspanError, encode_batch, encode_cloud_event

PATIENCE = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Run one with small bounds, to which nothing is a proxy."""
    where = f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}"
    with running_server(
        where, requests_per_second=5.0, strangers_per_second=2.0, head_seconds=0.5,
        body_seconds=1.0, most_connections=40, forwarded_allow_ips="", most_buffered_bytes=3 << 20,
        stalled_seconds=0.5,
    ) as running:  # fmt: skip
        yield running


def connect(server: RunningServer) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname or "", address.port or 0), PATIENCE)


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the other end closes."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            said += part
    return said


def until_lets_in(server: RunningServer) -> None:
    """Wait until the strangers' bucket of this address has a token again."""
    end = time.monotonic() + PATIENCE
    while server.ask("GET", "/openapi.json", key="").status == 429:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_key_that_asks_too_often_waits_and_others_do_not(server: RunningServer) -> None:
    busy, other = server.make_key("busy", "read"), server.make_key("calm", "read")
    answers = [server.ask("GET", "/v1/key", key=busy) for _ in range(30)]
    refused = [one for one in answers if one.status == 429]
    assert refused
    assert {one.status for one in answers} == {200, 429}
    assert refused[0].problem == "rate_limited"
    assert refused[0].headers["Retry-After"] == "1"
    assert server.ask("GET", "/v1/key", key=other).status == 200
    time.sleep(1.0)
    assert server.ask("GET", "/v1/key", key=busy).status == 200


def test_otlp_is_told_in_its_own_words_to_wait(server: RunningServer) -> None:
    key = server.make_key("otlp", "ingest")
    headers = {"Content-Type": PROTOBUF}
    answers = [
        server.ask("POST", "/v1/traces", key=key, data=b"", headers=headers) for _ in range(20)
    ]
    refused = [one for one in answers if one.status == 429]
    assert refused
    assert refused[0].headers["Content-Type"] == PROTOBUF
    assert Status.FromString(refused[0].body).code == 8
    assert refused[0].headers["Retry-After"] == "1"


def test_strangers_and_wrong_keys_are_counted_by_address_and_good_keys_pass(
    server: RunningServer,
) -> None:
    good = server.make_key("among-strangers", "read")
    assert server.ask("GET", "/v1/key", key=good).status == 200
    strangers = [server.ask("GET", "/v1/key", key="").status for _ in range(40)]
    assert set(strangers) == {401, 429}
    wrong = [server.ask("GET", "/v1/key", key=f"tsp_12345678_{n}").status for n in range(40)]
    assert set(wrong) == {401, 429}
    time.sleep(2.1)  # it is not remembered any more, but was good
    assert server.ask("GET", "/v1/key", key=good).status == 200
    assert server.ask("GET", "/healthz", key="").status == 200


def test_a_shipper_that_is_told_to_wait_waits(server: RunningServer, tmp_path: Path) -> None:
    key = server.make_key("shipping", "ingest")
    ledger = SQLiteLedger(tmp_path)
    ledger.post(event(new_id(), charge(account("org", limit=10**15), posted=1), cost=1), None)
    while server.ask("GET", "/v1/key", key=key).status != 429:
        pass
    shipper = Shipper(ledger, server.url, key)
    with pytest.raises(TollspanError, match="429: it wants us to wait") as caught:
        shipper.ship()
    assert vars(caught.value)["wait_seconds"] == 1.0
    ledger.close()


def test_under_v1_no_body_of_a_stranger_is_read(server: RunningServer) -> None:
    until_lets_in(server)
    with connect(server) as connection:
        connection.sendall(
            b"POST /v1/webhooks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 5000000\r\n\r\n{"
        )
        said = connection.recv(65_536)
        assert b" 401 " in said.split(b"\r\n")[0]
        began = time.monotonic()
        with contextlib.suppress(OSError):  # it goes on for as long as it is let
            while time.monotonic() - began < PATIENCE:
                connection.sendall(b" ")
                time.sleep(0.02)
        assert time.monotonic() - began < PATIENCE


def test_a_connection_that_says_nothing_and_a_head_that_never_ends_are_closed(
    server: RunningServer,
) -> None:
    with connect(server) as silent, connect(server) as slow, connect(server) as second:
        second.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in second.recv(65_536)
        end = time.monotonic() + PATIENCE
        open_ = {slow: b"GET /healthz HTTP/1.1\r\nX-Slow: ", second: b"G"}
        while open_:
            assert time.monotonic() < end
            for connection, text in list(open_.items()):
                try:
                    connection.sendall(text)
                    open_[connection] = b"x"
                except OSError:
                    del open_[connection]
            time.sleep(0.05)
        assert read_all(silent) == b""


def test_one_address_has_a_part_of_the_connections_and_is_let_in_again(
    server: RunningServer,
) -> None:
    held = [connect(server) for _ in range(10)]  # of 40 a quarter
    try:
        with connect(server) as one_more:
            said = read_all(one_more)
        assert b" 503 " in said.split(b"\r\n")[0]
        assert b"Retry-After: 2" in said
        assert b'"unavailable"' in said
    finally:
        for one in held:
            one.close()
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):
            if server.ask("GET", "/healthz", key="").status == 200:
                break
        assert time.monotonic() < end


def test_who_reads_nothing_of_a_long_answer_loses_the_connection(server: RunningServer) -> None:
    key = server.make_key("long-answers", "ingest", "read")
    facts = [usage_event(customer="c" * 250, session=f"{n}".zfill(250)) for n in range(800)]
    data = encode_batch([encode_cloud_event(fact) for fact in facts])
    sent = server.ask(
        "POST", "/v1/events", key=key, data=data, headers={"Content-Type": BATCH_MEDIA_TYPE}
    )
    assert sent.status == 200
    address = urlsplit(server.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(PATIENCE)
        connection.connect((address.hostname, address.port))
        for _ in range(8):
            connection.sendall(
                f"GET /v1/events?limit=1000 HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {key}\r\n\r\n".encode()
            )
        time.sleep(1.2)
        said = read_all(connection)
    assert said.count(b"HTTP/1.1 200") < 8


def test_bodies_together_have_a_bound_and_what_was_begun_is_given_up(
    server: RunningServer,
) -> None:
    key = server.make_key("many-bodies", "ingest")
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: {BATCH_MEDIA_TYPE}\r\nContent-Length: 1000000\r\n\r\n"
    ).encode()
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(server)) for _ in range(5)]
        for one in held:
            with contextlib.suppress(OSError):
                one.sendall(head + b"[" + b" " * 900_000)
        statuses = [read_all(one).split(b" ")[1:2] for one in held]
    assert [b"503"] in statuses
    assert [b"408"] in statuses
    batch = encode_batch([encode_cloud_event(usage_event())])
    for _ in range(5):
        sent = server.ask(
            "POST", "/v1/events", key=key, data=batch, headers={"Content-Type": BATCH_MEDIA_TYPE}
        )
        assert sent.status == 200


def test_hostile_clients_do_not_grow_the_server(tmp_path: Path) -> None:
    bombs = {
        "gzip": (gzip.compress(b" " * 50_000_000), {"Content-Encoding": "gzip"}),
        "lists": (gzip.compress(b"[" + b"[]," * 1_600_000 + b"[]]"), {"Content-Encoding": "gzip"}),
        "deep": (b"[" * 1_000_000, {}),
        "objects": (b"[" + b"{}," * 300_000 + b"{}]", {}),
    }
    statuses: list[int] = []
    with running_server(f"sqlite:{tmp_path / 'server.db'}") as server:

        def send(name: str) -> None:
            data, headers = bombs[name]
            for _ in range(2):
                answer = server.ask(
                    "POST", "/v1/events", data=data,
                    headers={"Content-Type": BATCH_MEDIA_TYPE, **headers},
                )  # fmt: skip
                statuses.append(answer.status)

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        threads = [threading.Thread(target=send, args=(name,)) for name in bombs for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert server.ask("GET", "/healthz").status == 200
    assert len(statuses) == 32
    assert set(statuses) == {400, 413}
    assert (after - before) / 1024 < 300
