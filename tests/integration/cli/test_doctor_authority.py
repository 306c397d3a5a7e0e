"""`tollspan doctor` of an authority that many hosts share, over real servers and their settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.contract.authority.making import Holder
from tests.contract.ledger.making import account
from tests.e2e.waiting import wait_until
from tests.integration.cli.conftest import Run
from tests.services import RedisServer, running_postgres, running_redis, running_standby
from tollspan.budget import LeaseSettings
from tollspan.cli import _checks_otel
from tollspan.ledger import ServerReport, open_authority

pytestmark = pytest.mark.service
RULES = "version: 1\nbudgets: [{id: all, limit: 1 USD, window: month}]\n"
SAFE_REDIS = ("--appendonly", "yes")
SAFE_POSTGRES = ("fsync=on",)


@pytest.fixture(autouse=True)
def a_quick_doctor(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules, and no try of the launcher of OpenTelemetry, which takes seconds."""
    (home / "tollspan.yaml").write_text(RULES)
    monkeypatch.setattr(_checks_otel, "auto_launch_problem", lambda: None)


class Doctor:
    """Asks the doctor of an authority."""

    def __init__(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self._run = run
        self._patch = monkeypatch

    def says(self, url: str | None) -> dict[str, dict[str, Any]]:
        """Return the checks of the authority, by id."""
        if url is not None:
            self._patch.setenv("TOLLSPAN_AUTHORITY", url)
        _, output, errors = self._run("doctor", "--json")
        assert errors == ""
        found = {one["id"]: one for one in json.loads(output)["checks"]}
        return {name: one for name, one in found.items() if name.startswith("authority")}

    def server(self, url: str) -> tuple[str, str, str]:
        """Return status, text and fix of the server's check."""
        check = self.says(url)["authority.server"]
        return check["status"], check["text"], check["fix"] or ""


@pytest.fixture
def doctor(run: Run, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    return Doctor(run, monkeypatch)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis(*SAFE_REDIS) as server:
        yield server


def test_an_open_redis_that_keeps_what_it_is_told_is_all_ok(
    doctor: Doctor, redis: RedisServer
) -> None:
    with closing(open_authority(redis.url, LeaseSettings())) as authority:
        authority.open_epoch()
    found = doctor.says(redis.url)
    assert {name: one["status"] for name, one in found.items()} == dict.fromkeys(
        (
            "authority",
            "authority.open",
            "authority.server",
            "authority.clock",
            "authority.settling",
            "authority.postings",
            "authority.unresolved",
        ),
        "ok",
    )
    assert "TOLLSPAN_AUTHORITY" in found["authority"]["text"]
    assert f"127.0.0.1:{redis.port}" in found["authority"]["text"]
    assert "ms away" in found["authority"]["text"]
    assert "0 events" in found["authority.settling"]["text"]


def test_an_authority_that_is_not_open_is_a_problem_whose_fix_opens_it(
    doctor: Doctor, redis: RedisServer
) -> None:
    found = doctor.says(redis.url)["authority.open"]
    assert found["status"] == "problem"
    assert "tollspan authority open" in found["fix"]


def test_an_authority_out_of_reach_is_a_problem_and_no_password_is_shown(doctor: Doctor) -> None:
    found = doctor.says("redis://me:hush@127.0.0.1:1/0")
    assert set(found) == {"authority"}
    assert found["authority"]["status"] == "problem"
    assert "can't be reached" in found["authority"]["text"]
    assert "hush" not in json.dumps(found)


def test_an_address_that_is_none_is_a_problem(doctor: Doctor) -> None:
    found = doctor.says("redis://127.0.0.1:1/0?retries=3")["authority"]
    assert found["status"] == "problem"
    assert "retries" in found["text"]


def test_the_rules_document_may_name_it(home: Path, doctor: Doctor, redis: RedisServer) -> None:
    (home / "tollspan.yaml").write_text(f"{RULES}authority: {redis.url}\n")
    assert "the rules' document" in doctor.says(None)["authority"]["text"]


@pytest.mark.parametrize(
    ("command", "status", "text", "fix"),
    [
        ("CONFIG SET appendonly no", "warning", "appendonly is no", "appendonly yes"),
        ("CONFIG SET appendfsync no", "warning", "appendfsync is no", "everysec"),
    ],
)
def test_a_redis_that_may_forget_is_named_with_its_fix(
    doctor: Doctor, redis: RedisServer, command: str, status: str, text: str, fix: str
) -> None:
    assert redis.ask(command).startswith("+OK")
    found = doctor.server(redis.url)
    assert found[0] == status
    assert text in found[1]
    assert fix in found[2]


def test_a_redis_that_throws_keys_away_is_a_problem_only_where_it_has_a_most(
    doctor: Doctor, redis: RedisServer
) -> None:
    redis.ask("CONFIG SET maxmemory-policy allkeys-lru")
    assert doctor.server(redis.url)[0] == "ok"  # without a most it throws nothing away
    redis.ask("CONFIG SET maxmemory 1gb")
    status, text, fix = doctor.server(redis.url)
    assert (status, "allkeys-lru" in text, "noeviction" in fix) == ("problem", True, True)


def test_a_redis_that_is_nearly_full_is_named(doctor: Doctor, redis: RedisServer) -> None:
    redis.ask("CONFIG SET maxmemory-policy noeviction")
    redis.ask("CONFIG SET maxmemory 600kb")
    assert "maxmemory are used" in doctor.server(redis.url)[1]


def test_a_replica_is_a_problem_and_its_primary_is_warned_of_failovers(
    doctor: Doctor, redis: RedisServer
) -> None:
    with running_redis(*SAFE_REDIS, "--replicaof", f"127.0.0.1 {redis.port}") as replica:
        status, text, _ = doctor.server(replica.url)
        assert (status, "is a replica" in text) == ("problem", True)
        wait_until(lambda: "connected_slaves:1" in redis.ask("INFO replication"))
        status, text, fix = doctor.server(redis.url)
        assert (status, "failover" in text, "min-replicas-to-write" in fix) == (
            "warning",
            True,
            True,
        )
        redis.ask("CONFIG SET min-replicas-to-write 1")
        assert doctor.server(redis.url)[0] == "ok"


def test_who_may_not_ask_for_settings_is_told_the_rest(doctor: Doctor, redis: RedisServer) -> None:
    redis.ask("ACL SETUSER t >pw ~{tollspan:* +@read +@write +@scripting +info +time on")
    url = f"redis://t:pw@127.0.0.1:{redis.port}"
    assert doctor.server(url)[0] == "ok"
    redis.ask("CONFIG SET appendonly no")
    assert "appendonly" in doctor.server(url)[1]


def test_what_ended_leases_leave_is_told_of_all_hosts(doctor: Doctor, redis: RedisServer) -> None:
    short = LeaseSettings(life_seconds=0.1, drift_seconds=0.01)
    with closing(open_authority(redis.url, short)) as authority:
        authority.open_epoch()
        Holder(authority).has(account("all", limit=10**9), 250_000_000)
        wait_until(lambda: authority.expire() == 1)
    found = doctor.says(redis.url)["authority.unresolved"]
    assert found["status"] == "warning"
    assert "1 lease ended" in found["text"]
    assert "0.25" in found["text"]


def test_an_open_postgresql_is_all_ok_and_one_that_may_lose_is_named(doctor: Doctor) -> None:
    with running_postgres(*SAFE_POSTGRES) as server:
        assert doctor.says(server.url)["authority.open"]["status"] == "problem"
        with closing(open_authority(server.url, LeaseSettings())) as authority:
            authority.open_epoch()
        found = doctor.says(server.url)
        assert {one["status"] for one in found.values()} == {"ok"}
        assert "PostgreSQL 1" in found["authority"]["text"]
        for setting, status in (
            ("synchronous_commit = off", "warning"),
            ("default_transaction_read_only = on", "problem"),
        ):
            server.sql(f"ALTER DATABASE postgres SET {setting}")
            assert doctor.server(server.url)[0] == status
        server.sql("ALTER DATABASE postgres RESET ALL", database="template1")
        with running_standby(server) as standby:
            status, text, _ = doctor.server(standby.url)
            assert (status, "standby" in text) == ("problem", True)
            wait_until(lambda: server.sql("SELECT count(*) FROM pg_stat_replication") == "1")
            assert "failover" in doctor.server(server.url)[1]
        server.options.append("fsync=off")
        server.restart()
        assert doctor.server(server.url)[0] == "problem"


@pytest.mark.parametrize(
    ("clock", "ahead"), [(150, 0), (200, 0), (100, 0), (1_100_000_000, 1.0), (-400_000_000, -0.4)]
)
def test_clocks_agree_as_far_as_an_answer_can_tell(clock: int, ahead: float) -> None:
    report = ServerReport(
        server="", clock_unix_ns=clock, asked_at_unix_ns=100, answered_at_unix_ns=200, risks=()
    )
    assert report.ahead_seconds == pytest.approx(ahead, abs=0.11)
