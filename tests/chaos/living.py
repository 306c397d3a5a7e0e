"""A run: a world lives through its faults, heals, settles, and is judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import requests

from tests import harness
from tests.e2e import clocks, disks, fleet, replaying
from tests.e2e.fleet import NUMBERS_OF_A_WORKER, Fleet
from tests.e2e.ingest import COMMAND, rows, send_the_rest, total
from tollspan.ledger import LEDGER_FILE, LedgerReader, rebuild, rescued_files

from . import verdict
from .breaking import Breaker
from .plan import CLOCKS, DISKS, MOST_AHEAD_SECONDS, Fault, Kind, plan
from .verdict import Finding, Told
from .watching import watching
from .world import NUMBERS_OF_TIGHT, THREADS, World, world

SETTLING_SECONDS = 90.0
Say = Callable[[str], None]


class Life(msgspec.Struct, kw_only=True):
    """What became of a run.

    Attributes:
        faults: What went wrong.
        without: Kinds of faults that could not be had here.
        findings: What holds.
        calls: That the providers have seen.
        refused: By a budget.
        unavailable: Refused since no budget could be asked.
        spans: That came through the Collector.
        put_aside: The most files in which events waited for a disk that was full.
    """

    faults: Sequence[Fault]
    without: Sequence[Kind]
    findings: Sequence[Finding]
    calls: int
    refused: int
    unavailable: int
    spans: int
    put_aside: int

    @property
    def holds(self) -> bool:
        """Whether all that must hold does."""
        return all(one.holds for one in self.findings)


def impossible() -> tuple[Kind, ...]:
    """Name the faults that can't be had here."""
    kinds = set() if disks.may_have_small_disks() else DISKS
    kinds = kinds | (set() if clocks.can_be_moved() else CLOCKS)
    return tuple(kind for kind in Kind if kind in kinds)


def live(folder: Path, *, seed: int, seconds: float, say: Say) -> Life:
    """Live through a run.

    Args:
        folder: An empty one, which other users may read.
        seed: Decides what goes wrong.
        seconds: How long things go wrong; starting and settling come on top.
        say: Is told what happens, in a line.
    """
    without = impossible()
    faults = plan(seed, seconds, without=without)
    say("starting hosts, servers, Collector, Redis and PostgreSQL")
    with world(folder, seconds, without=without) as made, watching(made) as seen:
        say("all is up")
        Breaker(made, say).run(faults)
        say("all is whole again; settling")
        findings = _settle(made)
        told = [_told(made, one) for one in made.fleets]
        findings += [*_judge(made, told), *_replay(made, say)]
        spans = len(made.backend.spans)
    findings += verdict.of_watching(seen)
    failed = [text for one in made.fleets for text in one.report.failed]
    return Life(
        faults=faults,
        without=without,
        findings=findings,
        calls=sum(one.fake.hits for one in made.fleets),
        refused=sum(one.report.refused for one in made.fleets),
        unavailable=sum(text.startswith("GateUnavailableError") for text in failed),
        spans=spans,
        put_aside=seen.put_aside,
    )


# -- settling --


def _settle(made: World) -> list[Finding]:
    """Have everybody come to an end, and everything where it belongs."""
    for one in made.fleets:
        one.finish()
    # Hours pass: what began, or was granted, under a clock that was ahead has had its time then.
    for clock in made.clocks.values():
        clock.move(MOST_AHEAD_SECONDS + 60)
    made.tight.spend_the_rest()
    made.agent.restart()  # which has it send at once what it keeps
    return [
        _await_none("hosts: all that waited was taken", lambda: _waiting(made)),
        _await_none("Collector: all that it kept was taken", lambda: _queued(made)),
    ]


def _await_none(claim: str, count: Callable[[], int]) -> Finding:
    give_up_at = time.monotonic() + SETTLING_SECONDS
    while (left := count()) and time.monotonic() < give_up_at:
        time.sleep(0.5)
    return Finding(claim, not left, f"{left} left")


def _waiting(made: World) -> int:
    """Send what hosts have left; return how much they have left then."""
    left = 0
    for home in made.homes:
        send_the_rest(home, **made.settings)
        reader = LedgerReader(home / LEDGER_FILE)
        left += len(rescued_files(home))
        (count,) = next(reader.rows("SELECT count(*) FROM dead_letters", ()))
        left += count
    return left


def _queued(made: World) -> int:
    """Return how many spans the Collector has not sent yet."""
    address = f"http://127.0.0.1:{made.agent.environ['METRICS_PORT']}/metrics"
    found = requests.get(address, timeout=5).text.splitlines()
    sizes = [line for line in found if line.startswith("otelcol_exporter_queue_size{")]
    assert sizes, "the Collector does not say what it keeps"
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in sizes)


# -- judging --


def _told(made: World, one: Fleet) -> Told:
    """Ask everybody about the calls of one customer."""
    is_tight = one is made.tight
    assert one.fake.wait_idle(30)

    def of(number: int) -> bool:
        return (number // NUMBERS_OF_A_WORKER <= NUMBERS_OF_TIGHT) == is_tight

    stored: dict[int, int] = {}
    for home in made.homes:
        for event in harness.usage_events(home):
            number = int(event.call.attribution.step or "")
            assert number not in stored, "a call has two events"
            if of(number):
                stored[number] = event.cost.amount_nanousd or 0
    return Told(
        customer="tight" if is_tight else "wide",
        billed=fleet.billed_by_number(one.fake),
        stored=stored,
        at_servers=[
            {step: row for step, row in rows(server, made.key, "step").items() if of(int(step))}
            for server in made.servers
        ],
        killed=frozenset(one.killed),
        threads=THREADS,
        failed=one.report.failed,
    )


def _judge(made: World, told: Sequence[Told]) -> list[Finding]:
    balances = fleet.settled_of(made.balancer.root_url, made.accounts, key=made.key)
    tight, wide = balances
    last = verdict.of_the_last_call(tight, made.tight.report.refused, made.bound)
    return [
        *(finding for one in told for finding in verdict.of_calls(one)),
        *verdict.of_budget(tight, told[:1]),
        *verdict.of_budget(wide, told),
        last,
    ]


def _replay(made: World, say: Say) -> Iterator[Finding]:
    """Tell everything again, in each of the ways in which that happens; no sum changes."""
    before = _sums(made)
    for what, again in (
        ("all spans", _spans_again),
        ("all events", _events_again),
        ("all ledgers, rebuilt", _ledgers_again),
        ("all charges", _charges_again),
        ("all spans, after a kill of everything", _all_killed),
    ):
        say(f"again: {what}")
        try:
            again(made)
        except AssertionError as error:  # something was not taken as known; the report goes on
            yield Finding(f"told again: {what}: all of it was known", False, f"{error}"[:200])
        after = _sums(made)
        figures = f"{before}" if after == before else f"{after}, not {before}"
        yield Finding(f"told again: {what}: every sum is what it was", after == before, figures)


def _sums(made: World) -> list[tuple[int, ...]]:
    balances = fleet.settled_of(made.balancer.root_url, made.accounts, key=made.key)
    of_budgets = [(one.posted, one.held, one.unresolved) for one in balances]
    return [*(total(server, made.key) for server in made.servers), *of_budgets]


def _spans_again(made: World) -> None:
    replaying.send_spans(made.balancer.root_url, made.key, made.backend.bodies)


def _events_again(made: World) -> None:
    replaying.send_events(made.balancer.root_url, made.key, made.homes, at_once=170)


def _ledgers_again(made: World) -> None:
    for home in made.homes:
        rebuild(home / LEDGER_FILE)  # which forgets what was sent
    _waiting(made)


def _charges_again(made: World) -> None:
    for home in made.homes:
        env = harness.environment(home, "http://127.0.0.1:9", **made.settings)
        done = harness.run([COMMAND, "authority", "fill"], env)
        assert done.returncode == 0, done.stderr


def _all_killed(made: World) -> None:
    for ingest in made.servers:
        ingest.kill()
    for server in (made.redis, made.postgres):
        server.kill()
        server.start()
    for ingest in made.servers:
        ingest.start()
    _spans_again(made)
