"""What can be wrong with one connection to PostgreSQL: lost answers, locks, rights, passwords."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from tests.contract.authority.making import Holder, settlement, sums, want
from tests.contract.ledger.making import account
from tests.integration.postgres.wire import Wire, wire_to
from tests.services import PostgresServer
from tollspan.budget import BUSY, Grant
from tollspan.ledger import PostgresAuthority
from tollspan.usage import ConfigError, LedgerUnavailableError

pytestmark = [pytest.mark.service, pytest.mark.alone]
WIDE = account("wide", limit=100_000)
OTHER = account("other", limit=100_000)
SLACK = 1.0  # a busy machine
SECRET = "s3cr%2Ft"
SECRET_ITSELF = "s3cr/t"


@pytest.fixture
def opened(postgres_url: str) -> str:
    with client(postgres_url) as authority:
        authority.open_epoch()
    return postgres_url


@pytest.fixture
def wire(postgres_server: PostgresServer) -> Iterator[Wire]:
    with wire_to(postgres_server.port) as made:
        yield made


@contextlib.contextmanager
def client(url: str, *, timeout_seconds: float = 5.0) -> Iterator[PostgresAuthority]:
    authority = PostgresAuthority(url, timeout_seconds=timeout_seconds)
    try:
        yield authority
    finally:
        authority.close()


@contextlib.contextmanager
def locked(url: str, statement: str) -> Iterator[None]:
    """Keep locked what a statement locks."""
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())
        yield


# -- answers --


def test_an_answer_that_was_lost_is_told_again_within_the_same_question(
    opened: str, wire: Wire
) -> None:
    with client(wire.url(opened)) as authority:
        holder = Holder(authority)
        holder.has(WIDE, 1)
        wire.answers_to_lose = 1
        assert holder.has(WIDE, 10, known=1) == 11
        assert wire.answers_to_lose == 0
        assert wire.connections == 2
        assert sums(authority, WIDE) == (0, 11, 0)


def test_an_answer_that_stays_lost_is_told_with_the_next_question(opened: str, wire: Wire) -> None:
    with client(wire.url(opened)) as authority:
        holder = Holder(authority)
        holder.has(WIDE, 1)
        wire.answers_to_lose = 1_000
        with pytest.raises(LedgerUnavailableError):
            holder.has(WIDE, 10, known=1)
        wire.answers_to_lose = 0
        time.sleep(1.1)  # the connection's rest
        assert holder.has(WIDE, 4, known=1) == 11
        assert holder.has(WIDE, 4, known=11) == 15
        assert sums(authority, WIDE) == (0, 15, 0)


def test_what_goes_back_and_what_is_settled_counts_once_when_the_answer_was_lost(
    opened: str, wire: Wire
) -> None:
    with client(wire.url(opened)) as authority:
        holder = Holder(authority)
        holder.has(WIDE, 100)
        wire.answers_to_lose = 1
        holder.gives(WIDE, 30)
        wire.answers_to_lose = 1
        authority.settle([settlement(holder.lease.id, (WIDE, 50, 0))])
        assert wire.answers_to_lose == 0
        assert sums(authority, WIDE) == (50, 20, 0)


def test_the_first_to_tell_of_a_milestone_is_told_so_when_the_answer_was_lost(
    opened: str, wire: Wire
) -> None:
    with client(wire.url(opened)) as authority:
        authority.epoch()
        wire.answers_to_lose = 1
        assert authority.is_first(WIDE, Decimal("0.5"))
        assert wire.answers_to_lose == 0
        assert not authority.is_first(WIDE, Decimal("0.50"))


def test_what_was_resolved_by_hand_is_never_told_twice(opened: str, wire: Wire) -> None:
    with client(wire.url(opened)) as authority:
        holder = Holder(authority)
        holder.has(WIDE, 100)
        authority.open_epoch()
        wire.answers_to_lose = 1
        with pytest.raises(LedgerUnavailableError):
            authority.resolve(holder.lease.id, WIDE, spent=40)
        assert authority.unresolved() == ()
        assert sums(authority, WIDE) == (40, 0, 0)


def test_a_question_is_one_round_trip(opened: str, postgres_server: PostgresServer) -> None:
    database = opened.rsplit("/", 1)[1]
    counted = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = "
    with client(opened) as authority:
        holder = Holder(authority)
        holder.has(WIDE, 1)
        with psycopg.connect(postgres_server.url, autocommit=True) as watching:

            def transactions() -> int:
                time.sleep(1.2)  # a server writes its statistics down once a second
                authority.epoch()
                row = watching.execute(f"{counted}'{database}'".encode()).fetchone()
                assert row is not None
                return int(row[0])

            before = transactions()
            for known in range(1, 101):
                holder.has(WIDE, 1, known=known)
            assert transactions() - before <= 102


def test_asked_without_waiting_it_is_busy(opened: str) -> None:
    with client(opened) as authority:
        assert authority.grant_now(Holder(authority).lease, [want(WIDE, 1)]) is BUSY


def test_integers_of_any_size_are_exact(opened: str) -> None:
    huge = account("huge", limit=10**30)
    with client(opened) as authority:
        holder = Holder(authority)
        assert holder.has(huge, 10**29 + 1) == 10**29 + 1
        authority.settle([settlement(holder.lease.id, (huge, 10**29, 0))])
        assert sums(authority, huge) == (10**29, 1, 0)


def test_names_of_any_length_and_script_are_accounts_of_their_own(opened: str) -> None:
    long = account("预算" * 5_000)
    longer = account("预算" * 5_000 + "'\"\\")
    with client(opened) as authority:
        Holder(authority).has(long, 3)
        Holder(authority).has(longer, 4)
        assert sums(authority, long) == (0, 3, 0)
        assert sums(authority, longer) == (0, 4, 0)


# -- locks --


def test_a_lock_of_somebody_else_is_waited_for_a_bounded_time(opened: str) -> None:
    with client(opened) as authority, client(opened, timeout_seconds=0.25) as hasty:
        holder = Holder(hasty)
        holder.has(WIDE, 1)
        with locked(opened, "SELECT 1 FROM tollspan.accounts FOR UPDATE"):
            began = time.monotonic()
            with pytest.raises(LedgerUnavailableError, match="locked all the time"):
                holder.has(WIDE, 1, known=1)
            assert time.monotonic() - began < 0.25 + SLACK
        assert sums(authority, WIDE) == (0, 1, 0)
        assert holder.has(WIDE, 1, known=1) == 2


def test_many_locked_accounts_are_waited_for_no_longer_than_one(opened: str) -> None:
    accounts = [account(f"budget-{nth}", limit=100) for nth in range(4)]
    with client(opened, timeout_seconds=0.5) as authority:
        holder = Holder(authority)
        holder.sends(*(want(one, 1) for one in accounts))
        with contextlib.ExitStack() as stack:
            # Each is let go of just before the next would be given up.
            connections = [stack.enter_context(psycopg.connect(opened)) for _ in accounts]
            for nth, connection in enumerate(connections):
                connection.execute(
                    b"SELECT 1 FROM tollspan.accounts WHERE key = (SELECT key"
                    b" FROM tollspan.accounts ORDER BY key OFFSET %s LIMIT 1) FOR UPDATE",
                    [nth],
                )

            def let_go() -> None:
                for connection in connections:
                    time.sleep(0.3)
                    connection.rollback()

            letting = threading.Thread(target=let_go)
            letting.start()
            began = time.monotonic()
            with pytest.raises(LedgerUnavailableError):
                holder.sends(*(want(one, 1, known=1) for one in accounts))
            assert time.monotonic() - began < 0.5 + SLACK
            time.sleep(0.2)
            with psycopg.connect(opened) as watching:
                waiting = watching.execute(
                    b"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                ).fetchone()
            assert waiting == (0,)
            letting.join()


def test_linked_accounts_in_opposite_order_never_wait_in_a_circle(
    opened: str, postgres_server: PostgresServer
) -> None:
    database = opened.rsplit("/", 1)[1]
    asked = "SELECT deadlocks FROM pg_stat_database WHERE datname = "

    def ask(wants: list[int]) -> None:
        with client(opened) as authority:
            holder = Holder(authority)
            both = [WIDE, OTHER]
            for known in range(60):
                answer = holder.sends(*(want(both[nth], 1, known=known) for nth in wants))
                assert isinstance(answer, Grant)

    threads = [threading.Thread(target=ask, args=(order,)) for order in ([0, 1], [1, 0]) * 2]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    with client(opened) as authority:
        assert sums(authority, WIDE) == sums(authority, OTHER) == (0, 240, 0)
    time.sleep(1.2)  # a server writes its statistics down once a second
    assert postgres_server.sql(f"{asked}'{database}'") == "0"


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_limits_hold_whatever_isolation_the_server_defaults_to(
    opened: str, postgres_server: PostgresServer, level: str
) -> None:
    database = opened.rsplit("/", 1)[1]
    postgres_server.sql(f"ALTER DATABASE {database} SET default_transaction_isolation = '{level}'")
    narrow = account("narrow", limit=100)
    granted: list[int] = []

    def ask() -> None:
        with client(opened) as authority:
            holder, known = Holder(authority), 0
            for _ in range(40):
                with contextlib.suppress(LedgerUnavailableError):
                    answer = holder.sends(want(narrow, 1, known=known))
                    known = answer.totals[0] if isinstance(answer, Grant) else known
            granted.append(known)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    with client(opened) as authority:
        _, held, _ = sums(authority, narrow)
    assert sum(granted) <= held <= 100
    assert held == 100


# -- what is refused --


def test_a_database_without_an_authority_says_how_to_open_one(postgres_url: str) -> None:
    with client(postgres_url) as authority:
        assert authority.epoch() is None
        with pytest.raises(LedgerUnavailableError, match="run `tollspan authority open URL`"):
            Holder(authority).has(WIDE, 1)
        with pytest.raises(LedgerUnavailableError, match="run `tollspan authority open URL`"):
            authority.settle([settlement(None, (WIDE, 1, 0))])


def test_a_role_is_told_which_right_it_lacks(opened: str, postgres_server: PostgresServer) -> None:
    database = opened.rsplit("/", 1)[1]
    role = f"app_of_{database}"
    url = opened.replace("tollspan@", f"{role}@")
    postgres_server.sql(f"CREATE ROLE {role} LOGIN")
    try:
        with client(url) as authority:
            with pytest.raises(LedgerUnavailableError) as caught:
                Holder(authority).has(WIDE, 1)
            assert "GRANT USAGE ON SCHEMA tollspan TO" in str(caught.value)
            postgres_server.sql(f"GRANT USAGE ON SCHEMA tollspan TO {role}", database)
            holder = Holder(authority)
            holder.has(WIDE, 10)
            holder.gives(WIDE, 3)
            holder.spends(WIDE, 2)
            assert authority.expire() == 0
            assert authority.unresolved() == ()
            assert sums(authority, WIDE) == (2, 5, 0)
            with pytest.raises(LedgerUnavailableError, match="only the owner"):
                authority.open_epoch()
            with (
                psycopg.connect(url) as itself,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                itself.execute("UPDATE tollspan.accounts SET held = 0")
    finally:
        postgres_server.sql(f"DROP OWNED BY {role}", database)
        postgres_server.sql(f"DROP ROLE {role}")


def test_whoever_opens_it_is_told_which_right_is_missing(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    database = postgres_url.rsplit("/", 1)[1]
    role = f"opener_of_{database}"
    postgres_server.sql(f"CREATE ROLE {role} LOGIN")
    try:
        with client(postgres_url.replace("tollspan@", f"{role}@")) as authority:
            with pytest.raises(LedgerUnavailableError, match="GRANT CREATE ON DATABASE"):
                authority.open_epoch()
            assert authority.epoch() is None
            postgres_server.sql(f"CREATE SCHEMA tollspan AUTHORIZATION {role}", database)
            assert authority.open_epoch() == authority.epoch()
    finally:
        postgres_server.sql(f"DROP OWNED BY {role}", database)
        postgres_server.sql(f"DROP ROLE {role}")


def test_a_newer_format_is_left_alone(opened: str, postgres_server: PostgresServer) -> None:
    database = opened.rsplit("/", 1)[1]
    postgres_server.sql("UPDATE tollspan.authority SET version = 99", database)
    with client(opened) as authority, pytest.raises(LedgerUnavailableError, match="format 99"):
        authority.open_epoch()


def test_a_database_that_can_not_hold_every_name_is_refused(
    postgres_server: PostgresServer,
) -> None:
    postgres_server.sql(
        "CREATE DATABASE latin ENCODING latin1 LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    with (
        client(postgres_server.url_of("latin")) as authority,
        pytest.raises(LedgerUnavailableError, match="expected UTF8"),
    ):
        authority.open_epoch()


def test_opened_twice_at_once_it_has_one_epoch(postgres_url: str) -> None:
    names: list[str] = []

    def open_it() -> None:
        with client(postgres_url) as authority:
            names.append(authority.open_epoch())

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    with client(postgres_url) as authority:
        assert authority.epoch() == max(names)
        assert len(set(names)) == 4


# -- passwords and URLs --


def test_a_wrong_password_is_refused_without_being_told(
    opened: str, postgres_server: PostgresServer
) -> None:
    database = opened.rsplit("/", 1)[1]
    rules = postgres_server.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    postgres_server.sql("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    rules.write_text(f"host {database} guarded 127.0.0.1/32 scram-sha-256\n{before}")
    postgres_server.sql("SELECT pg_reload_conf()")
    url = f"postgresql://guarded:{SECRET}@127.0.0.1:{postgres_server.port}/{database}"
    try:
        give_up_at = time.monotonic() + 10
        while True:  # a server reads its rules anew a little later
            with client(url) as authority, pytest.raises(LedgerUnavailableError) as caught:
                authority.balances([WIDE])
            if "password" in str(caught.value) or time.monotonic() > give_up_at:
                break
        assert "password authentication failed" in str(caught.value)
        assert SECRET not in repr(caught.value)
        assert SECRET_ITSELF not in repr(caught.value)
        assert caught.value.__cause__ is None
        assert SECRET_ITSELF not in repr(authority)
    finally:
        rules.write_text(before)
        postgres_server.sql("SELECT pg_reload_conf()")
        postgres_server.sql("DROP ROLE guarded")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{SECRET_ITSELF}@host:bad port/database",
        f"postgresql://app:{SECRET_ITSELF}@host/database?nonsense=1",
        f"mysql://app:{SECRET_ITSELF}@host/database",
        f"host=here password={SECRET_ITSELF}",
        "",
    ],
)
def test_what_is_no_url_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(ConfigError, match="expected postgresql://") as caught:
        PostgresAuthority(url)
    assert SECRET_ITSELF not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_the_other_scheme_and_the_environment_of_libpq_will_do(
    opened: str, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client(opened.replace("postgresql://", "postgres://")) as authority:
        assert authority.epoch() is not None
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(postgres_server.port))
    monkeypatch.setenv("PGUSER", "tollspan")
    monkeypatch.setenv("PGDATABASE", opened.rsplit("/", 1)[1])
    with client("postgresql://") as authority:
        assert authority.epoch() is not None


def test_psycopg_is_loaded_by_an_authority_alone(tmp_path: Path) -> None:
    import subprocess

    code = "import sys, tollspan.ledger; assert 'psycopg' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


# -- forks --


def backends(url: str) -> set[int]:
    """Return the server's processes that serve authorities."""
    with psycopg.connect(url) as watching:
        found = watching.execute(
            b"SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            b" AND application_name = 'tollspan'"
        )
        return {row[0] for row in found}


def test_a_forked_child_uses_connections_of_its_own(opened: str) -> None:
    with client(opened) as authority:
        holder = Holder(authority)
        holder.has(WIDE, 5)
        mine = {authority._pool._idle[0][0]._pgconn.backend_pid}
        pid = os.fork()
        if pid == 0:
            status = 1
            with contextlib.suppress(BaseException):
                Holder(authority).has(OTHER, 7)
                authority.close()
                status = 0
            os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        assert holder.has(WIDE, 5, known=5) == 10
        assert mine <= backends(opened)
        assert sums(authority, OTHER) == (0, 7, 0)
