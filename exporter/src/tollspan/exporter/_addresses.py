"""Addresses of rules and servers: where copies are kept, how they are shown and noted."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit


def copy_of(url: str, home: Path) -> Path:
    """Return where a host keeps its copy of the rules at an address."""
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    return home / "rules" / f"{name}.yaml"


def shown(url: str) -> str:
    """Return an address without what may be a secret in it."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def destination_of(endpoint: str) -> str:
    """Return the name by which a ledger notes what was sent to a server."""
    return shown(endpoint.rstrip("/"))


def rules_of(endpoint: str) -> str:
    """Return where an ingest server has the rules of whoever asks."""
    return f"{endpoint.rstrip('/')}/v1/rules"
