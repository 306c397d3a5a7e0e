"""Replicas of the ingest server, killed and started again under load; they are one server together.

Nothing is lost, nothing counts twice, no budget is passed, and each says what the others say.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import requests

from tests import harness
from tests.e2e.ingest import ServeCommand, total
from tests.e2e.probing import Probe
from tests.e2e.replicas import Replicas, replicas
from tests.e2e.waiting import wait_until
from tests.fakes.hooks import FakeHooks
from tests.services import PostgresServer, RedisServer

pytestmark = pytest.mark.service

AWAY_SECONDS = 1.0


def places(postgres: PostgresServer, redis: RedisServer, name: str) -> tuple[str, str]:
    """Return where a database is that is new, and an authority."""
    postgres.sql(f"CREATE DATABASE {name}")
    return postgres.url_of(name), f"{redis.url}?name={name}"


def tell_of_refusals(made: Replicas, hooks: FakeHooks) -> None:
    """Have the servers tell of each refusal."""
    answer = requests.post(
        f"{made.balancer.root_url}/v1/webhooks",
        json={"url": hooks.url, "events": ["denied"]},
        headers={"Authorization": f"Bearer {made.key}"},
        timeout=30,
    )
    assert answer.status_code == 201, answer.text


def kill_under_load(made: Replicas, server: ServeCommand, calls: int) -> None:
    """Kill a server, let the hosts go on without it, and start it again."""
    made.await_calls(calls)
    server.kill()
    made.await_calls(calls)
    server.start()


def readiness(server: ServeCommand) -> dict[str, str]:
    """Return what a server says of itself."""
    found: dict[str, str] = requests.get(f"{server.url}/readyz", timeout=30).json()
    return found


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param(900, id="scaled", marks=pytest.mark.timeout(600)),
        pytest.param(20_000, id="full", marks=[pytest.mark.slow, pytest.mark.timeout(3_600)]),
    ],
)
def test_replicas_that_are_killed_under_load_lose_nothing_and_count_nothing_twice(
    tmp_path: Path, durable_postgres: PostgresServer, durable_redis: RedisServer, calls: int
) -> None:
    database, redis = places(durable_postgres, durable_redis, f"replicas_{calls}")
    with (
        FakeHooks() as hooks,
        replicas(tmp_path, postgres=database, redis=redis, calls=calls) as made,
    ):
        tell_of_refusals(made, hooks)
        for server in made.servers:
            kill_under_load(made, server, calls // 25)
        made.fleet.finish()
        assert made.fleet.report.failed == []
        made.ship_the_rest()
        made.see_every_call_once_at_every_server()
        assert made.balance().posted == made.fake.billed_nanousd
        refused = {one.id for home in made.homes for one in harness.denials(home)}
        assert len(refused) >= made.fleet.report.refused > 0
        wait_until(lambda: len(hooks.told) >= len(refused))
        told = [one.json["data"]["event_id"] for one in hooks.told]
        assert len(told) == len(set(told))
        assert set(told) == refused
        assert [readiness(one)["housekeeping"] for one in made.servers] == ["ok", "ok"]


def ask(made: Replicas, path: str) -> requests.Response:
    """Ask the one server something."""
    return requests.get(
        made.servers[0].url + path, headers={"Authorization": f"Bearer {made.key}"}, timeout=30
    )


def await_status(made: Replicas, path: str, status: int) -> None:
    """Wait until the one server answers so."""
    wait_until(lambda: ask(made, path).status_code == status)


@pytest.mark.timeout(600)
def test_a_database_and_an_authority_that_are_killed_under_load_lose_nothing(
    tmp_path: Path, durable_postgres: PostgresServer, durable_redis: RedisServer
) -> None:
    database, redis = places(durable_postgres, durable_redis, "killed_under_load")
    with replicas(tmp_path, postgres=database, redis=redis, calls=600, count=1) as made:
        (server,) = made.servers
        others = server.make_key(tenant="probe")
        with Probe(server.url, others) as probe:
            for behind, path in [
                (durable_postgres, "/readyz"),
                (durable_redis, "/v1/leases/epoch"),
            ]:
                made.await_calls(60)
                behind.kill()
                await_status(made, path, 503)
                assert ask(made, path).headers["Retry-After"].isdecimal()
                time.sleep(AWAY_SECONDS)
                behind.start()
                await_status(made, path, 200)
            assert probe.is_at_it
        assert probe.answers[503] > 0
        assert set(probe.answers) == {200, 503}
        assert probe.without_time == 0
        made.fleet.finish()
        assert {one.partition(":")[0] for one in made.fleet.report.failed} <= {
            "GateUnavailableError"
        }
        made.fleet.spend_the_rest()  # and settle what others could not at their end
        made.ship_the_rest()
        made.see_every_call_once_at_every_server()
        assert made.balance().posted == made.fake.billed_nanousd
        assert total(server, others) == (probe.calls, probe.cost_nanousd)
