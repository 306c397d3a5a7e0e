"""All that runs in a run of chaos: hosts with workers, servers, and what is behind and beside them.

Two hosts with two workers each make calls of the real SDK to providers that keep their own bills.
Two ingest servers behind a load balancer have their events on one PostgreSQL and their budgets on
one Redis. The workers' spans come by a Collector, which sends the servers those of calls, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path

from tests import harness
from tests.balancing import Balancer
from tests.collector.backend import TraceBackend
from tests.collector.running import Collector, started
from tests.e2e.clocks import Clock, Clocks
from tests.e2e.disks import small_disk
from tests.e2e.fleet import Fleet, running
from tests.e2e.ingest import ServeCommand, serving
from tests.e2e.test_law1_inequality import Dearest, dearest_call
from tests.fakes import FakeOpenAI, Reply
from tests.services import DURABLE, PostgresServer, RedisServer, running_postgres, running_redis
from tollspan.budget import Account
from tollspan.usage import format_usd

from .plan import CLOCKS, DISKS, PLACES, Kind

WORKERS, THREADS = 2, 2
"""Of each fleet: a worker on each host, and threads of each."""
SHARE_OF_TIGHT = 4
"""For how many calls in each second the tight budget has room: it is used up before the end."""
_PACE_SECONDS = 0.3
_LATENCY_SECONDS = 0.05
_LIFE_SECONDS = 5
_WIDE_LIMIT = 10**12
_DISK_MEBIBYTES = 96
NUMBERS_OF_TIGHT = 400
"""More workers than one fleet ever starts: the other one's numbers begin there."""
_HOSTS = tuple(f"host-{number}" for number in range(PLACES[Kind.HOST_DISK]))
_SERVERS = tuple(f"server-{number}" for number in range(PLACES[Kind.SERVER]))
_RULES = """
version: 1
defaults: {{on_unavailable: deny}}
budgets:
  - {{id: tight, where: {{customer: tight}}, limit: {tight} USD}}
  - {{id: wide, limit: {wide} USD}}
hosts: {{127.0.0.1: openai}}
"""


@dataclass(kw_only=True)
class World:
    """What runs.

    Attributes:
        tight: Workers of the customer whose budget is used up before the end.
        wide: Workers of another, whose calls cost this and that.
        bound: What each call of `tight` costs, in nano-USD.
        accounts: Of the budget `tight`, and of `wide`, which all calls are in.
        queue: Where the Collector keeps what it has not sent.
        backend: Has all spans that came through the Collector.
        clocks: By name, `host-0`, `server-0`, `redis`, `postgres`; none where none can be moved.
    """

    homes: Sequence[Path]
    queue: Path
    clocks: Mapping[str, Clock]
    redis: RedisServer
    postgres: PostgresServer
    servers: Sequence[ServeCommand]
    balancer: Balancer
    backend: TraceBackend
    agent: Collector
    key: str
    settings: Mapping[str, str]
    tight: Fleet
    wide: Fleet
    bound: int
    accounts: tuple[Account, Account]

    @property
    def fleets(self) -> tuple[Fleet, Fleet]:
        """Both."""
        return self.tight, self.wide


@contextmanager
def world(folder: Path, seconds: float, *, without: Collection[Kind] = ()) -> Iterator[World]:
    """Start all of it.

    Args:
        folder: For it alone; other users may read it.
        seconds: How long it is going to run.
        without: Faults that can't be had here.
    """
    dearest = dearest_call(folder / "probe")
    bound = dearest.bound_nanousd
    limit = int(seconds * SHARE_OF_TIGHT) * bound + bound - 1
    accounts = _account("tight", limit), _account("wide", _WIDE_LIMIT)
    clocks = {} if CLOCKS & set(without) else _clocks(folder / "clocks")
    with ExitStack() as stack:
        homes, queue = [folder / name for name in _HOSTS], folder / "queue"
        if not DISKS & set(without):
            for one in (*homes, queue):
                stack.enter_context(small_disk(one, _DISK_MEBIBYTES))
        rules = _RULES.format(tight=format_usd(limit), wide=format_usd(_WIDE_LIMIT))
        for home in homes:
            harness.write_rules(home, text=rules)
        redis, postgres, servers = _servers(stack, folder, clocks)
        key = servers[0].make_key("ingest", "read", "admin")
        balancer = stack.enter_context(Balancer(*(one.port for one in servers)))
        backend = stack.enter_context(TraceBackend())
        agent = Collector(
            folder / "agent",
            "agent",
            TOLLSPAN_ENDPOINT=balancer.root_url,
            TOLLSPAN_API_KEY=key,
            TRACES_ENDPOINT=backend.address,
            QUEUE_FOLDER=str(queue),
        )
        stack.enter_context(started(agent))
        settings = {
            "TOLLSPAN_API_KEY": key,
            "TOLLSPAN_ENDPOINT": balancer.root_url,
            "TOLLSPAN_AUTHORITY": balancer.root_url,
            "TOLLSPAN_ACQUIRE_TIMEOUT": "2",
        }
        tight, wide = _fleets(stack, homes, clocks, dearest, settings, agent.url)
        yield World(
            homes=homes,
            queue=queue,
            clocks=clocks,
            redis=redis,
            postgres=postgres,
            servers=servers,
            balancer=balancer,
            backend=backend,
            agent=agent,
            key=key,
            settings=settings,
            tight=tight,
            wide=wide,
            bound=bound,
            accounts=accounts,
        )


def _account(name: str, limit: int) -> Account:
    return Account(budget_id=name, scope="", period="", limit=limit)


def _clocks(folder: Path) -> dict[str, Clock]:
    maker = Clocks(folder)
    return {name: maker.make(name) for name in (*_HOSTS, *_SERVERS, "redis", "postgres")}


def _servers(
    stack: ExitStack, folder: Path, clocks: Mapping[str, Clock]
) -> tuple[RedisServer, PostgresServer, list[ServeCommand]]:
    """Start the servers, and what is behind them."""

    def before(name: str) -> Sequence[str]:
        return clocks[name].before if clocks else ()

    redis = stack.enter_context(running_redis(*DURABLE, before=before("redis")))
    postgres = stack.enter_context(running_postgres(before=before("postgres")))
    options = ("--authority", redis.url, "--lease-seconds", str(_LIFE_SECONDS))
    servers = [
        stack.enter_context(
            serving(
                folder / name,
                *options,
                database=postgres.url,
                environ=clocks[name].environ if clocks else {},
            )
        )
        for name in _SERVERS
    ]
    return redis, postgres, servers


def _fleets(
    stack: ExitStack,
    homes: Sequence[Path],
    clocks: Mapping[str, Clock],
    dearest: Dearest,
    settings: Mapping[str, str],
    traces_to: str,
) -> tuple[Fleet, Fleet]:
    """Start the workers of both customers; each has a provider of its own, and so a bill."""

    def make(customer: str, reply: Reply | None, *, started: int) -> Fleet:
        fake = stack.enter_context(FakeOpenAI(reply, keep_requests=1_000_000))
        return Fleet(
            fake,
            homes,
            threads=THREADS,
            prompt_bytes=dearest.prompt_bytes,
            environ={**settings, "TOLLSPAN_CUSTOMER": customer},
            pace_seconds=_PACE_SECONDS,
            ends_when_told=customer == "wide",
            traces_to=traces_to,
            clocks=[clocks[home.name].file for home in homes if clocks],
            started=started,
        )

    tight = make("tight", dearest.reply, started=0)
    wide = make("wide", None, started=NUMBERS_OF_TIGHT)
    wide.fake.script.respond = _reply
    with clocks["redis"].loaded() if clocks else nullcontext():
        forkserver.ensure_running()
    for fleet in (tight, wide):
        stack.enter_context(running(fleet, WORKERS))
    return tight, wide


def _reply(request: object, headers: Mapping[str, str], number: int) -> Reply:
    return Reply(latency_seconds=_LATENCY_SECONDS, output_tokens=1 + number % 19)
