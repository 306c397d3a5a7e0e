"""Law 1 over hosts that know a server and a key: its rules, its authority, its books.

Each host has a home and processes of its own. Workers are killed, a host is cut off, the server is
killed. The fake's calls cost exactly their bound, so that the limit has room for a number of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e import fleet
from tests.e2e.cutting import Way, way_to
from tests.e2e.fleet import NUMBERS_OF_A_WORKER, Fleet
from tests.e2e.ingest import ServeCommand, send_the_rest, serving, total
from tests.e2e.test_law1_inequality import dearest_call
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI
from tollspan.usage import format_usd

pytestmark = pytest.mark.alone

CALLS, PROCESSES, THREADS = 500, 4, 4
# Slow enough that the limit is not spent before the troubles are over.
PACE_SECONDS = 0.4
LIFE_SECONDS = 2
# A machine that is short of CPU is no outage; one that is cut off is, after so long.
SETTINGS = {
    "TOLLSPAN_ACQUIRE_TIMEOUT": "3",
    "TOLLSPAN_LEASE": "first=16,hurry=5,drift=0.2",
}
RULES = """
version: 1
defaults: {{on_unavailable: deny}}
budgets: [{{id: all, limit: {limit} USD}}]
hosts: {{127.0.0.1: openai}}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServeCommand]:
    with serving(tmp_path / "server", "--lease-seconds", str(LIFE_SECONDS)) as running:
        yield running


def put_rules(server: ServeCommand, limit: int) -> str:
    """Put rules with one budget; return a key that may everything."""
    key = server.make_key("ingest", "read", "admin")
    answer = requests.put(
        f"{server.url}/v1/rules",
        data=RULES.format(limit=format_usd(limit)).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/yaml"},
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return key


def calls_of(fake: FakeOpenAI, worker: int) -> int:
    """Count the calls of the n-th worker that started, the first being 1."""
    return sum(number // NUMBERS_OF_A_WORKER == worker for number in fleet.billed_by_number(fake))


def cut_off_until_refused(way: Way, workers: Fleet) -> None:
    """Cut a host off until its leases are over: until then it is served from them."""
    fake = workers.fake
    cut_off = (2, 4)  # the workers of the second host
    wait_until(
        lambda: all(calls_of(fake, one) >= 2 * THREADS for one in cut_off), every_seconds=0.1
    )
    before = sum(calls_of(fake, one) for one in cut_off)
    way.cut()
    wait_until(lambda: sum(calls_of(fake, one) for one in cut_off) > before, every_seconds=0.1)
    time.sleep(LIFE_SECONDS + 2)
    silent = sum(calls_of(fake, one) for one in cut_off)
    workers.await_calls(10)  # of the other host
    assert sum(calls_of(fake, one) for one in cut_off) == silent
    way.heal(is_lost=True)


def test_a_budget_of_many_hosts_holds_whoever_is_killed_or_cut_off_and_all_books_agree(
    tmp_path: Path, server: ServeCommand
) -> None:
    dearest = dearest_call(tmp_path / "probe")
    bound = dearest.bound_nanousd
    limit = CALLS * bound + bound - 1
    key = put_rules(server, limit)
    homes = [tmp_path / "host-1", tmp_path / "host-2"]
    with (
        FakeOpenAI(dearest.reply, keep_requests=10_000) as fake,
        way_to(server.port) as way,
    ):
        workers = Fleet(
            fake,
            homes,
            threads=THREADS,
            prompt_bytes=dearest.prompt_bytes,
            environ={"TOLLSPAN_API_KEY": key, **SETTINGS},
            owners=[
                {"TOLLSPAN_ENDPOINT": server.url},
                {"TOLLSPAN_ENDPOINT": f"http://127.0.0.1:{way.port}"},
            ],
            pace_seconds=PACE_SECONDS,
        )
        with fleet.running(workers, PROCESSES):
            cut_off_until_refused(way, workers)
            workers.replace(0)
            workers.await_calls(10)
            server.kill()
            workers.replace(2)
            server.start()
            workers.await_calls(10)
            workers.finish()
            workers.spend_the_rest()
        assert workers.report.failed, "nobody noticed"
        assert all(text.startswith("GateUnavailableError") for text in workers.report.failed)
        assert fake.hits <= CALLS
        stored = fleet.numbers_with_events(homes)
        lost = set(fleet.billed_by_number(fake)) - stored  # in flight when their worker was killed
        assert {number // NUMBERS_OF_A_WORKER for number in lost} <= {1, 3}
        for home in homes:
            # By whatever way it was sent before.
            send_the_rest(home, TOLLSPAN_ENDPOINT=server.url, TOLLSPAN_API_KEY=key)
        balance = fleet.settled(server.url, limit, key=key)
        billed = fleet.billed(fake, stored)
    assert balance.held == 0
    assert balance.posted == billed == len(stored) * bound
    assert total(server, key) == (len(stored), billed)
    assert balance.unresolved >= len(lost) * bound
    assert balance.unresolved > 0, "nobody was killed with a lease"
    assert limit - bound < balance.posted + balance.unresolved <= limit
