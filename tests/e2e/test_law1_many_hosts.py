"""Law 1 over hosts: one budget, held by an authority that they share, asked from all of them.

Each host has a home of its own, and so a ledger of its own. The fake's calls cost exactly their
bound: a limit of K bounds admits K calls, whoever makes them.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests import harness
from tests.e2e import spending
from tests.e2e.spending import Order, Tally
from tests.e2e.test_law1_inequality import ADMITTED, dearest_call, limit_for
from tests.fakes import FakeOpenAI
from tollspan.budget import Account, Balance, LeaseSettings
from tollspan.cli import main
from tollspan.ledger import open_authority
from tollspan.usage import UsageEvent, format_usd

pytestmark = pytest.mark.alone

HOSTS = 4
SERVICES = ["redis_url", "postgres_url"]
# A machine that is short of CPU is no outage.
PATIENCE = {"TOLLSPAN_ACQUIRE_TIMEOUT": "5"}


@pytest.fixture(params=[pytest.param(one, marks=pytest.mark.service) for one in SERVICES])
def address(request: pytest.FixtureRequest) -> str:
    """Open an authority that nobody else uses."""
    url: str = request.getfixturevalue(request.param)
    assert main(["authority", "open", url]) == 0
    return url


def spend(homes: list[Path], address: str, orders: list[Order]) -> Tally:
    """Do each order in a process of its own, in turn on each host."""
    placed = [
        msgspec.structs.replace(
            order,
            environ={
                "TOLLSPAN_HOME": str(homes[number % len(homes)]),
                "TOLLSPAN_AUTHORITY": address,
                **PATIENCE,
                **order.environ,
            },
        )
        for number, order in enumerate(orders)
    ]
    return spending.spend_in_processes(homes[0], placed)


def standing(address: str, limit: int) -> Balance:
    """Ask the authority how the account of these tests stands."""
    authority = open_authority(address, LeaseSettings(wait_seconds=5))
    try:
        (balance,) = authority.balances(
            [Account(budget_id="all", scope="", period="", limit=limit)]
        )
    finally:
        authority.close()
    return balance


def events(homes: list[Path]) -> list[UsageEvent]:
    """Return the events of all hosts."""
    return [event for home in homes for event in harness.usage_events(home)]


@pytest.mark.parametrize("leases", ["auto", pytest.param("never", marks=pytest.mark.slow)])
def test_hosts_get_through_exactly_as_many_calls_together_as_fit(
    tmp_path: Path, address: str, leases: str
) -> None:
    dearest = dearest_call(tmp_path / "probe")
    bound = dearest.bound_nanousd
    homes = [tmp_path / f"host-{number}" for number in range(HOSTS)]
    for home in homes:
        harness.write_rules(home, limit=limit_for(ADMITTED, bound))
    with FakeOpenAI(dearest.reply, keep_requests=10_000) as fake:
        orders = [
            Order(
                base_url=fake.base_url,
                threads=8,
                calls=4,
                first=number * 32,
                prompt_bytes=dearest.prompt_bytes,
                environ={"TOLLSPAN_LEASES": leases},
            )
            for number in range(2 * HOSTS)
        ]
        tally = spend(homes, address, orders)
        assert tally.failed == {}
        assert len(tally.refused) == 2 * HOSTS * 32 - ADMITTED
        assert fake.hits == ADMITTED
        billed = fake.billed_nanousd
    balance = standing(address, ADMITTED * bound)
    assert (balance.posted, balance.held, balance.unresolved) == (billed, 0, 0)
    assert sum(event.cost.amount_nanousd or 0 for event in events(homes)) == billed


def test_ample_leases_of_hosts_spend_no_more_than_the_limit_and_strand_little(
    tmp_path: Path, address: str
) -> None:
    """Limits of a thousand bounds and more are leased in larger pieces."""
    dearest = dearest_call(tmp_path / "probe")
    bound = dearest.bound_nanousd
    limit = 1_200 * bound
    homes = [tmp_path / f"host-{number}" for number in range(HOSTS)]
    for home in homes:
        harness.write_rules(home, limit=format_usd(limit))
    with FakeOpenAI(dearest.reply, keep_requests=10_000) as fake:
        orders = [
            Order(
                base_url=fake.base_url,
                threads=8,
                calls=30,
                first=number * 240,
                prompt_bytes=dearest.prompt_bytes,
            )
            for number in range(2 * HOSTS)
        ]
        tally = spend(homes, address, orders)
        assert tally.failed == {}
        billed = fake.billed_nanousd
    balance = standing(address, limit)
    assert (balance.posted, balance.held, balance.unresolved) == (billed, 0, 0)
    assert 0.97 * limit <= billed <= limit
