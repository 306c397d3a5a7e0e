"""What each family adds to a call: bytecodes, function entries, and CPU time.

Every family runs in a process of its own (`python -m benchmarks.overhead FAMILY`), so that wrappers
do not stack; this module is both the child and the one who starts it.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec

from benchmarks.cputime import Cpu

ROOT = Path(__file__).parent.parent
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
What = Literal["bytecodes", "cpu"]


class Added(msgspec.Struct, kw_only=True):
    """What a family adds to one shape of call.

    Attributes:
        bare_bytecodes, bytecodes: Instructions of the bare call, and those added to it.
        entries: Function entries added.
        parts: The added instructions by part; tollspan only.
        is_steady: Both numbers came thrice in a row.
        cpu: CPU time, where it was measured.
    """

    bare_bytecodes: int = 0
    bytecodes: int = 0
    entries: int = 0
    parts: dict[str, int] = {}  # noqa: RUF012 - msgspec copies it
    is_steady: bool = True
    cpu: Cpu | None = None


class FamilyResult(msgspec.Struct, kw_only=True):
    """One family's figures by shape."""

    family: str
    shapes: dict[str, Added]


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How long CPU times are measured."""

    rounds: int = 9
    calls: int = 60
    streams: int = 12


def run(family: str, shapes: tuple[str, ...] = COUNTED, *, cpu: bool) -> FamilyResult:
    """Measure one family in a process of its own.

    Raises:
        subprocess.CalledProcessError: It failed; what it wrote to stderr was passed through.
    """
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.overhead", family]
    command += ["--shapes", ",".join(shapes), *(["--cpu"] if cpu else [])]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=600)
    return msgspec.json.decode(done.stdout, type=FamilyResult)


def measure(name: str, shapes: tuple[str, ...], *, cpu: bool, effort: Effort) -> FamilyResult:
    """Measure one family in this process, which is spoilt for others afterwards."""
    from benchmarks.client import LONG_STREAM, Clients, request  # noqa: PLC0415 - child only
    from benchmarks.families import BY_NAME, Running  # noqa: PLC0415

    requests = {
        "sync": request(),
        "async": request(),
        "stream": request(stream=True),
        "async_stream": request(stream=True),
        "stream_asked": request(stream=True, stream_options={"include_usage": True}),
        "stream_long": request(stream=True, extra_headers=LONG_STREAM),
        "async_stream_long": request(stream=True, extra_headers=LONG_STREAM),
        "messages_20": request(messages=20),
        "tools_10": request(tools=10),
        "memo_miss": request(),
    }
    bare = Clients(is_bare=True)
    with TemporaryDirectory() as folder:
        running = Running(BY_NAME[name], Path(folder))
        child = _Child(bare, Clients(is_bare=False), running, effort)
        try:
            found: dict[str, Added] = {}
            for shape in shapes:
                if shape == "memo_miss" and running.installed is None:
                    continue
                added = found[shape] = child.count(shape, requests[shape])
                if cpu and shape in TIMED:
                    added.cpu = child.time(shape, requests[shape])
        finally:
            running.close()
            asyncio.set_event_loop(None)
    return FamilyResult(family=name, shapes=found)


class _Child:
    """Measures shapes in this process."""

    def __init__(self, bare, wrapped, running, effort) -> None:  # type: ignore[no-untyped-def]  # see measure
        self._bare = bare
        self._wrapped = wrapped
        self._running = running
        self._effort = effort
        self._loop = asyncio.new_event_loop()
