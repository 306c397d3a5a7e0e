"""How many files this process may have open: many systems say 1,024, and allow more if asked."""

from __future__ import annotations

import importlib
from typing import Final

_OWN_FILES: Final = 256


def allow_files(connections: int) -> None:
    """Have the system let this process open so many connections, as far as it may be asked to.

    Where it may not, connections beyond what it allows wait until others end.

    Args:
        connections: Of clients.
    """
    try:
        resource = importlib.import_module("resource")
    except ModuleNotFoundError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OWN_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
