"""Run the stages of `make test`, each within its minutes, and print how long they took.

Run as `python3 scripts/stages.py all|core|lint|prove`, with any Python 3.11; the stages run in
`.venv`, which is set up first. The whole time table is here. Stages that bear company run two at a
time; tests that measure time, or fill the machine, are marked `alone` and run when nothing else
does.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal
from xml.etree import ElementTree as ET

from environment import ROOT, VENV, clean_environ, ensure

Result = Literal["ok", "FAILED", "TOO LONG", "no tests yet"]
NO_TESTS_COLLECTED: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One command of `.venv/bin`, and the minutes it may take.

    Attributes:
        name: One word, for people.
        command: Arguments; the first is a program of `.venv/bin`.
        warm_minutes: Limit when `.venv` and the tools' caches are there.
        fresh_minutes: Limit on a fresh machine.
        tier: The folder or file under `tests/` that a pytest stage runs; "" for other stages.
        mark: The mark that its tests have; those of other pytest stages lack `alone`.
        is_alone: Nothing runs beside it.
    """

    name: str
    command: tuple[str, ...]
    warm_minutes: float
    fresh_minutes: float
    tier: str = ""
    mark: str = "not alone"
    is_alone: bool = False


def _check(
    name: str, *command: str, warm_minutes: float, fresh_minutes: float, is_alone: bool = False
) -> Stage:
    return Stage(
        name=name,
        command=command,
        warm_minutes=warm_minutes,
        fresh_minutes=fresh_minutes,
        is_alone=is_alone,
    )


def _tests(
    name: str, *, warm_minutes: float, fresh_minutes: float, tier: str = "", but: str = ""
) -> Stage:
    """Run a tier, `name` where none is given, without one of its files."""
    tier = tier or name
    command = ("python", "-m", "pytest", "-q", f"tests/{tier}")
    return Stage(
        name=name,
        command=(*command, f"--ignore=tests/{but}") if but else command,
        warm_minutes=warm_minutes,
        fresh_minutes=fresh_minutes,
        tier=tier,
    )


# The table of minutes. Those that bear company are started in this order, two at a time.
SETUP: Final = _check("setup", warm_minutes=0.125, fresh_minutes=7, is_alone=True)
CHECKS: Final = (
    _check("ruff", "ruff", "check", ".", warm_minutes=0.25, fresh_minutes=0.5),
    _check("format", "ruff", "format", "--check", ".", warm_minutes=0.25, fresh_minutes=0.5),
    _check(
        "layers", "lint-imports", "--no-cache", "--no-logo", warm_minutes=0.25, fresh_minutes=0.5
    ),
    _check("mypy", "mypy", warm_minutes=1.5, fresh_minutes=4),
    _check("pyright", "pyright", warm_minutes=1.5, fresh_minutes=3),
)
# Installs what tests start; they start it themselves.
SERVICES: Final = _check(
    *("services", "python", "scripts/services.py"),
    warm_minutes=0.125,
    fresh_minutes=1.5,
    is_alone=True,
)
ALONE_TIERS: Final = ("integration", "e2e")
OLDEST: Final = "integration/test_oldest_sdks.py"
TESTS: Final = (
    _tests("e2e", warm_minutes=17, fresh_minutes=18),
    _tests("integration", but=OLDEST, warm_minutes=19, fresh_minutes=20),
    _tests("contract", warm_minutes=15, fresh_minutes=16),
    _tests("oldest", tier=OLDEST, warm_minutes=6, fresh_minutes=8),
    _tests("simulation", warm_minutes=8, fresh_minutes=9),
    # On a fresh machine the Collector and Jaeger are built first.
    _tests("collector", warm_minutes=7, fresh_minutes=23),
    _tests("unit", warm_minutes=4, fresh_minutes=5),
    _tests("typing", warm_minutes=0.5, fresh_minutes=1.5),
    Stage(
        name="alone",
        command=("python", "-m", "pytest", "-q", *(f"tests/{tier}" for tier in ALONE_TIERS)),
        warm_minutes=13,
        fresh_minutes=14,
        tier=ALONE_TIERS[0],
        mark="alone",
        is_alone=True,
    ),
)
LANES: Final = 2
# Of the limits: machines differ, the same one too, by twice. What a run takes is less: 24 and 35
# minutes on one that has nothing else to do.
TOTAL_WARM_MINUTES: Final = 60.0
TOTAL_FRESH_MINUTES: Final = 85.0
# `make prove` is not in the table: it takes hours by design.
PROVE: Final = _check(
    "prove",
    *("python", "-m", "pytest", "-m", "slow", "--timeout=0", "tests"),
    warm_minutes=600,
    fresh_minutes=600,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What became of one stage."""

    name: str
    seconds: float
    limit_seconds: float
    result: Result


def table(plan: str) -> tuple[Stage, ...]:
    """Return the stages of a plan, with the tests that it leaves out deselected.

    Raises:
        SystemExit: There is no such plan.
    """
    match plan:
        case "all":
            return (SERVICES, *CHECKS, *(_deselect(stage, "slow") for stage in TESTS))
        case "core":
            return tuple(_deselect(stage, "slow or service") for stage in TESTS)
        case "lint":
            return CHECKS
        case "prove":
            return (SERVICES, PROVE)
        case _:
            raise SystemExit("usage: stages.py all|core|lint|prove")


def _deselect(stage: Stage, markers: str) -> Stage:
    command = (*stage.command, "-m", f"{stage.mark} and not ({markers})")
    return replace(stage, command=command)


def _has_tests(tier: str) -> bool:
    place = ROOT / "tests" / tier
    return not tier or place.is_file() or any(place.rglob("test_*.py"))


def groups(stages: Iterable[Stage]) -> list[tuple[Stage, ...]]:
    """Put together which stages may run at the same time, in order."""
    found: list[tuple[Stage, ...]] = []
    for is_alone, members in itertools.groupby(stages, key=attrgetter("is_alone")):
        several = tuple(members)
        found += [(stage,) for stage in several] if is_alone else [several]
    return found


class Runner:
    """Runs stages, and ends them all when it must.

    Args:
        reports: A folder for pytest's reports, and for what stages say that have company.
        is_fresh: Which of their limits hold.
    """

    def __init__(self, reports: Path, *, is_fresh: bool) -> None:
        self._reports = reports
        self._is_fresh = is_fresh
        self._running: set[subprocess.Popen[bytes]] = set()
        self._printing = threading.Lock()

    def run(self, stages: Iterable[Stage]) -> list[Row]:
        """Run stages, those that bear company side by side; return their rows in order."""
        return [row for group in groups(stages) for row in self._run_group(group)]

    def _run_group(self, group: tuple[Stage, ...]) -> list[Row]:
        if len(group) == 1:
            return [self.run_one(group[0])]
        pool = ThreadPoolExecutor(min(LANES, os.cpu_count() or 1))
        try:
            return list(pool.map(self._run_beside, group))
        except BaseException:  # an interrupt: they are in sessions of their own, and don't hear it
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(self._running):
                _end(process)
            raise
        finally:
            pool.shutdown()

    def _run_beside(self, stage: Stage) -> Row:
        """Run a stage that has company; what it says comes out in one piece, at its end."""
        said = self._reports / f"{stage.name}.txt"
        with said.open("wb") as output:
            row = self.run_one(stage, output=output.fileno())
        with self._printing:
            print(f"\n=== {stage.name}: {' '.join(stage.command)}", flush=True)
            sys.stdout.write(said.read_text("utf-8", "replace"))
            print(f"--- {stage.name}: {row.result} after {row.seconds:.1f} s", flush=True)
        return row

    def run_one(self, stage: Stage, *, output: int | None = None) -> Row:
        """Run one stage, its output straight to ours or to a file; end it at its limit."""
        limit_seconds = _limit_seconds(stage, is_fresh=self._is_fresh)
        if output is None:
            print(f"\n=== {stage.name}: {' '.join(stage.command)}", flush=True)
        if not _has_tests(stage.tier):
            return Row(
                name=stage.name, seconds=0, limit_seconds=limit_seconds, result="no tests yet"
            )
        started = time.monotonic()
        process = subprocess.Popen(
            self._command(stage),
            cwd=ROOT,
            env=_environ(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self._running.add(process)
        result: Result
        try:
            code = process.wait(timeout=limit_seconds)
            result = "ok" if code in {0, _nothing_selected(stage)} else "FAILED"
        except subprocess.TimeoutExpired:
            result = "TOO LONG"
        finally:
            _end(process)
            self._running.discard(process)
        seconds = time.monotonic() - started
        return Row(name=stage.name, seconds=seconds, limit_seconds=limit_seconds, result=result)

    def _command(self, stage: Stage) -> list[str]:
        command = [str(VENV / "bin" / stage.command[0]), *stage.command[1:]]
        if "pytest" in stage.command:
            command.append(f"--junitxml={self._reports / f'{stage.name}.xml'}")
        return command


def _environ() -> dict[str, str]:
    environ = clean_environ()
    environ["PATH"] = f"{VENV / 'bin'}{os.pathsep}{environ.get('PATH', os.defpath)}"
    return environ


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a stage, with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _nothing_selected(stage: Stage) -> int:
    """Return the exit code that also means success: a tier of which nothing was selected."""
    return NO_TESTS_COLLECTED if stage.tier else 0


def _print_table(rows: Sequence[Row]) -> None:
    print(f"\n{'stage':<13}{'seconds':>9}{'limit':>8}  result")
    for row in rows:
        print(f"{row.name:<13}{row.seconds:>9.1f}{row.limit_seconds:>8.0f}  {row.result}")


def count(reports: Sequence[Path]) -> tuple[int, int, int]:
    """Add up pytest's reports.

    Returns:
        Tests passed, failed (errors too) and skipped.
    """
    passed = failed = skipped = 0
    for report in reports:
        for suite in ET.parse(report).getroot().iter("testsuite"):
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            left_out = int(suite.get("skipped", 0))
            failed += bad
            skipped += left_out
            passed += int(suite.get("tests", 0)) - bad - left_out
    return passed, failed, skipped


def _limit_seconds(stage: Stage, *, is_fresh: bool) -> float:
    return 60 * (stage.fresh_minutes if is_fresh else stage.warm_minutes)


def _setup() -> tuple[Row, bool]:
    started = time.monotonic()
    is_fresh = ensure("dev")
    seconds = time.monotonic() - started
    limit_seconds = _limit_seconds(SETUP, is_fresh=is_fresh)
    result: Result = "ok" if seconds <= limit_seconds else "TOO LONG"
    row = Row(name=SETUP.name, seconds=seconds, limit_seconds=limit_seconds, result=result)
    return row, is_fresh


def main(plan: str) -> int:
    """Run a plan to its end, whatever fails on the way.

    Returns:
        The exit code: 0 when every stage, and the whole, is ok and in time.
    """
    stages = table(plan)
    started = time.monotonic()
    first, is_fresh = _setup()
    with TemporaryDirectory(prefix="tollspan-stages-") as folder:
        reports = Path(folder)
        rows = [first, *Runner(reports, is_fresh=is_fresh).run(stages)]
        passed, failed, skipped = count(sorted(reports.glob("*.xml")))
        # A run of pytest that was ended, or that broke, leaves no report: that is a failure too.
        failed += sum(
            row.result in {"FAILED", "TOO LONG"} and not (reports / f"{row.name}.xml").is_file()
            for row, stage in zip(rows[1:], stages, strict=True)
            if "pytest" in stage.command
        )
    if plan == "all":
        rows.append(_total(time.monotonic() - started, is_fresh=is_fresh))
    _print_table(rows)
    if plan != "lint":
        print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if all(row.result in {"ok", "no tests yet"} for row in rows) else 1


def _total(seconds: float, *, is_fresh: bool) -> Row:
    limit_seconds = 60 * (TOTAL_FRESH_MINUTES if is_fresh else TOTAL_WARM_MINUTES)
    result: Result = "ok" if seconds <= limit_seconds else "TOO LONG"
    return Row(name="total", seconds=seconds, limit_seconds=limit_seconds, result=result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
