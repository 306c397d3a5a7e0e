"""The ways to start a program with tollspan, and what a run of `programs/gated.py` shows."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from tests import harness
from tests.e2e.programs import gated
from tests.fakes import FakeOpenAI, Reply

BIN = Path(sys.executable).parent
RUN = [str(BIN / "tollspan"), "run"]
OTEL = [str(BIN / "opentelemetry-instrument")]
APP = [sys.executable, str(Path(gated.__file__))]
# Others' instrumentors stay out, so that the spans are ours: all families share these names.
ALONE = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": harness.OTHERS}
TRACES_ONLY = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}

# Each call costs 32,400 nano-USD, and may cost 371,750: the 8th does not fit.
LIMIT, COST, CALLS, ADMITTED = "0.000580", 32_400, 12, 7
EXPECTED = [
    (gated.KINDS[n % 4], "ok" if n < ADMITTED else "BudgetExceededError") for n in range(CALLS)
]


class Report(msgspec.Struct, kw_only=True):
    """What the program says of itself.

    Attributes:
        outcomes: Kind and outcome of each call.
        spans: Those that its own providers' memory has.
        hooks: How many wrappers of ours stand around the SDK's funnel.
        stderr: What it said on standard error.
    """

    outcomes: list[tuple[str, str]]
    spans: list[dict[str, object]]
    hooks: int
    stderr: str = ""


def provider() -> FakeOpenAI:
    """Return a provider whose answers all cost the same."""
    return FakeOpenAI(Reply(output_tokens=50))


def launched(command: list[str], home: Path, fake: FakeOpenAI, **env: str) -> Report:
    """Run a command to its end; see the gate shut in time, each call counted once, hooked once."""
    harness.write_rules(home, limit=LIMIT)
    done = harness.run(command, harness.environment(home, fake.base_url, **env))
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(done.stdout.splitlines()[-1], type=Report)
    report.stderr = done.stderr
    assert report.outcomes == EXPECTED, done.stderr
    assert fake.hits == len(harness.usage_events(home)) == ADMITTED
    assert len(harness.denials(home)) == CALLS - ADMITTED
    balance = harness.balance(home)
    assert balance.posted == fake.billed_nanousd == ADMITTED * COST
    assert balance.held == balance.unresolved == 0
    assert report.hooks == 1
    return report


def write_distro(folder: Path) -> str:
    """Install a distribution that configures the SDK as vendors' do; return its search path.

    `opentelemetry-distro` is the same entry point; it is not in our environment, since whatever
    else is started by `opentelemetry-instrument` there would have a global provider too.
    """
    information = folder / "vendor_distro-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: vendor-distro\n")
    (information / "entry_points.txt").write_text(
        "[opentelemetry_configurator]\n"
        "vendor = opentelemetry.sdk._configuration:_OTelSDKConfigurator\n"
    )
    return str(folder)
