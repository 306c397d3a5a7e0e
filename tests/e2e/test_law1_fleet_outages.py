"""Law 1 over hosts whose authority crashes, hangs, or can't be reached from one of them.

No worker is killed here, so that every call that the provider saw has its event: in the end all of
them must be posted, and what more is counted can only be what a lease lost that ended in an outage.
"""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import harness
from tests.e2e import fleet
from tests.e2e.cutting import Way, way_to
from tests.e2e.fleet import Fleet
from tests.e2e.test_law1_inequality import dearest_call
from tests.fakes import FakeOpenAI
from tests.services import Server
from tollspan.usage import format_usd

pytestmark = pytest.mark.alone

TIMEOUT_SECONDS = 1.0
# A call waits so long once more where its lease ends while it waits; the rest is for the machine.
LONGEST_SECONDS = 2 * TIMEOUT_SECONDS + 1.0
LIFE_SECONDS = 2.0
PROCESSES, THREADS = 4, 6
# Slow enough that the limit is not spent before the troubles are over.
PACE_SECONDS = 0.2
SETTINGS = {
    "TOLLSPAN_ACQUIRE_TIMEOUT": str(TIMEOUT_SECONDS),
    "TOLLSPAN_LEASE": f"life={LIFE_SECONDS},drift=0.2,horizon=86400",
}


def through(way: Way, address: str) -> str:
    """Return the authority's address as a host has it that reaches it by that way only."""
    port = urlsplit(address).port
    return address.replace(f":{port}", f":{way.port}")


def crash(server: Server, workers: Fleet) -> None:
    """Have the server crash and come back, then hang for a second."""
    workers.await_calls(40)
    server.kill()
    time.sleep(0.5)
    server.start()
    workers.await_calls(40)
    server.pause()
    time.sleep(TIMEOUT_SECONDS)
    server.resume()
    workers.await_calls(40)


def cut_off(way: Way, workers: Fleet) -> None:
    """Cut one host off: its answers, its questions, then both until its leases are over."""
    workers.await_calls(40)
    way.cut(to_server=False)
    time.sleep(TIMEOUT_SECONDS * 1.5)
    way.heal()
    workers.await_calls(40)
    way.cut(to_client=False)
    time.sleep(TIMEOUT_SECONDS * 1.5)
    way.heal(is_lost=True)
    workers.await_calls(40)
    way.cut()
    time.sleep(LIFE_SECONDS * 1.5)
    way.heal()


@pytest.mark.parametrize(("trouble", "calls"), [("crash", 600), ("cut off", 1_400)])
def test_hosts_spend_no_more_than_the_limit_through_outages_and_nobody_hangs(
    tmp_path: Path, crashing_server: Server, crashing_authority: str, trouble: str, calls: int
) -> None:
    dearest = dearest_call(tmp_path / "probe")
    bound = dearest.bound_nanousd
    limit = calls * bound + bound - 1
    homes = [tmp_path / "host-1", tmp_path / "host-2"]
    for home in homes:
        harness.write_rules(home, limit=format_usd(limit))
    with (
        FakeOpenAI(dearest.reply, keep_requests=10_000) as fake,
        way_to(crashing_server.port) as way,
    ):
        workers = Fleet(
            fake,
            homes,
            threads=THREADS,
            prompt_bytes=dearest.prompt_bytes,
            environ=SETTINGS,
            pace_seconds=PACE_SECONDS,
            owners=[
                {"TOLLSPAN_AUTHORITY": crashing_authority},
                {"TOLLSPAN_AUTHORITY": through(way, crashing_authority)},
            ],
        )
        with fleet.running(workers, PROCESSES):
            if trouble == "crash":
                crash(crashing_server, workers)
            else:
                cut_off(way, workers)
            workers.finish()
            workers.spend_the_rest()
        assert workers.report.failed, "nobody noticed"
        assert all(text.startswith("GateUnavailableError") for text in workers.report.failed)
        assert workers.report.slowest_seconds < LONGEST_SECONDS
        assert fake.hits == len(fleet.numbers_with_events(homes)) <= calls
        balance = fleet.settled(crashing_authority, limit)
        assert balance.held == 0
        assert balance.posted == fake.billed_nanousd == fake.hits * bound
        assert limit - bound < balance.posted + balance.unresolved <= limit
