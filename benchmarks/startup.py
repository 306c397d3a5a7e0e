"""CPU time that importing and installing tollspan costs a process, beyond what it loads anyway."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.families import rules

RUNS = 10
_OTEL = """
import opentelemetry.trace, opentelemetry.metrics, opentelemetry.instrumentation.utils, wrapt
import opentelemetry.sdk.trace.export, opentelemetry.sdk.metrics.export
import opentelemetry.instrumentation.instrumentor
"""
_MEASURE = """
import json, sys, time
{before}
start = time.process_time_ns()
import tollspan.launch
imported = time.process_time_ns()
tollspan.launch.install_or_raise()
installed = time.process_time_ns()
print(json.dumps([(imported - start) / 1e6, (installed - imported) / 1e6]))
"""


class Start(msgspec.Struct, kw_only=True):
    """CPU milliseconds of a process, medians of `RUNS`."""

    import_ms: float
    install_ms: float
    lowest_ms: float
    highest_ms: float

    @property
    def total_ms(self) -> float:
        """Both."""
        return self.import_ms + self.install_ms


class StartupResult(msgspec.Struct, kw_only=True):
    """What a start costs.

    Attributes:
        after_otel: In a process that has loaded OpenTelemetry's API and SDK, and nothing else.
        after_openai: In one that has loaded the OpenAI SDK too, as a program that uses it has.
    """

    after_otel: Start
    after_openai: Start


def measure() -> StartupResult:
    """Start processes, one after the other."""
    return StartupResult(
        after_otel=_measure(_OTEL), after_openai=_measure(_OTEL + "import openai\nopenai.OpenAI\n")
    )


def _measure(before: str) -> Start:
    found = [_start(before) for _ in range(RUNS + 1)][1:]  # the first one compiles
    totals = [sum(pair) for pair in found]
    return Start(
        import_ms=statistics.median(pair[0] for pair in found),
        install_ms=statistics.median(pair[1] for pair in found),
        lowest_ms=min(totals),
        highest_ms=max(totals),
    )


def _start(before: str) -> tuple[float, float]:
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir(mode=0o700)
        (home / "tollspan.yaml").write_text(rules(5))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _MEASURE.format(before=before)],
            env={"TOLLSPAN_HOME": str(home), "PYTHONPATH": ":".join(sys.path), "HOME": folder},
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    imported, installed = json.loads(done.stdout)
    return imported, installed
