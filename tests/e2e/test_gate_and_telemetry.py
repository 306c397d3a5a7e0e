"""Law 6: whatever telemetry does, the same calls are denied, and every call is one event."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests import harness
from tests.e2e.programs import gated
from tests.fakes import FakeOpenAI, Reply

BIN = Path(sys.executable).parent
APP = [sys.executable, str(Path(gated.__file__))]
RUN = [str(BIN / "tollspan"), "run"]
OTEL = [str(BIN / "opentelemetry-instrument")]
FOREIGN = tuple(gated.FOREIGN)

OUTPUT_TOKENS = 50
# Each call costs 32,400 nano-USD, and may cost 371,750: the 8th does not fit.
LIMIT = "0.000580"
ADMITTED, CALLS = 7, 12
EXPECTED = [
    (gated.KINDS[n % 4], "ok" if n < ADMITTED else "BudgetExceededError") for n in range(CALLS)
]


class Span(msgspec.Struct, kw_only=True):
    """A span of the program, as it reports it."""

    scope: str
    name: str
    is_error: bool
    trace_id: str
    span_id: str
    attributes: dict[str, str | int | float | bool | list[str]]


class Report(msgspec.Struct, kw_only=True):
    """What the program reports."""

    outcomes: list[tuple[str, str]]
    spans: list[Span]
    threads: list[str]
    stderr: str = ""

    def of_scope(self, scope: str) -> list[Span]:
        """Return the spans of one instrumentation scope."""
        return [span for span in self.spans if span.scope == scope]


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    """Serve answers of a fixed size."""
    with FakeOpenAI(Reply(output_tokens=OUTPUT_TOKENS)) as server:
        yield server


def gated_run(
    fake: FakeOpenAI, home: Path, command: list[str], **env: str
) -> tuple[Report, subprocess.CompletedProcess[str]]:
    """Run a command to its end, and check that the gate held and the books are right."""
    harness.write_rules(home, limit=LIMIT)
    done = harness.run(command, harness.environment(home, fake.base_url, **env))
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(done.stdout.splitlines()[-1], type=Report)
    report.stderr = done.stderr
    assert report.outcomes == EXPECTED, done.stderr
    assert fake.hits == ADMITTED
    events = harness.usage_events(home)
    assert len(events) == ADMITTED
    assert {event.usage.status for event in events if event.usage} == {"reported"}
    assert sum(event.cost.amount_nanousd or 0 for event in events) == fake.billed_nanousd
    assert len(harness.denials(home)) == CALLS - ADMITTED
    balance = harness.balance(home)
    assert balance.posted_nanousd == fake.billed_nanousd
    assert balance.held_nanousd == balance.unresolved_nanousd == 0
    return report, done
