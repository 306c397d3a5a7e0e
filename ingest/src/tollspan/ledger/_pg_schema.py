"""Where an authority is in a PostgreSQL database: in the schema `tollspan`, or a tenant's own."""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import Final

from ._pg_functions import OPENING_LOCK

_LONGEST: Final = 63
"""Bytes of a name; PostgreSQL cuts longer ones silently."""
_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)


class Schema:
    """Names the schema in statements that are written for `tollspan`.

    Args:
        tenant: Whose; None for `tollspan` itself.
    """

    def __init__(self, tenant: str | None) -> None:
        self.name = "tollspan" if tenant is None else _name(tenant)
        self._lock = OPENING_LOCK
        if tenant is not None:
            number = zlib.crc32(self.name.encode()) & 0x7FFFFFFF
            self._lock = f"{OPENING_LOCK.partition(',')[0]}, {number}"

    def own(self, statements: str) -> str:
        """Return statements with this schema, and its own lock, in the place of `tollspan`."""
        if self.name == "tollspan":
            return statements
        quoted = f'"{self.name}"'
        return (
            statements.replace("tollspan.", f"{quoted}.")
            .replace("'tollspan'", f"'{quoted}'")
            .replace("SCHEMA tollspan", f"SCHEMA {quoted}")
            .replace(OPENING_LOCK, self._lock)
        )


def _name(tenant: str) -> str:
    """Name a tenant's schema: no two tenants have the same, and none has `tollspan`."""
    assert _TENANT.fullmatch(tenant), "names of tenants are checked where they are made"
    name = f"tollspan:{tenant}"
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.blake2b(tenant.encode(), digest_size=12).hexdigest()
    return f"tollspan:{tenant[:20]}:{digest}"  # no tenant's name has a colon
