"""`make fleet-demo`'s script: three programs, one budget, and books that agree."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from environment import ROOT
from tests.collector.fleet import PROGRAMS

pytestmark = pytest.mark.service

LAST = "files "


@contextmanager
def demo(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Run it as at a terminal: what starts it and what it starts hear of one Ctrl-C together."""
    process = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "scripts" / "fleet_demo.py"), *words],
        env={**os.environ, "CI": "true"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        for pid in left(process):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def left(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes of its session that still run."""
    asked = ["ps", "-o", "pid=,stat=", "-s", str(process.pid)]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    rows = [line.split() for line in found.splitlines()]
    return [int(pid) for pid, state in rows if not state.startswith("Z")]


def printed_until_it_stays(process: subprocess.Popen[str]) -> str:
    """Return what it prints until all of it waits to be looked at."""
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if line.startswith(LAST):
            return "".join(said)
    raise AssertionError("".join(said))


def amount(said: str, before: str) -> str:
    """Return the amount that comes after some words."""
    found = re.search(rf"^{before} +([\d.]+)", said, re.MULTILINE)
    assert found, said
    return found[1]


@pytest.mark.timeout(240)  # it is ten processes, on a machine that may be busy
def test_every_program_runs_into_the_one_budget_and_all_books_agree() -> None:
    with demo("--keep") as process:
        said = printed_until_it_stays(process)
        assert "ALL BOOKS AGREE" in said
        for name in PROGRAMS:
            line = re.search(rf"^{name} +(\d+) +(\d+) +([\d.]+)$", said, re.MULTILINE)
            assert line, said
            assert int(line[1]) > 0, "it made no call"
            assert int(line[2]) > 0, "it was refused nothing"
        billed = amount(said, "bills of the providers")
        assert billed == amount(said, "ingest server, /v1/usage")
        assert billed == amount(said, "ledgers of the hosts")
        limit, most = amount(said, "limit"), amount(said, "spent and held, at most")
        assert float(billed) <= float(most) <= float(limit)

        places = dict(re.findall(r"^(\S[\w ]+?) +(http\S+)$", said, re.MULTILINE))
        assert {"the page", "Jaeger", "Prometheus", "chat", "summaries"} <= places.keys()
        assert all(requests.get(url, timeout=30).ok for url in places.values())
        assert requests.get(places["Jaeger"], timeout=30).json()["data"], "no refusal is seen"

        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 0, rest
        assert left(process) == []
