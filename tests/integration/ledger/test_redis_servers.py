"""A real Redis as operators set it up: passwords, sockets, clusters, limits of memory."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import cast

import msgspec
import pytest
import redis

from tests.contract.authority.making import Holder, settlement, sums, want
from tests.contract.ledger.making import account
from tests.harness import ROOT
from tests.services import RedisServer, free_port, running_redis
from tollspan.budget import Refusal
from tollspan.ledger import RedisAuthority
from tollspan.usage import LedgerUnavailableError, new_call_id

pytestmark = pytest.mark.service

WIDE = account("wide", limit=1_000_000)
NARROW = account("narrow", limit=100)


def opened(url: str) -> RedisAuthority:
    made = RedisAuthority(url, timeout_seconds=2)
    made.open_epoch()
    return made


def test_a_password_is_needed_taken_and_never_shown() -> None:
    with running_redis("--requirepass", "s3cr-et/ß") as server:
        address = f"127.0.0.1:{server.port}"
        for login in ("", ":wr0ng@", "nobody:wr0ng@"):
            with pytest.raises(LedgerUnavailableError) as caught:
                RedisAuthority(f"redis://{login}{address}").epoch()
            assert address in str(caught.value)
            assert "wr0ng" not in str(caught.value)
            assert caught.value.__cause__ is None
        right = RedisAuthority(f"redis://:s3cr-et%2F%C3%9F@{address}/3")
        with pytest.raises(LedgerUnavailableError, match="authority open redis://127") as caught:
            right.grant(Holder(right).lease, [want(WIDE, 1)])
        assert "s3cr" not in str(caught.value)
        right.open_epoch()
        assert Holder(right).has(WIDE, 1) == 1
        right.close()


def test_a_user_needs_no_more_rights_than_the_docs_say() -> None:
    page = (ROOT / "docs" / "how-to" / "many-hosts.md").read_text()
    found = re.search(r"ACL SETUSER tollspan ([^`]*)`", page)
    assert found is not None
    with running_redis() as server:
        rights = found[1].replace(">password", ">s3cret")
        assert server.ask(f"ACL SETUSER tollspan on {rights}") == "+OK\r\n"
        authority = opened(f"redis://tollspan:s3cret@127.0.0.1:{server.port}")
        holder = Holder(authority)
        holder.has(WIDE, 10)
        holder.spends(WIDE, 4)
        holder.gives(WIDE, 6, is_last=True)
        authority.is_first(WIDE, Decimal("0.5"))
        Holder(authority).has(WIDE, 10)
        authority.open_epoch()
        assert len(authority.unresolved()) == 1
        assert sums(authority, WIDE) == (4, 0, 10)
        authority.close()


def test_it_is_reached_through_a_socket(redis_server: RedisServer, redis_url: str) -> None:
    authority = opened(f"unix://{redis_server.folder}/socket?db=2&name=here")
    assert Holder(authority).has(WIDE, 1) == 1
    with redis.Redis.from_url(f"{redis_url}/2") as raw:
        assert raw.exists("{tollspan:here}:meta")
    authority.close()


def test_authorities_of_one_server_stay_apart(redis_url: str) -> None:
    first, second = opened(redis_url), opened(f"{redis_url}?name=staging")
    Holder(first).has(NARROW, 100)
    assert Holder(second).has(NARROW, 100) == 100
    first.close()
    second.close()


def test_every_key_has_the_one_hash_tag(redis_url: str) -> None:
    authority = opened(f"{redis_url}?name=one")
    odd = msgspec.structs.replace(NARROW, scope='{"customer":"{acme}"}')
    holder = Holder(authority)
    holder.sends(want(odd, 5), want(WIDE, 5))
    for call_id in (new_call_id(), "a call of {somebody} else"):
        authority.settle([settlement(holder.lease.id, (odd, 1, 0), call_id=call_id)])
    authority.is_first(odd, Decimal("0.5"))
    authority.open_epoch()
    with redis.Redis.from_url(redis_url) as raw:
        keys = cast("list[bytes]", raw.keys("*"))
    assert len(keys) > 5
    assert {key[: key.index(b"}") + 2] for key in keys} == {b"{tollspan:one}:"}
    authority.close()


def test_a_cluster_is_followed_to_the_node_that_has_the_keys() -> None:
    # By default its port is 10,000 higher, which may be none.
    options = [("--cluster-enabled", "yes", "--cluster-port", str(free_port())) for _ in range(2)]
    with running_redis(*options[0]) as first, running_redis(*options[1]) as second:
        slot = int(first.ask("CLUSTER KEYSLOT {tollspan:default}:meta").strip()[1:])
        halves = (range(slot), range(slot, 16_384))
        for server, half in ((first, halves[0]), (second, halves[1])):
            server.ask(f"CLUSTER ADDSLOTSRANGE {half.start} {half.stop - 1}")
        first.ask(f"CLUSTER MEET 127.0.0.1 {second.port} {options[1][-1]}")
        until(lambda: "cluster_state:ok" in first.ask("CLUSTER INFO"))
        until(lambda: "cluster_state:ok" in second.ask("CLUSTER INFO"))
        authority = opened(first.url)
        holder = Holder(authority)
        assert holder.has(WIDE, 10) == 10
        assert first.ask("DBSIZE") == ":0\r\n"
        second.stop()
        with pytest.raises(LedgerUnavailableError):
            holder.renews()
        second.start()
        until(lambda: "cluster_state:ok" in second.ask("CLUSTER INFO"))
        assert holder.has(WIDE, 10, known=10) == 20
        authority.close()


def until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    give_up_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up_at, "it never was"
        time.sleep(0.05)


def test_a_server_that_may_throw_keys_away_is_not_opened() -> None:
    options = ("--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru")
    with running_redis(*options) as server:
        authority = RedisAuthority(server.url)
        with pytest.raises(LedgerUnavailableError, match=r"volatile-lru.*noeviction"):
            authority.open_epoch()
        assert authority.epoch() is None
        server.ask("CONFIG SET maxmemory-policy noeviction")
        assert authority.open_epoch() == authority.epoch()
        authority.close()


def test_a_full_server_refuses_and_does_nothing_by_halves() -> None:
    with running_redis("--maxmemory", "64mb", "--maxmemory-policy", "noeviction") as server:
        authority = opened(server.url)
        holder = Holder(authority)
        holder.has(WIDE, 10)
        told = settlement(holder.lease.id, (WIDE, 4, 0))
        server.ask("CONFIG SET maxmemory 1mb")
        for message in (
            lambda: holder.has(WIDE, 10, known=10),
            lambda: authority.settle([told]),
            lambda: holder.gives(WIDE, 1),
        ):
            with pytest.raises(LedgerUnavailableError, match="maxmemory"):
                message()
        assert sums(authority, WIDE) == (0, 10, 0)
        server.ask("CONFIG SET maxmemory 64mb")
        authority.settle([told])
        assert sums(authority, WIDE) == (4, 6, 0)
        authority.close()


def test_a_replica_grants_nothing() -> None:
    with running_redis("--repl-diskless-sync-delay", "0") as first, running_redis() as second:
        opened(first.url).close()
        second.ask(f"REPLICAOF 127.0.0.1 {first.port}")
        until(lambda: "master_link_status:up" in second.ask("INFO replication"))
        authority = RedisAuthority(second.url)
        assert authority.epoch() is not None
        with pytest.raises(LedgerUnavailableError, match=r"(?i)read.?only"):
            Holder(authority).sends(want(WIDE, 1))
        authority.close()


def test_scripts_that_the_server_forgot_are_sent_again(
    redis_server: RedisServer, redis_url: str
) -> None:
    authority = opened(redis_url)
    holder = Holder(authority)
    holder.has(WIDE, 10)
    redis_server.ask("SCRIPT FLUSH")
    assert holder.has(WIDE, 10, known=10) == 20
    authority.close()


def test_a_forked_child_connects_anew(redis_url: str) -> None:
    authority = opened(redis_url)
    Holder(authority).has(WIDE, 10)
    child = os.fork()
    if child == 0:
        authority.close()
        code = 1
        try:
            code = 0 if sums(authority, WIDE) == (0, 10, 0) else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert sums(authority, WIDE) == (0, 10, 0)
    authority.close()


def test_more_threads_than_connections_wait_their_turn(redis_url: str) -> None:
    authority = opened(redis_url)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                Holder(authority).has(WIDE, 1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sums(authority, WIDE) == (0, 500, 0)
    authority.close()


def test_a_lease_of_many_accounts_ends_in_pages_and_counts_all_the_time(redis_url: str) -> None:
    now = [1_000_000]
    made = RedisAuthority(redis_url, life_seconds=30, timeout_seconds=5, clock=lambda: now[0])
    made.open_epoch()
    holder = Holder(made)
    accounts = [msgspec.structs.replace(NARROW, scope=f"{one}") for one in range(2_000)]
    holder.sends(*(want(one, 60) for one in accounts))
    now[0] += 31_000
    other = Holder(made)
    for number in range(30):  # each ends a page of it
        assert isinstance(other.asks(accounts[number * 60], 41), Refusal)
        assert all(one.counted == 60 for one in made.balances(accounts))
    made.expire()
    assert len(made.unresolved()) == 2_000
    assert all(one.unresolved == 60 for one in made.balances(accounts))
    made.close()


def test_whoever_has_no_redis_loads_no_client() -> None:
    code = (
        "import sys; from tollspan.ledger import RedisAuthority; print('redis' in sys.modules)\n"
        "sys.modules['redis'] = None; RedisAuthority('redis://:s3cret@127.0.0.1:1')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n"
    last = done.stderr.splitlines()[-1]
    assert "redis://127.0.0.1:1 needs a client: pip install 'tollspan[redis]'" in last
    assert "s3cret" not in done.stderr


@contextmanager
def breaking(server: RedisServer) -> Iterator[tuple[str, threading.Event]]:
    """Pass all on to a server; once the event is set, an answer and its connection are lost."""
    breaks = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(near: socket.socket, far: socket.socket, *, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(65_536):
                if is_answer and breaks.is_set():
                    breaks.clear()
                    break
                far.sendall(data)
        for end in (near, far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        near.close()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", server.port))
                for pair, is_answer in (((near, far), False), ((far, near), True)):
                    run = partial(pump, *pair, is_answer=is_answer)
                    threading.Thread(target=run, daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}", breaks
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_what_was_done_before_a_connection_broke_is_not_done_again(
    redis_server: RedisServer, redis_url: str
) -> None:
    with breaking(redis_server) as (url, breaks):
        authority = opened(url)
        holder = Holder(authority)
        holder.has(WIDE, 10)
        breaks.set()
        assert holder.has(WIDE, 20, known=10) == 30
        assert not breaks.is_set()
        breaks.set()
        holder.spends(WIDE, 5)
        breaks.set()
        holder.gives(WIDE, 3)
        assert sums(authority, WIDE) == (5, 22, 0)
        breaks.set()
        with pytest.raises(LedgerUnavailableError):
            authority.is_first(WIDE, Decimal("0.5"))
        assert not authority.is_first(WIDE, Decimal("0.5"))
        authority.close()
