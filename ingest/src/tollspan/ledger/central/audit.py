"""The audit log: who changed what, when; written in the transaction of the change itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    delete,
    insert,
    or_,
    select,
)

from tollspan.usage import Adjustment, Charge, Fact

from .opening import Database
from .tables import AUDIT

EVERY_TENANT: Final = "*"
"""Whose things are those of all."""
PRICES_CHANGED: Final = "prices.changed"
"""The server prices by another book; it concerns every tenant."""
AUTHORITY_OPENED: Final = "authority.opened"
"""A tenant's authority was opened: one that ever was is not opened by itself again."""
_KEPT: Final = (PRICES_CHANGED, AUTHORITY_OPENED)
"""What the server itself goes by: few, and kept for ever."""
_FORGOTTEN_AT_ONCE: Final = 1_000

MOST_CHARGES_NOTED: Final = 20
"""So many of a posting's charges are in its entry."""
_LONGEST_REASON: Final = 500
_LONGEST_NAME: Final = 200


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


def note_adjustments(
    connection: Connection, tenant: str, at_unix_ns: int, facts: Iterable[Fact]
) -> None:
    """Write an entry for each posting that an operator of a host made, as his host tells it."""
    for fact in facts:
        if isinstance(fact, Adjustment):
            note(
                connection, tenant, at_unix_ns, _name(fact.author), f"budget.{fact.action}",
                fact.id, reason=fact.reason[:_LONGEST_REASON], **charges_noted(fact.charges),
            )  # fmt: skip


def charges_noted(charges: Sequence[Charge]) -> dict[str, object]:
    """Say what is posted where, as it is noted: the first of them, and how many there are."""
    return {
        "count": len(charges),
        "charges": [
            {
                "budget": one.budget_id,
                "scope": one.scope,
                "period": one.period,
                "unit": "nanousd" if one.unit == "usd" else one.unit,
                "posted": str(one.posted),
                **({"unresolved": str(one.unresolved)} if one.unresolved else {}),
            }
            for one in charges[:MOST_CHARGES_NOTED]
        ],
    }


def _name(said: str) -> str:
    """Return a name that any database takes, and that the server gives to nobody."""
    shown = "".join(one if one.isprintable() else "?" for one in said[:_LONGEST_NAME])
    if shown == "server" or shown.startswith("key "):
        return f"somebody named {shown}"
    return shown or "somebody"


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

    def note_once(
        self, tenant: str, actor: str, action: str, subject: str, **details: object
    ) -> None:
        """Write an entry unless there is one of that action and subject: it may be told again.

        Raises:
            LedgerUnavailableError: The database does not take it.
        """
        query = _of_action(tenant, action).where(AUDIT.c.subject == subject)
        with self._database.writing() as connection:
            if connection.scalar(query.limit(1)) is None:
                note(connection, tenant, self._clock(), actor, action, subject, **details)

    def note_change(self, tenant: str, actor: str, action: str, subject: str) -> None:
        """Write an entry unless the last one of that action is of the same subject.

        Raises:
            LedgerUnavailableError: The database does not take it.
        """
        last = _of_action(tenant, action, AUDIT.c.subject).order_by(AUDIT.c.number.desc()).limit(1)
        with self._database.writing() as connection:
            before = connection.scalar(last)
            if before != subject:
                note(connection, tenant, self._clock(), actor, action, subject, before=before)

    def has(self, tenant: str, action: str) -> bool:
        """Say whether a tenant's things were ever changed so.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        with self._database.reading() as connection:
            return connection.scalar(_of_action(tenant, action).limit(1)) is not None

    def details(
        self, tenant: str, action: str, subjects: Sequence[str], *, since_unix_ns: int
    ) -> dict[str, dict[str, object]]:
        """Return what was noted of such changes of a tenant's things since then: by subject.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        query = _of_action(tenant, action, AUDIT.c.subject).add_columns(AUDIT.c.details)
        query = query.where(AUDIT.c.at_ns >= since_unix_ns, AUDIT.c.subject.in_(subjects))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return {
            subject: msgspec.json.decode(text, type=dict[str, object]) for subject, text in rows
        }

    def forget(self, before_unix_ns: int, most: int = _FORGOTTEN_AT_ONCE) -> int:
        """Forget the oldest entries from before a time, so many at most; 0 when there are none.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns = AUDIT.c
        query = select(columns.number, columns.at_ns).where(columns.action.not_in(_KEPT))
        with self._database.writing() as connection:
            oldest = connection.execute(query.order_by(columns.number).limit(most)).all()
            gone = [number for number, at_ns in oldest if at_ns < before_unix_ns]
            if gone:
                connection.execute(delete(AUDIT).where(columns.number.in_(gone)))
        return len(gone)

    def entries(
        self,
        tenant: str | None = None,
        *,
        after: int | None = None,
        since_unix_ns: int | None = None,
        until_unix_ns: int | None = None,
        action: str | None = None,
        is_newest_first: bool = False,
        most: int = 100,
    ) -> list[AuditEntry]:
        """Return entries of a tenant, with those that concern all tenants, or of everything.

        Args:
            tenant: Whose; None for all.
            after: The number of the last one that is known, in the order asked for.
            since_unix_ns: Not older than this.
            until_unix_ns: Older than this.
            action: Only such: `key.created`, or `key` for all of keys.
            is_newest_first: Else oldest first.
            most: How many.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        number = AUDIT.c.number
        wanted: list[ColumnElement[bool]] = []
        if tenant is not None:
            of_all = and_(AUDIT.c.tenant == EVERY_TENANT, AUDIT.c.action == PRICES_CHANGED)
            wanted.append(or_(AUDIT.c.tenant == tenant, of_all))
        if after is not None:
            wanted.append(number < after if is_newest_first else number > after)
        if since_unix_ns is not None:
            wanted.append(AUDIT.c.at_ns >= since_unix_ns)
        if until_unix_ns is not None:
            wanted.append(AUDIT.c.at_ns < until_unix_ns)
        if action is not None:
            name = AUDIT.c.action
            wanted.append(or_(name == action, name.startswith(f"{action}.", autoescape=True)))
        query = select(AUDIT).where(*wanted)
        query = query.order_by(number.desc() if is_newest_first else number).limit(most)
        with self._database.reading() as connection:
            return [_entry(row) for row in connection.execute(query).mappings()]


def _of_action(tenant: str, action: str, column: Column[Any] = AUDIT.c.number) -> Select[Any]:
    return select(column).where(AUDIT.c.tenant == tenant, AUDIT.c.action == action)


def _entry(row: RowMapping) -> AuditEntry:
    return AuditEntry(
        number=row["number"],
        tenant=row["tenant"],
        at_unix_ns=row["at_ns"],
        actor=row["actor"],
        action=row["action"],
        subject=row["subject"],
        details=msgspec.json.decode(row["details"], type=dict[str, object]),
    )
