"""Run the stages of `make test`, each within its minutes, and print how long they took.

Run as `python3 scripts/stages.py all|core|lint|prove`, with any Python 3.11; the stages run in
`.venv`, which is set up first. The whole time table is here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
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
        tier: The folder under `tests/` that a pytest stage runs; "" for other stages.
    """

    name: str
    command: tuple[str, ...]
    warm_minutes: float
    fresh_minutes: float
    tier: str = ""


def _check(name: str, *command: str, warm_minutes: float, fresh_minutes: float) -> Stage:
    return Stage(name=name, command=command, warm_minutes=warm_minutes, fresh_minutes=fresh_minutes)


def _tests(tier: str, *, warm_minutes: float, fresh_minutes: float) -> Stage:
    command = ("python", "-m", "pytest", "-q", f"tests/{tier}")
    return Stage(
        name=tier,
        command=command,
        warm_minutes=warm_minutes,
        fresh_minutes=fresh_minutes,
        tier=tier,
    )


# The table of minutes. The sums are the limits of the whole: 22 warm, 45 on a fresh machine.
SETUP: Final = _check("setup", warm_minutes=0.125, fresh_minutes=7)
CHECKS: Final = (
    _check("ruff", "ruff", "check", ".", warm_minutes=0.125, fresh_minutes=0.5),
    _check("format", "ruff", "format", "--check", ".", warm_minutes=0.125, fresh_minutes=0.5),
    _check("mypy", "mypy", warm_minutes=0.5, fresh_minutes=3),
    _check("pyright", "pyright", warm_minutes=0.25, fresh_minutes=2.5),
    _check(
        "layers", "lint-imports", "--no-cache", "--no-logo", warm_minutes=0.125, fresh_minutes=0.5
    ),
)
# Installs what tests start; they start it themselves.
SERVICES: Final = _check(
    "services", "python", "scripts/services.py", warm_minutes=0.125, fresh_minutes=1.5
)
TESTS: Final = (
    _tests("unit", warm_minutes=1, fresh_minutes=2),
    _tests("contract", warm_minutes=2.75, fresh_minutes=4),
    _tests("simulation", warm_minutes=1, fresh_minutes=2.5),
    _tests("integration", warm_minutes=8.125, fresh_minutes=10.5),
    _tests("e2e", warm_minutes=7.5, fresh_minutes=9.5),
    _tests("typing", warm_minutes=0.25, fresh_minutes=1),
)
TOTAL_WARM_MINUTES: Final = 22.0
TOTAL_FRESH_MINUTES: Final = 45.0
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
            return (*CHECKS, SERVICES, *(_deselect(stage, "slow") for stage in TESTS))
        case "core":
            return tuple(_deselect(stage, "slow or service") for stage in TESTS)
        case "lint":
            return CHECKS
        case "prove":
            return (SERVICES, PROVE)
        case _:
            raise SystemExit("usage: stages.py all|core|lint|prove")


def _deselect(stage: Stage, markers: str) -> Stage:
    command = (*stage.command, "-m", f"not ({markers})")
    return Stage(
        name=stage.name,
        command=command,
        warm_minutes=stage.warm_minutes,
        fresh_minutes=stage.fresh_minutes,
        tier=stage.tier,
    )


def _has_tests(tier: str) -> bool:
    return not tier or any((ROOT / "tests" / tier).rglob("test_*.py"))


def run(stage: Stage, *, limit_seconds: float, reports: Path) -> Row:
    """Run one stage, its output straight to ours; end it, children included, at its limit."""
    print(f"\n=== {stage.name}: {' '.join(stage.command)}", flush=True)
    if not _has_tests(stage.tier):
        return Row(name=stage.name, seconds=0, limit_seconds=limit_seconds, result="no tests yet")
    command = [str(VENV / "bin" / stage.command[0]), *stage.command[1:]]
    if "pytest" in stage.command:
        command.append(f"--junitxml={reports / f'{stage.name}.xml'}")
    environ = clean_environ()
    environ["PATH"] = f"{VENV / 'bin'}{os.pathsep}{environ.get('PATH', os.defpath)}"
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, env=environ, start_new_session=True)
    result: Result
    try:
        code = process.wait(timeout=limit_seconds)
        result = "ok" if code in {0, _nothing_selected(stage)} else "FAILED"
    except subprocess.TimeoutExpired:
        result = "TOO LONG"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    seconds = time.monotonic() - started
    return Row(name=stage.name, seconds=seconds, limit_seconds=limit_seconds, result=result)


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
    first, is_fresh = _setup()
    rows = [first]
    with TemporaryDirectory(prefix="tollspan-stages-") as folder:
        reports = Path(folder)
        for stage in stages:
            limit_seconds = _limit_seconds(stage, is_fresh=is_fresh)
            rows.append(run(stage, limit_seconds=limit_seconds, reports=reports))
        passed, failed, skipped = count(sorted(reports.glob("*.xml")))
        # A run of pytest that was ended, or that broke, leaves no report: that is a failure too.
        failed += sum(
            row.result in {"FAILED", "TOO LONG"} and not (reports / f"{row.name}.xml").is_file()
            for row, stage in zip(rows[1:], stages, strict=True)
            if "pytest" in stage.command
        )
    if plan == "all":
        rows.append(_total(rows, is_fresh=is_fresh))
    _print_table(rows)
    if plan != "lint":
        print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 0 if all(row.result in {"ok", "no tests yet"} for row in rows) else 1


def _total(rows: Sequence[Row], *, is_fresh: bool) -> Row:
    seconds = sum(row.seconds for row in rows)
    limit_seconds = 60 * (TOTAL_FRESH_MINUTES if is_fresh else TOTAL_WARM_MINUTES)
    result: Result = "ok" if seconds <= limit_seconds else "TOO LONG"
    return Row(name="total", seconds=seconds, limit_seconds=limit_seconds, result=result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
