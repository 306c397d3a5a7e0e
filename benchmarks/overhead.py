"""What each family adds to a call: bytecodes, function entries, and CPU time.

Every family runs in a process of its own (`overhead_child`), so that wrappers do not stack.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from benchmarks.cputime import Cpu

ROOT = Path(__file__).parent.parent
FAMILY_NAMES = (
    "control",
    "tollspan_all_1",
    "tollspan_all_5",
    "tollspan_core_1",
    "tollspan_core_5",
    "official_traces",
    "official",
    "openllmetry",
    "openinference",
)
COUNTED = (
    "sync",
    "async",
    "stream",
    "async_stream",
    "stream_asked",
    "stream_long",
    "async_stream_long",
    "messages_20",
    "tools_10",
    "memo_miss",
)
TIMED = ("sync", "async", "stream", "async_stream")


class Added(msgspec.Struct, kw_only=True):
    """What a family adds to one shape of call.

    Attributes:
        bare_bytecodes, bytecodes: Instructions of the bare call, and those added to it.
        entries: Function entries added.
        parts: The added instructions by part; tollspan only.
        is_steady: Both numbers came thrice in a row.
        cpu: CPU time, where it was measured.
    """

    bare_bytecodes: int
    bytecodes: int
    entries: int
    parts: dict[str, int] = {}
    is_steady: bool = True
    cpu: Cpu | None = None


class FamilyResult(msgspec.Struct, kw_only=True):
    """One family's figures by shape."""

    family: str
    title: str
    shapes: dict[str, Added]


def measure(family: str, shapes: tuple[str, ...] = COUNTED, *, cpu: bool) -> FamilyResult:
    """Measure one family in a process of its own.

    Raises:
        subprocess.CalledProcessError: It failed; what it wrote to stderr was passed through.
    """
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.overhead_child", family]
    command += ["--shapes", ",".join(shapes), *(["--cpu"] if cpu else [])]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=600)
    return msgspec.json.decode(done.stdout, type=FamilyResult)


def measure_all() -> list[FamilyResult]:
    """Measure every family, one after the other."""
    found: list[FamilyResult] = []
    for family in FAMILY_NAMES:
        print(f"  {family}", file=sys.stderr, flush=True)
        found.append(measure(family, cpu=True))
    return found
