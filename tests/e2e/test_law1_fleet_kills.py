"""Laws 1 to 3 over processes that are killed and replaced all the time, on every authority.

The fake's calls cost exactly their bound, and it counts each that reaches it. What a killed process
had, an event or a rest of its lease, must be counted: as spent where its event was stored, else as
unresolved. Then what is posted and unresolved together fills the limit to the last call.
"""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from tests import harness
from tests.e2e import fleet
from tests.e2e.fleet import Fleet
from tests.e2e.test_law1_inequality import dearest_call, limit_for
from tests.fakes import FakeOpenAI
from tests.services import Server
from tollspan.budget import Balance
from tollspan.cli import main
from tollspan.ledger import SQLiteLedger
from tollspan.usage import format_usd

pytestmark = pytest.mark.alone

SEED = 20
LEASES = "life=3,drift=0.2,horizon=86400"
# A machine that is short of CPU is no outage.
PATIENCE = {"TOLLSPAN_ACQUIRE_TIMEOUT": "5", "TOLLSPAN_LEASE": LEASES}


class Size(msgspec.Struct, kw_only=True, frozen=True):
    """How large a run is.

    Attributes:
        processes, threads: The fleet.
        calls: How many calls the limit has room for.
        kills: How many processes are killed, evenly over the first half of these calls: what they
            strand must leave enough for the rest.
    """

    processes: int
    threads: int
    calls: int
    kills: int


SIZES = [
    pytest.param(Size(processes=5, threads=6, calls=520, kills=10), id="scaled"),
    pytest.param(
        Size(processes=16, threads=32, calls=16_000, kills=40),
        id="full",
        marks=[pytest.mark.slow, pytest.mark.timeout(1800)],
    ),
]


def spend_under_fire(workers: Fleet, size: Size, seed: int) -> None:
    """Kill and replace processes at random while the limit is spent, then spend all of it."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    with fleet.running(workers, size.processes):
        for _ in range(size.kills):
            workers.await_calls(size.calls // (2 * size.kills))
            workers.replace_one(chance)
        workers.finish()
        workers.spend_the_rest()
    assert workers.report.failed == []


def check(balance: Balance, fake: FakeOpenAI, homes: list[Path], *, bound: int) -> None:
    """Compare what is counted with what the provider saw and what the events say."""
    limit = balance.account.limit
    assert fake.hits <= limit // bound
    assert balance.held == 0
    assert limit - bound < balance.posted + balance.unresolved <= limit
    assert balance.posted == fleet.billed(fake, fleet.numbers_with_events(homes))
    assert balance.posted + balance.unresolved >= fake.hits * bound
    assert balance.unresolved > 0, "nobody was killed in a call"


@pytest.mark.parametrize("size", SIZES)
def test_processes_of_one_host_that_are_killed_at_random_never_spend_beyond_the_limit(
    tmp_path: Path, size: Size
) -> None:
    dearest = dearest_call(tmp_path / "probe")
    home = tmp_path / "home"
    harness.write_rules(home, limit=limit_for(size.calls, dearest.bound_nanousd))
    with FakeOpenAI(dearest.reply, keep_requests=100_000) as fake:
        workers = Fleet(
            fake,
            [home],
            threads=size.threads,
            prompt_bytes=dearest.prompt_bytes,
            environ={**PATIENCE, "TOLLSPAN_LEASES": "always"},
        )
        spend_under_fire(workers, size, SEED)
        ledger = SQLiteLedger(home)
        ledger.sweep()
        ledger.close()
        check(harness.balance(home), fake, [home], bound=dearest.bound_nanousd)


@pytest.mark.parametrize("size", SIZES)
def test_processes_of_hosts_that_are_killed_at_random_never_spend_beyond_the_limit(
    tmp_path: Path,
    crashing_server: Server,
    crashing_authority: str,
    size: Size,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dearest = dearest_call(tmp_path / "probe")
    bound = dearest.bound_nanousd
    limit = size.calls * bound + bound - 1
    homes = [tmp_path / "host-1", tmp_path / "host-2"]
    for home in homes:
        harness.write_rules(home, limit=format_usd(limit))
    with FakeOpenAI(dearest.reply, keep_requests=100_000) as fake:
        workers = Fleet(
            fake,
            homes,
            threads=size.threads,
            prompt_bytes=dearest.prompt_bytes,
            environ={**PATIENCE, "TOLLSPAN_AUTHORITY": crashing_authority},
        )
        spend_under_fire(workers, size, SEED)
        balance = fleet.settled(crashing_authority, limit)
        check(balance, fake, homes, bound=bound)

        for home in [*homes, *homes]:  # everything is told twice more
            monkeypatch.setenv("TOLLSPAN_HOME", str(home))
            assert main(["authority", "fill", crashing_authority]) == 0
        assert fleet.settled(crashing_authority, limit) == balance
        crashing_server.restart()
        assert fleet.settled(crashing_authority, limit) == balance
