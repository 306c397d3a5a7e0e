"""The audit log: who changed what, when; written in the transaction of the change itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from sqlalchemy import Connection, insert, select

from .opening import Database
from .tables import AUDIT


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change.

    Attributes:
        number: Counts all entries; a cursor.
        tenant: Whose things were changed; `*` for those of all.
        at_unix_ns: When.
        actor: Who: `key 1f2e3d4c`, or a person at the command line.
        action: What: `key.created`, `rules.changed`, ….
        subject: Of what: its id.
        details: What else is to be known; never a secret.
    """

    number: int
    tenant: str
    at_unix_ns: int
    actor: str
    action: str
    subject: str
    details: dict[str, object]


def note(
    connection: Connection,
    tenant: str,
    at_unix_ns: int,
    actor: str,
    action: str,
    subject: str,
    **details: object,
) -> None:
    """Write an entry, in the transaction of what it is about."""
    connection.execute(
        insert(AUDIT).values(
            tenant=tenant,
            at_ns=at_unix_ns,
            actor=actor,
            action=action,
            subject=subject,
            details=msgspec.json.encode(details).decode(),
        )
    )


class Audit:
    """The audit log: reads it, and writes what happens outside the database.

    Args:
        database: Where it is.
        clock: Unix nanoseconds.
    """

    def __init__(self, database: Database, clock: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._clock = clock

    def note(self, tenant: str, actor: str, action: str, subject: str, **details: object) -> None:
        """Write an entry about something that was done elsewhere.

        Raises:
            LedgerUnavailableError: The database does not take it.
        """
        with self._database.writing() as connection:
            note(connection, tenant, self._clock(), actor, action, subject, **details)

    def has(self, tenant: str, action: str) -> bool:
        """Say whether a tenant's things were ever changed so.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        query = select(AUDIT.c.number).where(AUDIT.c.tenant == tenant, AUDIT.c.action == action)
        with self._database.reading() as connection:
            return connection.scalar(query.limit(1)) is not None

    def entries(
        self, tenant: str | None = None, *, after: int = 0, most: int = 100
    ) -> list[AuditEntry]:
        """Return entries of a tenant, or of all, oldest first, beyond a number."""
        query = select(AUDIT).where(AUDIT.c.number > after).order_by(AUDIT.c.number).limit(most)
        if tenant is not None:
            query = query.where(AUDIT.c.tenant == tenant)
        with self._database.reading() as connection:
            return [
                AuditEntry(
                    number=row["number"],
                    tenant=row["tenant"],
                    at_unix_ns=row["at_ns"],
                    actor=row["actor"],
                    action=row["action"],
                    subject=row["subject"],
                    details=msgspec.json.decode(row["details"], type=dict[str, object]),
                )
                for row in connection.execute(query).mappings()
            ]
