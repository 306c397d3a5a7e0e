"""Several `tollspan serve` before one PostgreSQL and one Redis, and hosts that go by them.

The hosts' budgets are held by the servers' authority, their events and spans are sent to whichever
server's turn it is. The fake's calls cost exactly their bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests import harness
from tests.balancing import Balancer
from tests.e2e.fleet import Fleet, billed_by_number, running
from tests.e2e.ingest import ServeCommand, rows, send_the_rest, serving, total
from tests.e2e.test_law1_inequality import Dearest, dearest_call
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI
from tollspan.budget import Account, Balance, LeaseSettings
from tollspan.ledger import TenantAuthorities
from tollspan.usage import format_usd

WORKERS, THREADS = 4, 3
PACE_SECONDS = 0.2
"""A thread rests so long between calls until the end, when it spends what the budget has left."""
PATIENCE = {"TOLLSPAN_ACQUIRE_TIMEOUT": "10"}
"""A machine that is short of CPU is no outage."""


class Replicas:
    """The servers, the hosts' workers, and what is before and behind them.

    Attributes:
        bound: What each call costs, in nano-USD.
        limit: Of the one budget, `all`.
    """

    def __init__(
        self,
        folder: Path,
        fake: FakeOpenAI,
        servers: Sequence[ServeCommand],
        balancer: Balancer,
        *,
        redis: str,
        dearest: Dearest,
        calls: int,
    ) -> None:
        self.fake, self.servers, self.balancer = fake, servers, balancer
        self.bound = dearest.bound_nanousd
        self.limit = calls * self.bound + self.bound - 1
        self.key = servers[0].make_key("ingest", "read", "admin")
        self.homes = [folder / f"host-{number}" for number in range(2)]
        for home in self.homes:
            harness.write_rules(home, limit=format_usd(self.limit))
        self._redis = redis
        self.settings = {
            **PATIENCE,
            "TOLLSPAN_API_KEY": self.key,
            "TOLLSPAN_ENDPOINT": balancer.root_url,
            "TOLLSPAN_AUTHORITY": balancer.root_url,
        }
        self.fleet = Fleet(
            fake,
            self.homes,
            threads=THREADS,
            prompt_bytes=dearest.prompt_bytes,
            environ=self.settings,
            pace_seconds=PACE_SECONDS,
            traces_to=balancer.root_url,
        )

    def await_calls(self, more: int) -> None:
        """Wait for so many more calls, or until the budget has room for none."""
        enough = min(self.fake.hits + more, self.limit // self.bound)
        wait_until(lambda: self.fake.hits >= enough, timeout_seconds=60)

    def ship_the_rest(self) -> None:
        """Send what the hosts have left."""
        for home in self.homes:
            send_the_rest(home, **self.settings)

    def balance(self) -> Balance:
        """Return how the budget stands, once nothing is held in it."""
        account = Account(budget_id="all", scope="", period="", limit=self.limit)
        with closing(TenantAuthorities(self._redis, LeaseSettings(wait_seconds=10))) as all_of_them:
            authority = all_of_them.of("default")
            wait_until(lambda: authority.balances([account])[0].held == 0, timeout_seconds=60)
            (balance,) = authority.balances([account])
        return balance

    def see_every_call_once_at_every_server(self) -> None:
        """See that provider, hosts, authority and servers count the same calls, each once."""
        assert self.fake.wait_idle(30)
        billed = billed_by_number(self.fake)
        events = [one for home in self.homes for one in harness.usage_events(home)]
        assert len(events) == len(billed)
        assert 0 < sum(billed.values()) <= self.limit
        for server in self.servers:
            assert rows(server, self.key, "step") == {
                str(number): (1, cost) for number, cost in billed.items()
            }
            assert total(server, self.key) == (len(billed), sum(billed.values()))


@contextmanager
def replicas(
    folder: Path, *, postgres: str, redis: str, calls: int, count: int = 2
) -> Iterator[Replicas]:
    """Start servers and workers; the budget has room for so many calls."""
    dearest = dearest_call(folder / "probe")
    with ExitStack() as stack:
        fake = stack.enter_context(FakeOpenAI(dearest.reply, keep_requests=100_000))
        servers = [
            stack.enter_context(
                serving(
                    folder / f"server-{number}", "--authority", redis, "--private-webhooks",
                    database=postgres,
                )
            )
            for number in range(count)
        ]  # fmt: skip
        balancer = stack.enter_context(Balancer(*[one.port for one in servers]))
        made = Replicas(folder, fake, servers, balancer, redis=redis, dearest=dearest, calls=calls)
        stack.enter_context(running(made.fleet, WORKERS))
        yield made
