"""The audit log of an ingest server, as its API shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlencode

import msgspec

from tollspan.usage import rfc3339

from ._server_door import ServerDoor

_MOST_AT_ONCE: Final = 500


class AuditEntryAtServer(msgspec.Struct, frozen=True, kw_only=True):
    """One change.

    Attributes:
        number: Counts the changes of all tenants.
        at: RFC 3339.
        tenant: Whose things were changed; `*` for those of all.
        actor: Who.
        action: What: `rules.changed`, say.
        subject: Of what.
        details: What else is to be known, as JSON.
    """

    number: int
    at: str
    tenant: str
    actor: str
    action: str
    subject: str
    details: dict[str, object]


class _Page(msgspec.Struct, frozen=True):
    entries: tuple[AuditEntryAtServer, ...]
    next: str | None = None


class ServerAudit:
    """The audit log of one tenant, or of all where the key looks after all and names none.

    Args:
        door: The server.
    """

    def __init__(self, door: ServerDoor) -> None:
        self._door = door

    def newest(
        self,
        *,
        since_unix_ns: int | None = None,
        until_unix_ns: int | None = None,
        action: str | None = None,
    ) -> Iterator[AuditEntryAtServer]:
        """Yield entries, newest first, a page at a time.

        Args:
            since_unix_ns: Not older than this.
            until_unix_ns: Older than this.
            action: Only such: `key.created`, or `key` for all of keys.

        Raises:
            TollspanError: The server can't be reached, or says no.
        """
        said = {"order": "newest", "limit": str(_MOST_AT_ONCE)}
        if since_unix_ns is not None:
            said["since"] = rfc3339(since_unix_ns)
        if until_unix_ns is not None:
            said["until"] = rfc3339(until_unix_ns)
        if action is not None:
            said["action"] = action
        while True:
            page = self._door.ask_for(_Page, "GET", f"/v1/audit?{urlencode(said)}")
            yield from page.entries
            if page.next is None:
                return
            said["cursor"] = page.next
