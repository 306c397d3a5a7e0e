"""What the tests of this folder stand on: tollspan in this process, spans in memory, the books."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests import harness
from tollspan.budget import Balance
from tollspan.launch import Installed, install_or_raise, read_settings, uninstall
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.usage import DecisionEvent, UsageEvent

PATIENCE_SECONDS = 5.0
PRICES = """
version: 1
tools:
  search: 0.25 USD
  sleep: 0.1
  ocr: {usd_each: {pages: 0.002}}
  priced_by_both: {usd_each: {tool_calls: 0.1, pages: 0.002}}
reserves: {pages: 50}
"""


class Stage:
    """tollspan in this process with one budget, and what it has put down."""

    def __init__(self, home: Path, installed: Installed, spans: InMemorySpanExporter) -> None:
        self.home = home
        self.installed = installed
        self._spans = spans

    def settle(self) -> None:
        """Wait until whatever was put off is done."""
        self.installed.lifecycle.worker.drain(PATIENCE_SECONDS)

    def at_once(self) -> list[UsageEvent]:
        """Return what is in the ledger this instant: nothing that was put off is waited for."""
        return harness.usage_events(self.home)

    def events(self) -> list[UsageEvent]:
        """Return what was booked, in order of arrival."""
        self.settle()
        return harness.usage_events(self.home)

    def event(self) -> UsageEvent:
        """Return the one event, and see that its hold is gone and its charge is in the account."""
        (event,) = self.events()
        balance = self.balance()
        assert self.installed.lifecycle.open_streams == {}
        assert balance.held == 0
        assert balance.posted == sum(one.posted for one in event.charges)
        assert balance.unresolved == sum(one.unresolved for one in event.charges)
        return event

    def balance(self) -> Balance:
        """Return how the budget stands."""
        return harness.balance(self.home)

    def denials(self) -> list[DecisionEvent]:
        """Return what was refused."""
        self.settle()
        self.installed.ledger.close()  # what its writer was handed is written
        return harness.denials(self.home)

    def has_events(self) -> bool:
        """Say whether anything is in the books."""
        path = self.home / LEDGER_FILE
        return path.exists() and bool(list(LedgerReader(path).events()))

    def spans(self) -> list[ReadableSpan]:
        """Return the spans that have ended, in that order."""
        self.settle()
        return list(self._spans.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        """Return the one span of a name."""
        (found,) = [span for span in self.spans() if span.name == name]
        return found


@contextmanager
def open_stage(
    folder: Path, spans: InMemorySpanExporter, *, limit: str = "1", rules: str | None = None
) -> Iterator[Stage]:
    """Set everything up for one test, and take it down."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    (home / "prices.yaml").write_text(PRICES)
    env = {"TOLLSPAN_HOME": str(home), "TOLLSPAN_PRICES": str(home / "prices.yaml")}
    if rules is not None:
        env["TOLLSPAN_CONFIG"] = str(harness.write_rules(folder / "rules", text=rules))
    harness.write_rules(home, limit=limit)
    installed = install_or_raise(read_settings(env))
    try:
        yield Stage(home, installed, spans)
    finally:
        uninstall()
