"""A fleet: worker processes on several hosts that make calls until they are told to finish.

Any of them can be killed, and another put in its place. Every call carries a number, in its prompt
and as its `step`, by which the provider's record of it and its event are put together.
"""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec
from openai import OpenAI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import set_tracer_provider

from tests import harness
from tests.e2e import clocks, spending
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI
from tollspan.api import BudgetExceededError, attribution
from tollspan.budget import Account, Balance, LeaseSettings
from tollspan.exporter import authority_at
from tollspan.launch import install_or_raise, read_settings, uninstall

NUMBERS_OF_A_WORKER = 100_000
"""The n-th worker that starts, the first being 1, begins with n times this."""
_REFUSALS = 2
_REST_SECONDS = 0.1
_DONE_SECONDS = 60.0


class Report(msgspec.Struct, kw_only=True):
    """What a worker says at its end; one that was killed says nothing.

    Attributes:
        answered: How many calls the provider answered.
        refused: How many the budgets refused.
        failed: Anything else, with its text; a gate that was not available, too.
        slowest_seconds: The longest that a call took, whatever became of it.
    """

    answered: int = 0
    refused: int = 0
    failed: list[str] = []
    slowest_seconds: float = 0.0

    def add(self, other: Report) -> None:
        """Add another worker's report."""
        self.answered += other.answered
        self.refused += other.refused
        self.failed += other.failed
        self.slowest_seconds = max(self.slowest_seconds, other.slowest_seconds)


class Work(msgspec.Struct, kw_only=True, frozen=True):
    """What a worker does.

    Attributes:
        base_url: Where the provider is.
        prompt_bytes: How long each prompt is.
        threads: How many threads call at once.
        first: The number of its first call.
        pace_seconds: How long a thread rests between calls, until it is told to finish.
        ends_when_told: It ends with the calls that it makes then; else the budgets end it.
        traces_to: Where its spans are exported by OTLP, without `/v1/traces`; "" for nowhere.
        clock: The file of the clock by which it goes; "" for the machine's.
        environ: Its settings.
    """

    base_url: str
    prompt_bytes: int
    threads: int
    first: int
    pace_seconds: float
    ends_when_told: bool
    traces_to: str
    clock: str
    environ: dict[str, str]


class Worker(msgspec.Struct):
    """A process of the fleet, its number there, and the way to talk with it."""

    process: BaseProcess
    line: Connection
    number: int

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.join()
        self.line.close()

    def finish(self) -> None:
        """Tell it to end, as its work says."""
        self.line.send_bytes(b"finish")

    def report(self) -> Report:
        """Wait for its end."""
        assert self.line.poll(_DONE_SECONDS), "a worker does not come to its end"
        report = msgspec.json.decode(self.line.recv_bytes(), type=Report)
        self.process.join(_DONE_SECONDS)
        assert self.process.exitcode == 0
        self.line.close()
        return report


class Fleet:
    """Workers on hosts.

    Args:
        fake: The provider.
        homes: The hosts, by the folder that each has for its ledger; workers go to them in turn.
        threads: Of each worker.
        prompt_bytes: How long each prompt is.
        environ: Settings of all workers.
        owners: Settings of single workers beside these, in turn.
        pace_seconds, ends_when_told, traces_to: As in `Work`.
        clocks: The files of the hosts' clocks, in the order of the homes; none: the machine's.
        started: How many workers others have started with whom these may not share numbers.

    Attributes:
        killed: The numbers of the workers that were killed in their work.
    """

    def __init__(
        self,
        fake: FakeOpenAI,
        homes: Sequence[Path],
        *,
        threads: int,
        prompt_bytes: int,
        environ: dict[str, str],
        owners: Sequence[dict[str, str]] = ({},),
        pace_seconds: float = 0.0,
        ends_when_told: bool = False,
        traces_to: str = "",
        clocks: Sequence[Path] = (),
        started: int = 0,
    ) -> None:
        self.fake = fake
        self.killed: set[int] = set()
        self.workers: list[Worker] = []
        self.report = Report()
        self._homes = homes
        self._threads = threads
        self._prompt_bytes = prompt_bytes
        self._environ = environ
        self._owners = owners
        self._pace_seconds = pace_seconds
        self._ends_when_told = ends_when_told
        self._traces_to = traces_to
        self._clocks = clocks
        self._started = started
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["openai", "tollspan.launch", spending.__name__])

    def start(self, number: int | None = None, *, threads: int | None = None) -> Worker:
        """Start a worker; its number says on which host, and for whom."""
        number = self._started if number is None else number
        self._started += 1
        work = Work(
            base_url=self.fake.base_url,
            prompt_bytes=self._prompt_bytes,
            threads=threads or self._threads,
            first=self._started * NUMBERS_OF_A_WORKER,
            pace_seconds=self._pace_seconds,
            ends_when_told=self._ends_when_told,
            traces_to=self._traces_to,
            clock=str(self._clocks[number % len(self._clocks)]) if self._clocks else "",
            environ={
                "TOLLSPAN_HOME": str(self._homes[number % len(self._homes)]),
                **self._environ,
                **self._owners[number % len(self._owners)],
            },
        )
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_be_worker, args=(work, theirs))
        process.start()
        theirs.close()
        worker = Worker(process, ours, self._started)
        self.workers.append(worker)
        return worker

    def await_calls(self, more: int) -> None:
        """Wait until the provider has seen so many more calls."""
        enough = self.fake.hits + more
        wait_until(lambda: self.fake.hits >= enough, timeout_seconds=_DONE_SECONDS)

    def replace_one(self, chance: random.Random) -> None:
        """Kill some worker, and start another in its place."""
        self.replace(chance.randrange(len(self.workers)))

    def replace(self, place: int) -> None:
        """Kill a worker, and start another in its place."""
        self.workers[place].kill()
        self.killed.add(self.workers[place].number)
        self.start(place)
        self.workers[place] = self.workers.pop()

    def finish(self) -> None:
        """Have all workers come to their end, as their work says, in good order."""
        for worker in self.workers:
            worker.finish()
        while self.workers:
            self.report.add(self.workers.pop().report())
        assert self.fake.wait_idle(30)

    def spend_the_rest(self) -> None:
        """Have one last worker for each host and owner, one after another, spend what is left.

        What others gave back at their end is spent then, and what they left unsettled settled.
        """
        for number in range(max(len(self._homes), len(self._owners))):
            self.start(number, threads=1)
            self.finish()

    def kill(self) -> None:
        """End whoever is left."""
        while self.workers:
            self.workers.pop().kill()


@contextmanager
def running(fleet: Fleet, workers: int) -> Iterator[Fleet]:
    """Start so many workers; none is left at the end."""
    try:
        for _ in range(workers):
            fleet.start()
        yield fleet
    finally:
        fleet.kill()


def settled(address: str, limit: int, *, key: str | None = None) -> Balance:
    """Return how the account of the one budget `all` stands, once killed workers' leases ended."""
    account = Account(budget_id="all", scope="", period="", limit=limit)
    return settled_of(address, [account], key=key)[0]


def settled_of(
    address: str, accounts: Sequence[Account], *, key: str | None = None
) -> tuple[Balance, ...]:
    """Return how accounts stand, once nothing is held in them any more."""
    authority = authority_at(address, LeaseSettings(wait_seconds=5), key=key)
    try:
        balances = authority.balances(accounts)
        give_up_at = time.monotonic() + 15
        while any(one.held for one in balances) and time.monotonic() < give_up_at:
            time.sleep(0.2)
            authority.expire()
            balances = authority.balances(accounts)
    finally:
        authority.close()
    return balances


def billed(fake: FakeOpenAI, numbers: set[int]) -> int:
    """Return what the provider bills for the calls of these numbers, in nano-USD."""
    return sum(cost for number, cost in billed_by_number(fake).items() if number in numbers)


def billed_by_number(fake: FakeOpenAI) -> dict[int, int]:
    """Return what the provider bills for each call, in nano-USD."""
    found: dict[int, int] = {}
    for request in fake.requests:
        assert isinstance(request.json, dict)
        number = int(request.json["messages"][0]["content"].rstrip("."))
        assert number not in found, "a call was made twice"
        found[number] = request.billed_nanousd
    return found


def numbers_with_events(homes: Sequence[Path]) -> set[int]:
    """Return the numbers of the calls whose events some host has; each has one."""
    found = [
        int(event.call.attribution.step or "")
        for home in homes
        for event in harness.usage_events(home)
    ]
    assert len(found) == len(set(found)), "a call has two events"
    return set(found)


def _be_worker(work: Work, line: Connection) -> None:
    if work.clock:
        clocks.follow(work.clock)
    key = work.environ.get("TOLLSPAN_API_KEY")
    traces = _export_traces(work.traces_to, key) if work.traces_to else None
    install_or_raise(read_settings(work.environ))
    is_finishing = threading.Event()
    client = OpenAI(base_url=work.base_url, api_key="sk-test", timeout=60, max_retries=0)
    reports = [Report() for _ in range(work.threads)]
    threads = [
        threading.Thread(target=_call_on, args=(work, client, number, is_finishing.is_set, report))
        for number, report in enumerate(reports)
    ]
    for thread in threads:
        thread.start()
    line.recv_bytes()
    is_finishing.set()
    for thread in threads:
        thread.join()
    client.close()
    uninstall()
    if traces is not None:
        traces.shutdown()
    for report in reports[1:]:
        reports[0].add(report)
    line.send_bytes(msgspec.json.encode(reports[0]))
    line.close()


def _export_traces(address: str, key: str | None) -> TracerProvider:
    """Export the spans of this process as programs do, with the key of its ingest API."""
    provider = TracerProvider()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    exporter = OTLPSpanExporter(endpoint=f"{address}/v1/traces", headers=headers)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    set_tracer_provider(provider)
    return provider


def _call_on(
    work: Work, client: OpenAI, thread: int, is_finishing: Callable[[], bool], report: Report
) -> None:
    """Make calls; at the end, until they are refused a few times in a row, or no more at once."""
    refused = 0
    for number in range(work.first + thread, 10**8, work.threads):
        if work.ends_when_told and is_finishing():
            return
        began = time.monotonic()
        try:
            with attribution(step=str(number)):
                spending.ask(client, number, size=work.prompt_bytes)
            report.answered += 1
            refused, rest_seconds = 0, 0.0 if is_finishing() else work.pace_seconds
        except BudgetExceededError:
            report.refused += 1
            refused, rest_seconds = refused + is_finishing(), _REST_SECONDS
        except Exception as error:
            report.failed.append(f"{type(error).__name__}: {error}")
            refused, rest_seconds = 0, _REST_SECONDS
        report.slowest_seconds = max(report.slowest_seconds, time.monotonic() - began)
        if refused >= _REFUSALS:
            return
        time.sleep(rest_seconds)
