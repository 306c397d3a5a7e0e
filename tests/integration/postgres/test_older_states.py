"""A PostgreSQL that is older than what it told: nothing is granted until it is opened anew."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.contract.authority.making import Holder, settlement, sums
from tests.contract.ledger.making import account
from tests.services import PostgresServer, running_postgres, running_standby
from tollspan.budget import LeaseLostError
from tollspan.ledger import PostgresAuthority
from tollspan.usage import LedgerUnavailableError

pytestmark = pytest.mark.service
WIDE = account("wide", limit=100_000)
NARROW = account("narrow", limit=100)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with running_postgres() as made:
        yield made


@contextlib.contextmanager
def client(url: str) -> Iterator[PostgresAuthority]:
    authority = PostgresAuthority(url, timeout_seconds=10.0)
    try:
        yield authority
    finally:
        authority.close()


def assert_refused(authority: PostgresAuthority) -> None:
    """Check that a lease is refused that it never knew: it is the client that remembers."""
    with pytest.raises(LeaseLostError, match="older than what its holders were told"):
        Holder(authority).has(WIDE, 1)
    assert authority.epoch() is None
    with pytest.raises(LedgerUnavailableError, match="settle what was lost anew, then run"):
        Holder(authority).has(WIDE, 1)


def test_an_old_dump_is_refused_and_grants_again_when_it_is_opened(
    server: PostgresServer,
) -> None:
    dump = server.folder / "dump.sql"
    told = settlement(None, (NARROW, 60, 0))
    with client(server.url) as authority:
        authority.open_epoch()
        Holder(authority).has(WIDE, 10)
        server._run("pg_dump", server.url, f"--file={dump}")
        authority.settle([told])
        server.sql("DROP SCHEMA tollspan CASCADE")
        server._run("psql", server.url, "--quiet", "--output=/dev/null", f"--file={dump}")
        assert sums(authority, NARROW) == (0, 0, 0)
        assert_refused(authority)
        authority.settle([told])
        authority.open_epoch()
        holder = Holder(authority)
        holder.has(NARROW, 40)
        assert sums(authority, NARROW) == (60, 40, 0)


def test_what_was_settled_elsewhere_counts_though_it_finds_an_old_state_out(
    server: PostgresServer,
) -> None:
    dump = server.folder / "dump.sql"
    with client(server.url) as authority:
        authority.open_epoch()
        server._run("pg_dump", server.url, f"--file={dump}")
        Holder(authority).has(WIDE, 10)
        server.sql("DROP SCHEMA tollspan CASCADE")
        server._run("psql", server.url, "--quiet", "--output=/dev/null", f"--file={dump}")
        authority.settle([settlement(None, (NARROW, 60, 0))])
        assert authority.epoch() is None
        assert sums(authority, NARROW) == (60, 0, 0)


def test_an_old_copy_of_the_servers_files_is_refused(server: PostgresServer) -> None:
    data, copy = server.folder / "data", server.folder / "copy"
    with client(server.url) as authority:
        authority.open_epoch()
        Holder(authority).has(WIDE, 10)
        server.stop()
        subprocess.run(["cp", "-a", data, copy], check=True)
        server.start()
        eventually_has(authority, 20)
        server.stop()
        shutil.rmtree(data)
        subprocess.run(["cp", "-a", copy, data], check=True)
        server.start()
        wait_until_it_answers(authority)
        assert_refused(authority)


def test_a_standby_that_takes_over_without_the_last_grants_is_refused(
    server: PostgresServer,
) -> None:
    with running_standby(server) as standby:
        urls = f"127.0.0.1:{server.port},127.0.0.1:{standby.port}"
        url = f"postgresql://tollspan@{urls}/postgres?target_session_attrs=read-write"
        with client(url) as authority:
            authority.open_epoch()
            Holder(authority).has(WIDE, 10)
            wait_until_followed(server, standby)
            standby.stop()
            Holder(authority).has(WIDE, 5)
            server.kill()
            standby.start()
            standby.sql("SELECT pg_promote()")
            wait_until_it_answers(authority)
            assert_refused(authority)


def test_a_standby_that_takes_over_with_everything_goes_on(server: PostgresServer) -> None:
    with running_standby(server) as standby:
        urls = f"127.0.0.1:{server.port},127.0.0.1:{standby.port}"
        url = f"postgresql://tollspan@{urls}/postgres?target_session_attrs=read-write"
        with client(url) as authority:
            authority.open_epoch()
            holder = Holder(authority)
            holder.has(WIDE, 10)
            wait_until_followed(server, standby)
            server.stop()
            standby.sql("SELECT pg_promote()")
            wait_until_it_answers(authority)
            assert holder.has(WIDE, 10, known=10) == 20


def test_a_standby_grants_nothing(server: PostgresServer) -> None:
    with client(server.url) as authority:
        authority.open_epoch()
    with (
        running_standby(server) as standby,
        client(standby.url) as authority,
        pytest.raises(LedgerUnavailableError, match="standby"),
    ):
        Holder(authority).has(WIDE, 1)


def wait_until_it_answers(authority: PostgresAuthority) -> None:
    give_up_at = time.monotonic() + 20
    while True:
        try:
            authority.epoch()
        except LedgerUnavailableError:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        else:
            return


def eventually_has(authority: PostgresAuthority, amount: int) -> None:
    wait_until_it_answers(authority)
    Holder(authority).has(WIDE, amount)


def wait_until_followed(server: PostgresServer, standby: PostgresServer) -> None:
    """Return when a standby has everything."""
    give_up_at = time.monotonic() + 20
    here = server.sql("SELECT pg_current_wal_lsn()")
    while standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{here}'") != "t":
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
