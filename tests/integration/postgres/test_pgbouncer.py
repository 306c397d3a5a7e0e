"""Behind PgBouncer in transaction mode, where each question may reach another connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.contract.authority.making import Holder, sums
from tests.contract.ledger.making import account
from tests.integration.postgres.test_crashes import check, live
from tests.services import PgBouncerServer, PostgresServer, running_pgbouncer
from tollspan.ledger import PostgresAuthority
from tollspan.usage import LedgerUnavailableError

pytestmark = [pytest.mark.service, pytest.mark.alone]
WIDE = account("wide", limit=100_000)


@pytest.fixture(scope="module")
def bouncer(postgres_server: PostgresServer) -> Iterator[PgBouncerServer]:
    with running_pgbouncer(postgres_server) as made:
        yield made


@pytest.fixture
def url(bouncer: PgBouncerServer, postgres_url: str) -> str:
    return f"{bouncer.url.rsplit('/', 1)[0]}/{postgres_url.rsplit('/', 1)[1]}"


@pytest.fixture
def authority(url: str) -> Iterator[PostgresAuthority]:
    made = PostgresAuthority(url, timeout_seconds=5.0)
    made.open_epoch()
    yield made
    made.close()


def test_many_hosts_share_two_connections(
    authority: PostgresAuthority, url: str, tmp_path: Path
) -> None:
    files = live(url, tmp_path, processes=2, threads=8, seconds=3)
    assert len(files) == 16
    check(authority, files)


def test_a_bounded_wait_leaves_nothing_behind_for_others(
    authority: PostgresAuthority, url: str, postgres_url: str
) -> None:
    Holder(authority).has(WIDE, 1)
    hasty = PostgresAuthority(url, timeout_seconds=0.25)
    with psycopg.connect(postgres_url) as locking:
        locking.execute("SELECT 1 FROM tollspan.accounts FOR UPDATE")
        with pytest.raises(LedgerUnavailableError, match="locked all the time"):
            Holder(hasty).has(WIDE, 1)
    hasty.close()
    for _ in range(4):
        with psycopg.connect(url, autocommit=True) as other:
            assert other.execute("SHOW lock_timeout").fetchone() == ("0",)
            assert other.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


def test_it_is_opened_while_others_ask(authority: PostgresAuthority, url: str) -> None:
    failures: list[BaseException] = []

    def ask() -> None:
        mine = PostgresAuthority(url, timeout_seconds=10.0)
        try:
            for _ in range(50):
                Holder(mine).has(WIDE, 1)
        except BaseException as error:
            failures.append(error)
        mine.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for one in threads:
        one.start()
    names = [authority.open_epoch() for _ in range(5)]
    for one in threads:
        one.join()
    assert failures == []
    assert names == sorted(names)
    assert authority.epoch() == names[-1]
    posted, held, unresolved = sums(authority, WIDE)
    assert (posted, held + unresolved) == (0, 200)
