"""An ingest server in a process of its own, and what it uses of CPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tollspan.ledger.central import CentralLedger, Scope

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_LISTENS: Final = re.compile(r"http://\S+")
_SCOPES: Final[tuple[Scope, ...]] = ("ingest", "read")
TENANT: Final = "acme"


@contextmanager
def server(where: str) -> Generator[tuple[str, int]]:
    """Run `tollspan serve` over books; yield its address and its process's id."""
    command = [sys.executable, "-m", "tollspan.cli", "serve", "--port", "0", "--db", where]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        if process.stdout is None:
            raise RuntimeError("the server has no output")
        said = _LISTENS.search(process.stdout.readline())
        if said is None:
            raise RuntimeError("the server does not say where it listens")
        yield said[0], process.pid
        process.terminate()


def cpu_seconds(pid: int) -> float:
    """Return what a process has used of CPU, in user and system mode, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_mib(pid: int) -> float:
    """Return the most memory that a process has had, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not say how much memory a process has had")


def make_key(where: str, rules: str | None = None) -> str:
    """Make the tenant, with rules or without, and a key in new books; return the key."""
    ledger = CentralLedger(where)
    ledger.tenants.create(TENANT, actor="benchmark")
    if rules is not None:
        ledger.rules.put(TENANT, rules, actor="benchmark")
    _, secret = ledger.tenants.create_key(TENANT, _SCOPES, actor="benchmark")
    ledger.close()
    return secret
