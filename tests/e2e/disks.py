"""Disks that fail: full, or kept locked by somebody else."""

from __future__ import annotations

import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tollspan.ledger import LEDGER_FILE


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def full_disk_of(pid: int) -> Iterator[None]:
    """Let a process write into no file, as on a disk that is full; on Linux."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[None]:
    """Have a folder be a disk of its own, until the block ends; root alone may, on Linux."""
    folder.mkdir(parents=True, exist_ok=True)
    size = ("-o", f"size={mebibytes}m")
    subprocess.run(["mount", "-t", "tmpfs", *size, "tollspan-test", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def may_have_small_disks() -> bool:
    """Say whether `small_disk` can be had here."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        asked = ["mount", "-t", "tmpfs", "tollspan-test", folder]
        if subprocess.run(asked, capture_output=True, check=False).returncode != 0:
            return False  # a container may forbid it to root, too
        subprocess.run(["umount", "--lazy", folder], check=True)
    return True


def fill(folder: Path) -> Path:
    """Take all the room that is left on a folder's disk; return the file that has it."""
    path = folder / "takes-all-the-room"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    return path


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Keep the ledger's file locked, as a person's own SQL session could."""
    with contextlib.closing(sqlite3.connect(home / LEDGER_FILE)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
