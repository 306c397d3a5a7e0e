"""The servers that tests start: they keep what they should, and are gone when they should be."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import services
from environment import ROOT
from tests.services import (
    PostgresServer,
    RedisServer,
    ServerError,
    running_postgres,
    running_redis,
)


@pytest.mark.service
def test_redis_keeps_what_it_holds_when_it_is_stopped_and_loses_it_when_killed() -> None:
    with running_redis() as server:
        server.ask("SET a 1")
        server.restart()
        assert server.ask("GET a") == "$1\r\n1\r\n"
        server.ask("SET a 2")
        server.kill()
        assert server.ask("GET a") == ""
        server.start()
        assert server.ask("GET a") == "$1\r\n1\r\n"


@pytest.mark.service
def test_postgres_keeps_what_was_committed_when_it_is_killed() -> None:
    with running_postgres() as server:
        server.sql("CREATE TABLE t AS SELECT 1 AS n")
        server.kill()
        with pytest.raises(ServerError):
            server.sql("SELECT n FROM t")
        server.start()
        assert server.sql("SELECT n FROM t") == "1"


@pytest.mark.service
def test_each_test_has_a_database_of_its_own(
    postgres_server: PostgresServer, postgres_url: str, redis_server: RedisServer, redis_url: str
) -> None:
    database = postgres_url.rsplit("/", 1)[1]
    assert database != "postgres"
    assert postgres_server.sql("SELECT current_database()", database) == database
    assert redis_url == redis_server.url
    assert redis_server.ask("DBSIZE") == ":0\r\n"


@pytest.mark.service
def test_a_paused_server_answers_when_it_goes_on() -> None:
    with running_redis() as server:
        server.pause()
        state = subprocess.check_output(["ps", "-o", "stat=", "-p", str(server.pid)], text=True)
        assert state.startswith("T")
        server.resume()
        assert server.ask("PING") == "+PONG\r\n"


@pytest.mark.service
def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(ServerError, match="nonsense"), running_redis("--nonsense", "1"):
        pass


def test_a_machine_without_rights_is_told_what_to_install(tmp_path: Path) -> None:
    env = shutil.which("env")
    assert env is not None
    (tmp_path / "env").symlink_to(env)
    code = (
        "import os, services; os.geteuid = lambda: 1000\n"
        "services.find = lambda service: None\n"
        "services.ensure()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "scripts",
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "apt-get install redis-server postgresql" in done.stderr


def test_nothing_is_done_where_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "missing", list)
    monkeypatch.setattr(services, "as_root", lambda: pytest.fail("asked for rights"))
    assert services.ensure() is False
