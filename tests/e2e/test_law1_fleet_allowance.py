"""Law 1 with an allowance: in outages of the authority, real hosts spend it together, and no more.

The server crashes and hangs for longer than leases live, while workers are killed and others take
their place. What the provider counts must be covered: by the limit, and by the allowance beside it.
"""

from __future__ import annotations

import random
import time
from decimal import Decimal
from pathlib import Path

import pytest

from tests import harness
from tests.e2e import fleet
from tests.e2e.fleet import Fleet
from tests.e2e.test_law1_inequality import dearest_call
from tests.fakes import FakeOpenAI
from tests.services import Server
from tollspan.budget import Account, Allowance
from tollspan.usage import format_usd

pytestmark = pytest.mark.alone
PROCESSES, THREADS = 4, 4
CALLS = 700
SHARE = Decimal("0.16")
LIFE_SECONDS = 2.0
OUTAGE_SECONDS = 2.5 * LIFE_SECONDS
PACE_SECONDS = 0.2
SETTINGS = {
    "TOLLSPAN_ACQUIRE_TIMEOUT": "0.3",
    "TOLLSPAN_LEASE": f"life={LIFE_SECONDS},drift=0.2,horizon=86400",
}
RULES = """
    version: 1
    defaults: {{on_unavailable: {{allow_up_to: 16%}}}}
    budgets: [{{id: all, limit: {limit} USD}}]
    hosts: {{127.0.0.1: openai}}
"""


def outlive(server: Server, workers: Fleet) -> None:
    """Have the server be away for longer than leases live, twice, and kill workers meanwhile."""
    chance = random.Random(7)
    workers.await_calls(60)
    server.kill()
    time.sleep(OUTAGE_SECONDS / 2)
    workers.replace_one(chance)
    time.sleep(OUTAGE_SECONDS / 2)
    server.start()
    workers.await_calls(60)
    server.pause()
    time.sleep(OUTAGE_SECONDS)
    server.resume()
    workers.replace_one(chance)
    workers.await_calls(40)


def test_hosts_spend_the_allowance_at_most_through_outages_and_kills(
    tmp_path: Path, crashing_server: Server, crashing_authority: str
) -> None:
    dearest = dearest_call(tmp_path / "probe")
    bound = dearest.bound_nanousd
    limit = CALLS * bound
    account = Account(budget_id="all", scope="", period="", limit=limit)
    beside = Allowance(share=SHARE).beside(account)
    homes = [tmp_path / "host-1", tmp_path / "host-2"]
    for home in homes:
        harness.write_rules(home, text=RULES.format(limit=format_usd(limit)))
    with FakeOpenAI(dearest.reply, keep_requests=10_000) as fake:
        workers = Fleet(
            fake,
            homes,
            threads=THREADS,
            prompt_bytes=dearest.prompt_bytes,
            environ=SETTINGS | {"TOLLSPAN_AUTHORITY": crashing_authority},
            pace_seconds=PACE_SECONDS,
        )
        with fleet.running(workers, PROCESSES):
            outlive(crashing_server, workers)
            workers.finish()
            workers.spend_the_rest()
        events = [event for home in homes for event in harness.usage_events(home)]
        unasked = [event for event in events if event.decision.is_unavailable]
        of_limit, of_allowance = fleet.settled_of(crashing_authority, [account, beside])
        print(f"{len(events)} calls, {len(unasked)} unasked; {of_limit}; {of_allowance}")
        assert unasked, "nothing was let through in the outages"
        assert all(text.startswith("GateUnavailableError") for text in workers.report.failed)
        assert of_allowance.posted == len(unasked) * bound
        assert of_allowance.counted <= beside.limit
        assert of_limit.posted == (len(events) - len(unasked)) * bound
        assert of_limit.counted <= limit
        assert (of_limit.held, of_allowance.held) == (0, 0)
        assert len(events) * bound <= fake.hits * bound == fake.billed_nanousd
        assert fake.billed_nanousd <= of_limit.counted + of_allowance.counted
