"""The clocks that tests move under programs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.clocks import Clocks, can_be_moved

SAYS_THE_TIME = """
import sys, time
for _ in sys.stdin:
    print(time.time_ns(), time.monotonic_ns(), flush=True)
"""
HOUR_NS = 3_600_000_000_000


@pytest.mark.skipif(not can_be_moved(), reason="needs Linux and a C compiler")
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_program_hears_that_its_clock_was_moved_and_time_goes_on(
    tmp_path: Path, hours: int
) -> None:
    clock = Clocks(tmp_path).make("clock")
    with subprocess.Popen(
        [sys.executable, "-c", SAYS_THE_TIME],
        env={**os.environ, **clock.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        found: list[tuple[int, int]] = []
        for seconds in (0, hours * 3600, 0):
            clock.move(seconds)
            program.stdin.write("now\n")
            program.stdin.flush()
            now, monotonic = map(int, program.stdout.readline().split())
            found.append((now - time.time_ns(), monotonic))
        program.stdin.close()
    differences = [round(difference / HOUR_NS) for difference, _ in found]
    assert differences == [0, hours, 0]
    steps = [monotonic for _, monotonic in found]
    assert steps == sorted(steps)
    assert steps[-1] - steps[0] < HOUR_NS
