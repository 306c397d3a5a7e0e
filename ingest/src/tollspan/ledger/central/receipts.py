"""What came in, counted by the minute and the hour, and who sent it: for people who look after it.

These are no books: a server that is killed loses what it counted in its last seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    Table,
    Text,
    and_,
    delete,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from .opening import Database
from .tables import METADATA

Grain = Literal["minute", "hour"]
GRAINS_NS: Final[Mapping[Grain, int]] = {"minute": 60 * 10**9, "hour": 3_600 * 10**9}
MOST_SENDERS: Final = 1_000
"""Of a tenant; those that were heard of longest ago are forgotten first."""
_MINUTES_KEPT_NS: Final = 86_400 * 10**9
_HOURS_KEPT_NS: Final = 400 * 86_400 * 10**9

RECEIPTS: Final = Table(
    "receipts",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("grain", Text, primary_key=True),
    Column("start", Integer, primary_key=True, autoincrement=False),
    Column("what", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""`start` counts minutes or hours since the epoch, of the time at which things came."""
Index("receipts_by_age", RECEIPTS.c.grain, RECEIPTS.c.start)
SENDERS: Final = Table(
    "senders",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("service", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("received_ns", BigInteger, nullable=False),
    Column("call_ns", BigInteger, nullable=False),
    Column("behind_ns", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("waiting", BigInteger),
    Column("refused", BigInteger),
)
"""Who sends; `""` is who does not say."""


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends events.

    Attributes:
        key_id: The public part of the key that they come with.
        service, environment: As the events say; empty where they don't.
        received_unix_ns: When something new came last.
        call_unix_ns: When the newest call began that ever came.
        behind_ns: How long after its end the newest call of the last batch came: what waits at the
            sender is at least as old.
        events: How many were new, since it was first heard of.
        waiting: How many events were left in the outbox of the host that sent last; None where
            hosts don't tell.
        refused: How many dead letters that one has.
    """

    key_id: str
    service: str
    environment: str
    received_unix_ns: int
    call_unix_ns: int
    behind_ns: int
    events: int
    waiting: int | None = None
    refused: int | None = None


class Receipts:
    """Counts of what came in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        counts: Mapping[tuple[str, int, str], int],
        senders: Sequence[tuple[str, Sender]],
    ) -> None:
        """Add to what was counted, in one transaction.

        Args:
            counts: By tenant, minute since the epoch, and what it is.
            senders: Tenants, and what is new of who sends for them; `events` is added.

        Raises:
            LedgerUnavailableError: The database does not answer; nothing was added.
        """
        rows: dict[tuple[str, str, int, str], int] = {}
        for (tenant, minute, what), amount in counts.items():
            for place in ((tenant, "minute", minute, what), (tenant, "hour", minute // 60, what)):
                rows[place] = rows.get(place, 0) + amount
        if not rows and not senders:
            return
        with self._database.writing() as connection:
            self._count(connection, rows)
            self._keep(connection, senders)

    def sums(self, tenant: str, since_unix_ns: int, until_unix_ns: int) -> dict[str, int]:
        """Return what came within some whole hours, by what it is.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns, hour = RECEIPTS.c, GRAINS_NS["hour"]
        found = (
            select(columns.what, func.sum(columns.amount))
            .where(columns.tenant == tenant, columns.grain == "hour")
            .where(
                columns.start >= since_unix_ns // hour, columns.start < -(-until_unix_ns // hour)
            )
            .group_by(columns.what)
        )
        with self._database.reading() as connection:
            return {what: int(amount) for what, amount in connection.execute(found)}

    def by_minute(self, tenant: str, since_unix_ns: int) -> dict[int, dict[str, int]]:
        """Return what came since a minute: minute since the epoch → what it is → how much.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns = RECEIPTS.c
        found = select(columns.start, columns.what, columns.amount).where(
            columns.tenant == tenant,
            columns.grain == "minute",
            columns.start >= since_unix_ns // GRAINS_NS["minute"],
        )
        minutes: dict[int, dict[str, int]] = {}
        with self._database.reading() as connection:
            for start, what, amount in connection.execute(found):
                minutes.setdefault(start, {})[what] = amount
        return minutes

    def senders(self, tenant: str) -> list[Sender]:
        """Return who sends for a tenant, those first that were heard of longest ago.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns = SENDERS.c
        found = select(SENDERS).where(columns.tenant == tenant)
        with self._database.reading() as connection:
            rows = connection.execute(found.order_by(columns.received_ns)).mappings()
            return [
                Sender(
                    key_id=row["key_id"], service=row["service"], environment=row["environment"],
                    received_unix_ns=row["received_ns"], call_unix_ns=row["call_ns"],
                    behind_ns=row["behind_ns"], events=row["events"],
                    waiting=row["waiting"], refused=row["refused"],
                )
                for row in rows
            ]  # fmt: skip

    def forget(self, now_unix_ns: int) -> int:
        """Forget minutes after a day, and hours after 400; return how many rows those were.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns = RECEIPTS.c
        kept: tuple[tuple[Grain, int], ...] = (
            ("minute", _MINUTES_KEPT_NS), ("hour", _HOURS_KEPT_NS),
        )  # fmt: skip
        gone = 0
        with self._database.writing() as connection:
            for grain, length in kept:
                before = (now_unix_ns - length) // GRAINS_NS[grain]
                old = delete(RECEIPTS).where(columns.grain == grain, columns.start < before)
                gone += connection.execute(old).rowcount
        return gone

    def _count(self, connection: Connection, rows: Mapping[tuple[str, str, int, str], int]) -> None:
        if not rows:
            return
        make = postgresql.insert if self._database.is_postgresql else sqlite.insert
        new = make(RECEIPTS)
        adding = new.on_conflict_do_update(
            index_elements=["tenant", "grain", "start", "what"],
            set_={"amount": RECEIPTS.c.amount + new.excluded.amount},
        )
        names = ("tenant", "grain", "start", "what", "amount")
        connection.execute(
            adding,
            [dict(zip(names, (*place, rows[place]), strict=True)) for place in sorted(rows)],
        )

    def _keep(self, connection: Connection, senders: Sequence[tuple[str, Sender]]) -> None:
        if not senders:
            return
        make = postgresql.insert if self._database.is_postgresql else sqlite.insert
        # The greater of two numbers has another name in each database.
        greatest = func.greatest if self._database.is_postgresql else func.max
        new, columns = make(SENDERS), SENDERS.c
        keeping = new.on_conflict_do_update(
            index_elements=["tenant", "key_id", "service", "environment"],
            set_={
                "received_ns": greatest(columns.received_ns, new.excluded.received_ns),
                "call_ns": greatest(columns.call_ns, new.excluded.call_ns),
                "behind_ns": new.excluded.behind_ns,
                "events": columns.events + new.excluded.events,
                "waiting": func.coalesce(new.excluded.waiting, columns.waiting),
                "refused": func.coalesce(new.excluded.refused, columns.refused),
            },
        )
        in_order = sorted(senders, key=_sender_place)  # the same for all: nobody waits in a ring
        connection.execute(keeping, [_row(tenant, one) for tenant, one in in_order])
        _forget_most(connection, {tenant for tenant, _ in senders})


def _sender_place(one: tuple[str, Sender]) -> tuple[str, str, str, str]:
    tenant, sender = one
    return tenant, sender.key_id, sender.service, sender.environment


def _row(tenant: str, sender: Sender) -> dict[str, object]:
    return {
        "tenant": tenant, "key_id": sender.key_id, "service": sender.service,
        "environment": sender.environment, "received_ns": sender.received_unix_ns,
        "call_ns": sender.call_unix_ns, "behind_ns": sender.behind_ns, "events": sender.events,
        "waiting": sender.waiting, "refused": sender.refused,
    }  # fmt: skip


def _forget_most(connection: Connection, tenants: Iterable[str]) -> None:
    """Keep the newest of tenants that have more senders than are kept."""
    columns = SENDERS.c
    for tenant in sorted(tenants):
        oldest = connection.scalar(
            select(columns.received_ns)
            .where(columns.tenant == tenant)
            .order_by(columns.received_ns.desc())
            .offset(MOST_SENDERS)
            .limit(1)
        )
        if oldest is not None:
            gone = and_(columns.tenant == tenant, columns.received_ns <= oldest)
            connection.execute(delete(SENDERS).where(gone))
