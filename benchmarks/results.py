"""The figures of all benchmarks in one value, kept in `results.json`."""

from __future__ import annotations

import os
import platform
import sqlite3
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks import contention, gate, memory, overhead, startup
from benchmarks.contention import ContentionResult
from benchmarks.gate import GateResult
from benchmarks.memory import MemoryResult
from benchmarks.overhead import FamilyResult
from benchmarks.startup import StartupResult

NAMES = ("overhead", "gate", "contention", "startup", "memory")
PACKAGES = (
    "tollspan",
    "openai",
    "httpx2",
    "opentelemetry-sdk",
    "wrapt",
    "msgspec",
    "opentelemetry-instrumentation-genai-openai",
    "opentelemetry-instrumentation-openai",
    "openinference-instrumentation-openai",
)
_FILE = Path(__file__).parent / "results.json"


class Environment(msgspec.Struct, kw_only=True):
    """What the figures were measured with; nothing that names a machine."""

    date: str
    python: str
    sqlite: str
    system: str
    cores: int
    load: float
    versions: dict[str, str]


class Results(msgspec.Struct, kw_only=True):
    """The figures; None where a benchmark has not run."""

    environment: Environment | None = None
    overhead: list[FamilyResult] = []
    gate: GateResult | None = None
    contention: ContentionResult | None = None
    startup: StartupResult | None = None
    memory: MemoryResult | None = None


def run_one(name: str, results: Results, *, calls: int | None = None) -> None:
    """Run one benchmark and put its figures in."""
    if name == "overhead":
        results.overhead = overhead.measure_all()
    elif name == "gate":
        results.gate = gate.measure()
    elif name == "contention":
        results.contention = contention.measure()
    elif name == "startup":
        results.startup = startup.measure()
    elif name == "memory":
        results.memory = memory.measure(calls or memory.CALLS)
    else:
        raise ValueError(f"no benchmark {name!r}")


def now() -> Environment:
    """Describe what runs here."""
    return Environment(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        load=os.getloadavg()[2],
        versions={name: version(name) for name in PACKAGES},
    )


def measured_with(one: Environment) -> str:
    """Say with what figures were measured, in sentences of a page."""
    return (
        f"{one.date}. Python {one.python}, SQLite {one.sqlite}, {one.system}, {one.cores} cores. "
        f"The load average over 15 minutes was {one.load:.1f}."
    )


def load() -> Results:
    """Return the figures of the last run; none when there was none."""
    if not _FILE.exists():
        return Results()
    return msgspec.json.decode(_FILE.read_bytes(), type=Results)


def save(results: Results) -> None:
    """Keep the figures."""
    _FILE.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
