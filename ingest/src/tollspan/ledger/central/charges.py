"""What calls charge to budgets that no host charges: kept with their events until it is done.

Spans are told of after their calls, and a host may have an authority of its own. What their calls
cost is written down here in the transaction that stores their events, and posted soon after by
whoever holds the money; what takes an event back is as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, select, tuple_, update

from tollspan.usage import REVERSAL_SUFFIX, Charge, UsageEvent, decode_entry

from .bulk import insert_rows
from .call_tables import CHARGES_DUE
from .opening import Database
from .rows import Place
from .tables import EVENTS

OWN_EVENT_NS: Final = 60 * 10**9
"""The span of a call that tollspan has gated waits so long: its event comes, and is charged."""
_ONCE: Final = "ON CONFLICT (tenant, name) DO NOTHING"


class DueCharge(msgspec.Struct, frozen=True, kw_only=True):
    """What one event charges.

    Attributes:
        tenant: Whose budgets.
        name: By which the authority counts it once.
        place: Where the event is: when its call began, nanoseconds since the epoch, and its id.
        charges: What it charges.
        lease_id: The lease from which the call was held somewhere; None for none. Where the
            authority knows it, the host settles, and nothing is charged.
    """

    tenant: str
    name: str
    place: Place
    charges: tuple[Charge, ...]
    lease_id: str | None = None


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(DueCharge).decode


class DueCharges:
    """What is still to be charged, of all tenants.

    Args:
        database: Where it is kept.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    def has_some(self) -> bool:
        """Say whether something is to be charged now.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        query = select(CHARGES_DUE.c.name).where(CHARGES_DUE.c.due_ns <= self._clock()).limit(1)
        with self._database.reading() as connection:
            return connection.scalar(query) is not None

    def begin(self, most: int) -> list[DueCharge]:
        """Return what is to be charged now, oldest first: from here on it may have been.

        Who is stopped in between leaves it to whoever begins next, and it is charged once.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns = CHARGES_DUE.c
        oldest = (
            select(columns.tenant, columns.name)
            .where(columns.due_ns <= self._clock())
            .order_by(columns.due_ns, columns.name)
            .limit(most)
            .with_for_update()
        )
        beginning = (
            update(CHARGES_DUE)
            .where(tuple_(columns.tenant, columns.name).in_(oldest))
            .values(is_begun=1)
            .returning(columns.due_ns, columns.body)
        )
        with self._database.writing() as connection:
            found = connection.execute(beginning).all()
        in_order = sorted(found, key=lambda row: row.due_ns)
        return [_decode(bytes(row.body)) for row in in_order]

    def begin_all(self, tenant: str) -> None:
        """Have all that is to be charged of a tenant taken for charged, where it is taken back.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        of_tenant = update(CHARGES_DUE).where(CHARGES_DUE.c.tenant == tenant)
        with self._database.writing() as connection:
            connection.execute(of_tenant.values(is_begun=1))

    def event(self, tenant: str, place: Place) -> UsageEvent | None:
        """Return an event as it was stored; None where it is kept no more.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        columns = EVENTS.c
        at, own = place
        query = select(columns.body).where(
            columns.tenant == tenant, columns.time_ns == at, columns.id == own
        )
        with self._database.reading() as connection:
            body = connection.scalar(query)
        event = None if body is None else decode_entry(bytes(body))
        return event if isinstance(event, UsageEvent) else None

    def done(self, charged: Sequence[DueCharge]) -> None:
        """Forget what was charged.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        names: dict[str, list[str]] = {}
        for one in charged:
            names.setdefault(one.tenant, []).append(one.name)
        columns = CHARGES_DUE.c
        with self._database.writing() as connection:
            for tenant, some in names.items():
                gone = delete(CHARGES_DUE).where(columns.tenant == tenant, columns.name.in_(some))
                connection.execute(gone)


def put_charges(connection: Connection, due: Iterable[tuple[DueCharge, int]]) -> None:
    """Write down what is to be charged, each from a time on, nanoseconds since the epoch."""
    rows = [
        {
            "tenant": one.tenant,
            "name": one.name,
            "due_ns": due_ns,
            "is_begun": 0,
            "body": _encode(one),
        }
        for one, due_ns in due
        if one.charges
    ]
    insert_rows(connection, CHARGES_DUE, rows, _ONCE)


def take_back_charges(
    connection: Connection, tenant: str, events: Iterable[UsageEvent], now_ns: int
) -> None:
    """Have what spans' events charged taken back, or not charged where that was not begun.

    Args:
        connection: Of the transaction that takes the events back.
        tenant: Whose they are.
        events: As they were stored.
        now_ns: When this is.
    """
    columns = CHARGES_DUE.c
    back: list[tuple[DueCharge, int]] = []
    for event in events:
        if not event.charges:
            continue
        own = event.call.id
        unbegun = delete(CHARGES_DUE).where(
            columns.tenant == tenant, columns.name == own, columns.is_begun == 0
        )
        if not connection.execute(unbegun).rowcount:
            back.append((charges_back(tenant, event), now_ns))
    put_charges(connection, back)


def due_charge(tenant: str, event: UsageEvent, charges: tuple[Charge, ...]) -> DueCharge:
    """Return what an event charges, by its own id."""
    own = event.call.id
    return DueCharge(
        tenant=tenant,
        name=own,
        place=(event.call.started_at_unix_ns, own),
        charges=charges,
        lease_id=event.lease_id,
    )


def charges_back(tenant: str, event: UsageEvent) -> DueCharge:
    """Return what takes back what an event charged."""
    own = event.call.id + REVERSAL_SUFFIX
    return DueCharge(
        tenant=tenant,
        name=own,
        place=(event.call.started_at_unix_ns, own),
        charges=tuple(map(_negative, event.charges)),
    )


def _negative(charge: Charge) -> Charge:
    return msgspec.structs.replace(charge, posted=-charge.posted, overrun=0)
