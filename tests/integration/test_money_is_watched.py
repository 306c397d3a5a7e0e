"""Warnings, overruns, unresolved money and leases reach callbacks, logs and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from openai import OpenAI
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tests import harness
from tests.contract.authority.making import Holder
from tests.contract.ledger.making import hold
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI, Reply
from tollspan.api import (
    BudgetWarning,
    OverrunWarning,
    UnresolvedWarning,
    install,
    on_warn,
    remove_callback,
)
from tollspan.budget import Account, LeaseSettings
from tollspan.ledger import SQLiteLedger, open_authority

Told = BudgetWarning | OverrunWarning | UnresolvedWarning
NANO = 1_000_000_000
ALWAYS = {"TOLLSPAN_LEASES": "always"}


class Watch:
    """A program that is watched: by a function, by a meter and by a logger of the SDK's."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.warned: list[Told] = []
        self.reader = InMemoryMetricReader()
        make = cast("type[Any]", InMemoryLogRecordExporter)  # upstream's has no types
        self.logs = cast("InMemoryLogRecordExporter", make())

    def numbers(self, metric: str, *labels: str) -> dict[tuple[object, ...], float]:
        """Return what a metric says by the values of its labels; nothing where it is not there."""
        found: dict[tuple[object, ...], float] = {}
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for one in scope.metrics:
                    for point in one.data.data_points if one.name == metric else ():
                        attributes = point.attributes or {}
                        values = tuple(attributes.get(label) for label in labels)
                        found[values] = cast("Any", point).value
        return found

    def events(self) -> list[dict[str, object]]:
        """Return the attributes of each log event of a warning."""
        return [
            dict(one.log_record.attributes or {})
            for one in self.logs.get_finished_logs()
            if one.log_record.event_name == "tollspan.warning"
        ]

    def warnings(self) -> dict[tuple[object, ...], float]:
        """Return how many warnings were counted, by rule and reason."""
        return self.numbers("tollspan.warnings", "tollspan.rule.id", "tollspan.warning.reason")

    def of_budget(self, what: str) -> dict[tuple[object, ...], float]:
        """Return one number of every budget."""
        return self.numbers(f"tollspan.budget.{what}", "tollspan.budget.id")


@contextmanager
def watching(home: Path, budgets: str, **env: str) -> Iterator[Watch]:
    """Install with rules, and watch."""
    watch = Watch(home)
    logging = LoggerProvider(shutdown_on_exit=False)
    logging.add_log_record_processor(SimpleLogRecordProcessor(watch.logs))
    meters = MeterProvider([watch.reader], shutdown_on_exit=False)
    on_warn(watch.warned.append)
    try:
        with harness.installed(home, budgets=budgets, hosts=harness.HOSTS, **env) as installed:
            installed.telemetry.logging.always(logging)
            install(meter_provider=meters)
            yield watch
    finally:
        remove_callback(watch.warned.append)
        meters.shutdown()
        logging.shutdown()


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(Reply(output_tokens=20)) as server:
        yield server


@pytest.fixture
def ask(fake: FakeOpenAI) -> Iterator[Callable[[], None]]:
    """Make one small call."""
    client = OpenAI(base_url=fake.base_url, api_key="k", max_retries=0)

    def call() -> None:
        client.chat.completions.create(
            model="gpt-4o-mini", max_tokens=30, messages=[{"role": "user", "content": "hi"}]
        )

    yield call
    client.close()


def test_a_budget_that_runs_low_is_told_to_all_three(
    tmp_path: Path, ask: Callable[[], None]
) -> None:
    with watching(tmp_path, "{id: few, limit: 2 calls, warn_at: [0.5]}") as watch:
        ask()
        wait_until(lambda: len(watch.warned) == 1)
        assert watch.warnings() == {("few", "share"): 1}
        (event,) = watch.events()
        assert (event["tollspan.rule.id"], event["tollspan.warning.share"]) == ("few", 0.5)
        assert (event["tollspan.budget.limit"], event["tollspan.budget.spent"]) == (2, 1)
        assert watch.of_budget("remaining") == {("few",): 1}


def test_an_overrun_is_told_to_all_three(tmp_path: Path) -> None:
    with (
        FakeOpenAI(Reply(prompt_tokens=50_000)) as dear,  # more than its bytes can be
        watching(tmp_path, "{id: all, limit: 1 USD}") as watch,
        OpenAI(base_url=dear.base_url, api_key="k") as client,
    ):
        client.chat.completions.create(
            model="gpt-4o-mini", max_tokens=1, messages=[{"role": "user", "content": "hi"}]
        )
        wait_until(lambda: len(watch.warned) == 1)
        (warning,) = watch.warned
        assert isinstance(warning, OverrunWarning)
        assert warning.used > warning.overrun > 0
        assert watch.warnings() == {("all", "overrun"): 1}
        (event,) = watch.events()
        assert event["tollspan.warning.amount"] == warning.overrun
        assert event["tollspan.call.id"] == warning.call_id
        assert sum(watch.numbers("tollspan.overruns").values()) == 1


def test_what_a_dead_process_held_is_told_once_to_all_three(
    tmp_path: Path, ask: Callable[[], None]
) -> None:
    dead = SQLiteLedger(tmp_path)
    place = Account(budget_id="all", scope="", period="", limit=NANO)
    assert dead.hold(hold((place, 400_000_000))) is None
    with watching(tmp_path, "{id: all, limit: 1 USD}") as watch:
        ask()
        wait_until(lambda: watch.of_budget("unresolved") == {("all",): 0})
        dead.close()  # it leaves without a word, as one that is killed does
        wait_until(lambda: len(watch.warned) == 1)
        (warning,) = watch.warned
        assert isinstance(warning, UnresolvedWarning)
        assert (warning.reason, warning.amount, warning.accounts) == ("process", 400_000_000, 1)
        assert watch.warnings() == {("all", "unresolved.process"): 1}
        (event,) = watch.events()
        assert event["tollspan.warning.amount"] == 400_000_000
        wait_until(lambda: watch.of_budget("unresolved") == {("all",): 0.4})
        assert watch.of_budget("held")["all",] >= 0.4


def test_leases_are_measured_while_a_process_decides_from_them(
    tmp_path: Path, ask: Callable[[], None]
) -> None:
    with watching(tmp_path, "{id: few, limit: 10000 calls}", **ALWAYS) as watch:
        ask()
        wait_until(lambda: bool(watch.of_budget("limit")))
        of_lease = ("tollspan.budget.id", "tollspan.budget.unit")
        assert watch.numbers("tollspan.lease.granted", *of_lease) == {("few", "calls"): 4}
        assert watch.numbers("tollspan.lease.remaining", *of_lease) == {("few", "calls"): 3}
        assert watch.numbers("tollspan.lease.requests") == {(): 1}
        assert watch.numbers("tollspan.lease.waits") == {(): 1}
        assert watch.numbers("tollspan.lease.lost") == {(): 0}


def test_who_has_no_lease_tells_nothing_of_leases(tmp_path: Path, ask: Callable[[], None]) -> None:
    with watching(tmp_path, "{id: few, limit: 10000 calls}") as watch:
        ask()
        wait_until(lambda: watch.of_budget("limit") == {("few",): 10_000})
        assert watch.numbers("tollspan.lease.requests") == {}
        assert watch.numbers("tollspan.settling.events") == {}


@pytest.mark.service
def test_a_lease_of_another_host_that_ended_is_told_and_events_that_wait_are_counted(
    tmp_path: Path, ask: Callable[[], None], redis_url: str
) -> None:
    short = LeaseSettings(life_seconds=1.0, drift_seconds=0.1)
    other = open_authority(redis_url, short)
    other.open_epoch()
    place = Account(budget_id="all", scope="", period="", limit=NANO)
    Holder(other).has(place, 400_000_000)  # and is killed
    with watching(
        tmp_path, "{id: all, limit: 1 USD}", TOLLSPAN_AUTHORITY=redis_url, TOLLSPAN_LEASE="life=4"
    ) as watch:
        ask()
        wait_until(lambda: len(watch.warned) == 1)
        (warning,) = watch.warned
        assert isinstance(warning, UnresolvedWarning)
        assert (warning.reason, warning.amount) == ("lease", 400_000_000)
        wait_until(lambda: watch.numbers("tollspan.settling.events") == {(): 0})
        assert watch.of_budget("unresolved") == {("all",): 0.4}
        assert watch.numbers("tollspan.lease.requests") == {(): 1}
    other.close()
