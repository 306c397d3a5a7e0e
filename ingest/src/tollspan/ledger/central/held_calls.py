"""Calls that asked over HTTP before they were made: what was answered, and how far they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import RowMapping, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from .call_tables import HELD_CALLS
from .opening import Database

HeldState = Literal["denied", "held", "ending", "ended", "cancelling", "cancelled"]
"""`ending` and `cancelling`: it was said how the call went, and the authority may not know yet."""
UNFINISHED: Final[tuple[HeldState, ...]] = ("ending", "cancelling")


class HeldCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call, with what others need to end it. What the bytes say is nobody's business here.

    Attributes:
        id: The call's, of its tenant.
        state: How far it is.
        asked: A digest of the question: another one under the same id is another call's.
        answer: What the question was answered.
        kept: What its end needs; None where it was denied.
        told: A digest of how it was said to have gone; None before.
        event: Its event; None before, and where none is stored.
        ended: What that was answered; None before.
    """

    id: str
    state: HeldState
    asked: bytes
    answer: bytes
    kept: bytes | None = None
    told: bytes | None = None
    event: bytes | None = None
    ended: bytes | None = None


_FIELDS: Final = tuple([HELD_CALLS.c[name] for name in HeldCall.__struct_fields__])


class HeldCalls:
    """The calls of all tenants.

    Args:
        database: Where they are kept.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    def find(self, tenant: str, call_id: str) -> HeldCall | None:
        """Find a call.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        query = select(*_FIELDS).where(HELD_CALLS.c.tenant == tenant, HELD_CALLS.c.id == call_id)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _call(row)

    def add(self, tenant: str, call: HeldCall) -> bool:
        """Keep a new call; False where there is one of its id.

        Raises:
            LedgerUnavailableError: It may not be kept.
        """
        make = postgresql.insert if self._database.is_postgresql else sqlite.insert
        values = {**msgspec.structs.asdict(call), "tenant": tenant, "changed_ns": self._clock()}
        new = make(HELD_CALLS).values(values).on_conflict_do_nothing()
        with self._database.writing() as connection:
            return connection.scalar(new.returning(HELD_CALLS.c.id)) is not None

    def move(
        self,
        tenant: str,
        call_id: str,
        was: Sequence[HeldState],
        to: HeldState,
        **values: bytes | None,
    ) -> bool:
        """Note how far a call is; False where it is in none of the states that it was thought in.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns = HELD_CALLS.c
        moving = update(HELD_CALLS).where(
            columns.tenant == tenant, columns.id == call_id, columns.state.in_(was)
        )
        changes: dict[str, Any] = {**values, "state": to, "changed_ns": self._clock()}
        with self._database.writing() as connection:
            return connection.execute(moving.values(changes)).rowcount == 1

    def unfinished(self, before_unix_ns: int, most: int) -> list[tuple[str, HeldCall]]:
        """Return calls that nobody has brought to their end since then, each with its tenant.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns = HELD_CALLS.c
        query = select(columns.tenant, *_FIELDS).where(
            columns.state.in_(UNFINISHED), columns.changed_ns <= before_unix_ns
        )
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(columns.changed_ns).limit(most)).mappings()
            return [(row["tenant"], _call(row)) for row in rows]

    def forget(self, before_unix_ns: int, most: int) -> int:
        """Forget calls of which nothing was heard since then; 0 when all are forgotten.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns = HELD_CALLS.c
        old = (
            select(columns.tenant, columns.id)
            .where(columns.changed_ns < before_unix_ns, columns.state.not_in(UNFINISHED))
            .limit(most)
        )
        with self._database.writing() as connection:
            found = connection.execute(old).all()
            for tenant, call_id in found:
                gone = delete(HELD_CALLS).where(columns.tenant == tenant, columns.id == call_id)
                connection.execute(gone)
        return len(found)


def _call(row: RowMapping) -> HeldCall:
    return HeldCall(**{name: row[name] for name in HeldCall.__struct_fields__})
