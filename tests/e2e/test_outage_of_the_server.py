"""The ingest server is away, comes back, and is killed in the drain, as workers are all the time.

Hosts make calls of the real SDK, each host on a ledger and budgets of its own, and send what they
stored to `tollspan serve`. What holds, call by call: the server has each event of each host once,
at what the provider billed; a call that has none was in flight when its worker was killed, and what
it may have cost is unresolved in its host's ledger. Whatever is sent again changes no sum.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import harness
from tests.balancing import Balancer
from tests.e2e import replaying
from tests.e2e.fleet import NUMBERS_OF_A_WORKER, Fleet, billed_by_number, running
from tests.e2e.ingest import ServeCommand, rows, serving, total
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI, Reply
from tests.fakes.otlp_receiver import OtlpReceiver
from tollspan.exporter import Shipper
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger, rebuild

HOSTS, WORKERS, THREADS = 3, 6, 2
LATENCY_SECONDS = 0.2


class Outage(NamedTuple):
    """How long the server is away, and what happens meanwhile."""

    away_seconds: float
    pace_seconds: float
    kill_every_seconds: float


class Scene:
    """Hosts with workers, a server that they send to, and a collector that has their spans."""

    def __init__(
        self,
        folder: Path,
        fake: FakeOpenAI,
        server: ServeCommand,
        balancer: Balancer,
        collector: OtlpReceiver,
        pace_seconds: float,
    ) -> None:
        self.fake, self.server, self.balancer = fake, server, balancer
        self.collector = collector
        self.homes = [folder / f"host-{number}" for number in range(HOSTS)]
        self.kills: Counter[int] = Counter()
        self._started = [number % HOSTS for number in range(WORKERS)]
        self.key = server.make_key()
        # One host asks the server itself; the others by way of what loses answers.
        self.endpoints = [server.url, *[balancer.root_url] * (HOSTS - 1)]
        for home in self.homes:
            harness.write_rules(home)
        self.fleet = Fleet(
            fake,
            self.homes,
            threads=THREADS,
            prompt_bytes=40,
            pace_seconds=pace_seconds,
            ends_when_told=True,
            traces_to=collector.root_url,
            environ={"TOLLSPAN_API_KEY": self.key, "TOLLSPAN_AUTHORITY": "sqlite:",
                     "TOLLSPAN_LEASES": "never"},
            owners=[{"TOLLSPAN_ENDPOINT": one} for one in self.endpoints],
        )  # fmt: skip

    def kill_worker(self, place: int) -> None:
        """Kill a worker; another takes its place."""
        self.kills[place % HOSTS] += 1
        self._started.append(place % HOSTS)
        self.fleet.replace(place)

    def host_of(self, number: int) -> int:
        """Return where a call was made."""
        return self._started[number // NUMBERS_OF_A_WORKER - 1]

    def lose_server(self, occasion: str, host: int) -> None:
        """Have the server killed when a host's next batch is on its way; start it again.

        The host has a new worker, which sends at once: others wait, as they were refused often.
        """
        is_killed = threading.Event()

        def kill() -> None:
            self.server.kill()
            is_killed.set()

        setattr(self.balancer, occasion, kill)
        self.kill_worker(host)
        assert is_killed.wait(30), f"no batch came: {occasion}"
        self.server.start()

    def send_spans(self) -> None:
        """Send the server what the collector has."""
        replaying.send_spans(self.server.url, self.key, self.collector.bodies)

    def ship(self, host: int) -> None:
        """Send what a host has left, as the next program there does."""
        with closing(SQLiteLedger(self.homes[host])) as ledger:
            shipper = Shipper(ledger, self.endpoints[host], self.key)
            while ledger.outbox.waits(shipper.destination).count:
                shipper.ship()


@contextmanager
def scene(folder: Path, pace_seconds: float) -> Iterator[Scene]:
    """Start all of it."""
    with ExitStack() as stack:
        fake = stack.enter_context(FakeOpenAI(keep_requests=1_000_000))
        fake.script.respond = _reply
        server = stack.enter_context(serving(folder / "server"))
        balancer = stack.enter_context(Balancer(server.port))
        collector = stack.enter_context(OtlpReceiver())
        made = Scene(folder, fake, server, balancer, collector, pace_seconds)
        stack.enter_context(running(made.fleet, WORKERS))
        yield made


def _reply(request: object, headers: Mapping[str, str], number: int) -> Reply:
    return Reply(latency_seconds=LATENCY_SECONDS, output_tokens=1 + number % 19)


@pytest.mark.parametrize(
    "outage",
    [
        pytest.param(Outage(30, 0.1, 4), id="half a minute", marks=pytest.mark.timeout(600)),
        pytest.param(
            Outage(600, 0.02, 5),
            id="ten minutes",
            marks=[pytest.mark.slow, pytest.mark.timeout(3_600)],
        ),
    ],
)  # fmt: skip
def test_every_call_is_on_the_server_once_whoever_is_killed_meanwhile(
    tmp_path: Path, outage: Outage
) -> None:
    with scene(tmp_path, outage.pace_seconds) as made:
        live_through(made, outage)
        costs = see_hosts_and_provider_agree(made)
        for host in range(HOSTS):
            made.ship(host)
        assert rows(made.server, made.key, "step") == {
            str(number): (1, cost) for number, cost in costs.items()
        }
        expected = len(costs), sum(costs.values())
        assert total(made.server, made.key) == expected
        for _ in replays(made):
            assert total(made.server, made.key) == expected


def live_through(made: Scene, outage: Outage) -> None:
    """Make calls while the server is there, is away, comes back, and is killed in the drain."""
    fleet, server = made.fleet, made.server
    fleet.await_calls(WORKERS * THREADS)
    wait_until(lambda: total(server, made.key)[0] > 0)
    before = _calls_a_second(made, 3)
    server.kill()
    taken = _wait_out(made, outage)
    # Loosely: workers start anew all the time, and the machine has more to do.
    assert taken > before / 3, f"{taken:.1f} calls a second in the outage, {before:.1f} before"
    server.start()
    made.send_spans()  # a collector that was quicker than the hosts
    made.lose_server("when_answered", host=1)
    made.lose_server("when_sent", host=2)
    made.kill_worker(0)
    fleet.finish()
    assert fleet.report.failed == []
    # A server is waited for up to 10 s by who sends; by no call.
    assert fleet.report.slowest_seconds < 9


def _calls_a_second(made: Scene, seconds: float) -> float:
    began, hits = time.monotonic(), made.fake.hits
    time.sleep(seconds)
    return (made.fake.hits - hits) / (time.monotonic() - began)


def _wait_out(made: Scene, outage: Outage) -> float:
    """Let the outage pass, and a worker die now and then; return the calls in each second."""
    chance = random.Random(7)
    began, hits = time.monotonic(), made.fake.hits
    while (left := began + outage.away_seconds - time.monotonic()) > 0:
        time.sleep(min(left, outage.kill_every_seconds))
        made.kill_worker(chance.randrange(WORKERS))
    return (made.fake.hits - hits) / (time.monotonic() - began)


def see_hosts_and_provider_agree(made: Scene) -> dict[int, int]:
    """See that each call has one event or is unresolved; return the costs of those with events."""
    billed = billed_by_number(made.fake)
    costs: dict[int, int] = {}
    for host, home in enumerate(made.homes):
        with_events = _costs(home)
        assert not with_events.keys() & costs.keys()
        costs |= with_events
        ledger = SQLiteLedger(home)
        ledger.sweep()
        ledger.close()
        holds = LedgerReader(home / LEDGER_FILE).open_holds()
        assert all(one.is_unresolved for one in holds)
        balance = harness.balance(home)
        assert balance.posted == sum(with_events.values())
        assert balance.held == 0
        assert balance.unresolved == sum(one.amount for one in holds)
        lost = [number for number in billed.keys() - costs.keys() if made.host_of(number) == host]
        assert len(lost) <= len(holds) <= made.kills[host] * THREADS
        assert sum(billed[number] for number in lost) <= balance.unresolved
    assert costs == {number: cost for number, cost in billed.items() if number in costs}
    return costs


def _costs(home: Path) -> dict[int, int]:
    """Return what a host's events cost, by the number of each call."""
    found: dict[int, int] = {}
    for one in harness.usage_events(home):
        number = int(one.call.attribution.step or "")
        assert number not in found, "a call has two events"
        assert one.cost.amount_nanousd is not None
        found[number] = one.cost.amount_nanousd
    return found


def replays(made: Scene) -> Iterator[None]:
    """Send everything again, in each of the ways in which that happens."""
    made.send_spans()
    yield
    replaying.send_events(made.server.url, made.key, made.homes, at_once=170)
    yield
    for host in range(HOSTS):
        rebuild(made.homes[host] / LEDGER_FILE)  # which forgets what was sent
        made.ship(host)
    yield
    made.server.kill()
    made.server.start()
    made.send_spans()
    yield
