"""A PostgreSQL that is restarted, killed, paused or replaced while many hosts spend from it."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.authority.making import Holder, sums
from tests.contract.ledger.making import account
from tests.harness import ROOT
from tests.integration.postgres import hosts
from tests.services import PostgresServer, running_postgres
from tollspan.ledger import PostgresAuthority
from tollspan.usage import LedgerUnavailableError

pytestmark = [pytest.mark.service, pytest.mark.alone]
WIDE = account("wide", limit=100_000)
SLACK = 1.0
NARROW = 2_000
AMPLE = 1_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Run a server that these tests break; fsync is off, but a killed server loses nothing."""
    with running_postgres("max_connections=100") as made:
        yield made


@pytest.fixture
def authority(server: PostgresServer) -> Iterator[PostgresAuthority]:
    server.sql("DROP SCHEMA IF EXISTS tollspan CASCADE")
    made = PostgresAuthority(server.url, timeout_seconds=5.0)
    made.open_epoch()
    yield made
    made.close()


def wait_until_it_answers(authority: PostgresAuthority) -> None:
    give_up_at = time.monotonic() + 20
    while True:
        try:
            assert authority.epoch() is not None
        except LedgerUnavailableError:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        else:
            return


def live(
    url: str, folder: Path, *, processes: int, threads: int, seconds: float, limit: int = AMPLE
) -> list[Path]:
    """Start hosts and wait for their end; return what they wrote down."""
    command = [sys.executable, "-m", "tests.integration.postgres.hosts", url]
    running = [
        subprocess.Popen(
            [*command, str(folder / f"{nth}"), str(threads), str(seconds), str(limit)], cwd=ROOT
        )
        for nth in range(processes)
    ]
    assert [one.wait(seconds + 60) for one in running] == [0] * processes
    return sorted(folder.iterdir())


def spent(files: list[Path]) -> int:
    """Return what all calls cost that were made."""
    return sum(int(line) for file in files for line in file.read_text().splitlines())


def check(authority: PostgresAuthority, files: list[Path], limit: int = AMPLE) -> None:
    """Everything that was spent is posted, once, and nothing is held that nobody has."""
    total = spent(files)
    assert total > 0
    for where in hosts.linked(limit):
        assert sums(authority, where) == (total, 0, 0)
        assert total <= where.limit


def test_sixteen_threads_of_several_processes_never_pass_a_limit(
    authority: PostgresAuthority, server: PostgresServer, tmp_path: Path
) -> None:
    narrower, _ = hosts.linked(NARROW)
    counted: list[int] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            counted.append(sum(sums(authority, narrower)))

    watching = threading.Thread(target=watch)
    watching.start()
    files = live(server.url, tmp_path, processes=4, threads=16, seconds=4, limit=NARROW)
    is_over.set()
    watching.join()
    assert len(files) == 64
    assert NARROW * 0.9 < max(counted) <= NARROW  # the last was fought for
    check(authority, files, NARROW)


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_server_that_goes_down_under_load_grants_nothing_twice_and_loses_nothing(
    authority: PostgresAuthority, server: PostgresServer, tmp_path: Path, how: str
) -> None:
    files: list[Path] = []
    seconds = 8.0
    running = threading.Thread(
        target=lambda: files.extend(
            live(server.url, tmp_path, processes=2, threads=8, seconds=seconds)
        )
    )
    running.start()
    ends_at = time.monotonic() + seconds
    downs = 0
    while time.monotonic() < ends_at - 1:
        time.sleep(random.uniform(0.3, 1.2))
        if how == "restart":
            server.stop()
        else:
            server.kill()
        downs += 1
        server.start()
    running.join()
    assert downs >= 3
    assert len(files) == 16
    wait_until_it_answers(authority)
    assert authority.epoch() is not None  # no holder took the server's state for an older one
    check(authority, files)


def test_a_server_that_is_back_is_found_by_itself(
    authority: PostgresAuthority, server: PostgresServer
) -> None:
    holder = Holder(authority)
    holder.has(WIDE, 5)
    server.kill()
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(LedgerUnavailableError, match="can't be reached"):
            holder.has(WIDE, 5, known=5)
    assert time.monotonic() - began < SLACK  # whoever asks meanwhile is not kept waiting
    server.start()
    wait_until_it_answers(authority)
    assert holder.has(WIDE, 5, known=5) == 10


def test_a_server_that_hangs_is_waited_for_a_bounded_time(server: PostgresServer) -> None:
    with contextlib.closing(PostgresAuthority(server.url, timeout_seconds=0.25)) as hasty:
        wait = PostgresAuthority(server.url, timeout_seconds=5.0)
        wait.open_epoch()
        wait.close()
        holder = Holder(hasty)
        holder.has(WIDE, 5)
        server.pause()
        try:
            for _ in range(3):
                began = time.monotonic()
                with pytest.raises(LedgerUnavailableError):
                    holder.has(WIDE, 5, known=5)
                assert time.monotonic() - began < 0.25 + SLACK
            began = time.monotonic()
            for _ in range(200):
                with pytest.raises(LedgerUnavailableError):
                    holder.has(WIDE, 5, known=5)
            # A few more try for themselves, the rest are refused at once.
            assert time.monotonic() - began < 4 * 0.25 + SLACK
        finally:
            server.resume()
        wait_until_it_answers(hasty)
        give_up_at = time.monotonic() + 20
        while time.monotonic() < give_up_at:
            with contextlib.suppress(LedgerUnavailableError):
                assert holder.has(WIDE, 5, known=5) == 10
                break
