"""Checks the folder that the ledger lives in."""

from __future__ import annotations

import os
from pathlib import Path

from tollspan.usage import LedgerUnavailableError

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs",
        "nfs", "nfs4", "smb3", "smbfs",
    }
)  # fmt: skip


def check_home(home: Path) -> None:
    """Make the folder and see that a ledger can live there.

    Raises:
        LedgerUnavailableError: It can't be made or written, or is on a network file system, whose
            locks SQLite can't trust.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnavailableError(f"{home} can't be made: {error}; set TOLLSPAN_HOME") from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise LedgerUnavailableError(f"{home} can't be written; set TOLLSPAN_HOME")
    kind = file_system(home)
    if kind in NETWORK_FILE_SYSTEMS:
        raise LedgerUnavailableError(
            f"{home} is on a network file system ({kind}); set TOLLSPAN_HOME to a local disk"
        )


def file_system(folder: Path) -> str:
    """Name the file system of a folder; `""` where the system does not say (not Linux)."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    resolved = f"{folder.resolve()}/"
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ").rstrip("/") + "/"
        if resolved.startswith(point) and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind
