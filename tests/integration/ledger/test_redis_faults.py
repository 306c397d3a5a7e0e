"""A real Redis that is slow, dies or forgets: what the authority makes of it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import pytest

from tests.contract.authority.making import Holder, settlement, sums, want
from tests.contract.ledger.making import account
from tests.services import DURABLE, RedisServer, running_redis
from tollspan.budget import LeaseLostError, SharedAuthority
from tollspan.ledger import RedisAuthority
from tollspan.usage import LedgerUnavailableError

pytestmark = [pytest.mark.service, pytest.mark.alone]

WIDE = account("wide", limit=1_000_000)
NARROW = account("narrow", limit=100)
TIMEOUT = 0.2
Answer = TypeVar("Answer")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_redis() as started:
        yield started


@pytest.fixture
def authority(server: RedisServer) -> Iterator[SharedAuthority]:
    made = client(server)
    made.open_epoch()
    yield made
    made.close()


def client(server: RedisServer) -> SharedAuthority:
    return RedisAuthority(server.url, timeout_seconds=TIMEOUT)


def test_a_server_that_stands_still_is_given_up_in_time_and_grants_once(
    server: RedisServer, authority: SharedAuthority
) -> None:
    holder = Holder(authority)
    holder.has(WIDE, 10)
    server.pause()
    began = time.monotonic()
    with pytest.raises(LedgerUnavailableError, match=r"no answer within 0\.2 s"):
        holder.sends(want(WIDE, 20, known=10))
    assert time.monotonic() - began < 3 * TIMEOUT
    server.resume()  # what was sent is done now, and nobody hears of it
    assert holder.has(WIDE, 20, known=10) == 30
    assert sums(authority, WIDE) == (0, 30, 0)


def test_a_server_that_never_answers_a_connection_is_given_up_in_time(server: RedisServer) -> None:
    server.pause()
    began = time.monotonic()
    with pytest.raises(LedgerUnavailableError):
        client(server).epoch()
    assert time.monotonic() - began < 5 * TIMEOUT


def test_a_server_that_is_away_is_said_to_be(server: RedisServer) -> None:
    server.kill()
    with pytest.raises(LedgerUnavailableError, match=f"127.0.0.1:{server.port}"):
        client(server).epoch()


def test_a_restart_in_good_order_is_not_noticed(
    server: RedisServer, authority: SharedAuthority
) -> None:
    holder = Holder(authority)
    holder.has(WIDE, 10)
    told = holder.spends(WIDE, 4)
    server.restart()
    assert holder.has(WIDE, 10, known=10) == 20
    server.restart()
    authority.settle([told])
    assert sums(authority, WIDE) == (4, 16, 0)


@pytest.mark.parametrize("how", ["FLUSHALL", "crash"])
def test_a_server_that_forgot_everything_grants_nothing_until_it_is_opened(
    server: RedisServer, authority: SharedAuthority, how: str
) -> None:
    holder = Holder(authority)
    holder.has(NARROW, 60)
    if how == "crash":
        server.kill()
        server.start()
    else:
        server.ask("FLUSHALL")
    for one in (authority, client(server)):
        with pytest.raises(LedgerUnavailableError, match="tollspan authority open redis://127"):
            Holder(one).sends(want(NARROW, 1))
    authority.settle([settlement(None, (NARROW, 60, 0))])
    authority.open_epoch()
    with pytest.raises(LeaseLostError):
        holder.renews()
    assert Holder(authority).has(NARROW, 40) == 40


def test_an_old_backup_is_found_out_by_anybody_who_saw_what_it_lacks(
    server: RedisServer, authority: SharedAuthority
) -> None:
    server.ask("SAVE")
    backup = server.folder / "backup"
    shutil.copy(server.dump, backup)
    authority.settle([settlement(None, (NARROW, 60, 0))])
    server.kill()
    shutil.copy(backup, server.dump)
    server.start()
    with pytest.raises(LedgerUnavailableError, match="has lost what it knew"):
        Holder(authority).sends(want(NARROW, 50))
    with pytest.raises(LedgerUnavailableError):
        Holder(client(server)).sends(want(NARROW, 50))
    assert sums(authority, NARROW) == (0, 0, 0)


def test_calls_that_are_settled_find_an_old_backup_out_and_are_counted(
    server: RedisServer, authority: SharedAuthority
) -> None:
    server.ask("SAVE")
    backup = server.folder / "backup"
    shutil.copy(server.dump, backup)
    told = settlement(None, (NARROW, 60, 0))
    authority.settle([told])
    server.kill()
    shutil.copy(backup, server.dump)
    server.start()
    authority.settle([told])
    assert authority.epoch() is None
    assert sums(authority, NARROW) == (60, 0, 0)


def test_a_server_that_is_killed_again_and_again_never_knows_less_than_it_granted() -> None:
    with running_redis(*DURABLE) as server:
        authority = client(server)
        authority.open_epoch()
        told: list[int] = []
        ends_at = time.monotonic() + 3.0
        threads = [threading.Thread(target=draw, args=(server, ends_at, told)) for _ in range(8)]
        for thread in threads:
            thread.start()
        while time.monotonic() < ends_at:
            time.sleep(0.2)
            server.kill()
            server.start()
        for thread in threads:
            thread.join()
        posted, held, unresolved = sums(authority, WIDE)
        assert len(told) == 8
        assert sum(told) > 0
        assert posted + held + unresolved == sum(told)
        assert posted > 0
        assert authority.epoch() is not None


def draw(server: RedisServer, ends_at: float, told: list[int]) -> None:
    """Ask for more and settle some of it all the time; every message until it is answered."""
    authority = client(server)
    holder = Holder(authority)
    known = 0
    while time.monotonic() < ends_at:
        known = until_answered(partial(holder.has, WIDE, 7, known=known))
        spent = settlement(holder.lease.id, (WIDE, 3, 0))
        until_answered(partial(authority.settle, [spent]))
    told.append(known)
    authority.close()


def until_answered(ask: Callable[[], Answer]) -> Answer:
    """Ask until the server is there."""
    while True:
        try:
            return ask()
        except LedgerUnavailableError:
            time.sleep(0.01)
