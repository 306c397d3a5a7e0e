"""The outbox of webhooks: put down with what causes it, sent in order, tried again, kept.

One sender at a time has a target: it claims the target's row for a while. Whoever lost its claim
notes nothing, so two that think they have one can tell something twice, but never out of order
twice over. Clocks of senders should agree within seconds.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final, Literal, cast, get_args

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    delete,
    exists,
    func,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from .audit import note
from .notices import Notice, NoticeKind
from .opening import Database
from .webhook_tables import DELIVERIES, WEBHOOKS

DeliveryState = Literal["waiting", "delivered", "dead"]
DELIVERY_STATES: Final[tuple[DeliveryState, ...]] = get_args(DeliveryState)
DEAD_AFTER_SECONDS: Final = 86_400
"""How long something is tried before it is given up."""
_NS: Final = 10**9
_LONGEST_PROBLEM: Final = 200


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a target is told.

    Attributes:
        id: Its own, however often it is sent.
        number: Its place in the target's order.
        kind: What it tells.
        state: `waiting`, `delivered`, or `dead`: given up.
        created_unix_ns: When it was put down.
        attempts: How often it was tried.
        status: What the target answered last; None for nothing.
        problem: Why the last attempt failed; empty if it did not.
        done_unix_ns: When it was delivered or given up.
        body: What is sent.
    """

    id: str
    number: int
    kind: NoticeKind
    state: DeliveryState
    created_unix_ns: int
    attempts: int = 0
    status: int | None = None
    problem: str = ""
    done_unix_ns: int | None = None
    body: bytes


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent next to a target that is claimed.

    Attributes:
        webhook: The target's id.
        url: Where.
        secrets: By which it is signed: one, or two while they are changed.
        failures: How many attempts failed before, in a row.
        gives_up_at_unix_ns: An attempt that fails then or later is the last.
        delivery: What.
    """

    webhook: str
    url: str
    secrets: tuple[str, ...]
    failures: int
    gives_up_at_unix_ns: int
    delivery: Delivery


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """How much waits: deliveries, and since when the oldest does; None without one.

    `dead` is how many were given up and are still kept, so that they can be sent again.
    """

    waiting: int
    oldest_unix_ns: int | None
    dead: int = 0


def put_down(
    connection: Connection,
    tenant: str,
    notices: Sequence[Notice],
    now_ns: int,
    *,
    is_postgresql: bool,
) -> None:
    """Put notices into the outbox of each target that wants them, in the transaction of the cause.

    Args:
        connection: Of that transaction.
        tenant: Whose targets.
        notices: In their order; what was told before is passed over.
        now_ns: The time.
        is_postgresql: It is PostgreSQL.
    """
    if not notices:
        return
    query = select(WEBHOOKS.c.id, WEBHOOKS.c.wants).where(
        WEBHOOKS.c.tenant == tenant, WEBHOOKS.c.is_active == 1
    )
    make = postgresql.insert if is_postgresql else sqlite.insert
    for webhook, wants in connection.execute(query.order_by(WEBHOOKS.c.id)).all():
        wanted = {one.about: one for one in notices if one.kind in wants.split()}
        if not wanted:
            continue
        last = connection.scalar(
            update(WEBHOOKS)
            .where(WEBHOOKS.c.id == webhook)
            .values(last_number=WEBHOOKS.c.last_number + len(wanted))
            .returning(WEBHOOKS.c.last_number)
        )
        if last is None:
            continue  # it was deleted meanwhile
        first = last - len(wanted) + 1
        rows = [
            _row(webhook, number, tenant, one, now_ns)
            for number, one in enumerate(wanted.values(), first)
        ]
        connection.execute(make(DELIVERIES).on_conflict_do_nothing(), rows)


def _row(webhook: str, number: int, tenant: str, notice: Notice, now_ns: int) -> dict[str, object]:
    delivery_id = f"whd_{secrets.token_hex(16)}"
    return {
        "webhook": webhook,
        "number": number,
        "id": delivery_id,
        "kind": notice.kind,
        "about": hashlib.blake2b(notice.about.encode("utf-8", "replace"), digest_size=16).digest(),
        "body": notice.body(delivery_id, tenant),
        "state": "waiting",
        "created_ns": now_ns,
        "until_ns": now_ns + DEAD_AFTER_SECONDS * _NS,
        "attempts": 0,
        "problem": "",
    }


class Deliveries:
    """The outbox of all targets.

    Args:
        database: Where it is kept.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._clock = clock

    def put_down(self, tenant: str, notices: Sequence[Notice]) -> None:
        """Put notices into the outbox, in a transaction of their own."""
        with self._database.writing() as connection:
            put_down(
                connection, tenant, notices, self._clock(),
                is_postgresql=self._database.is_postgresql,
            )  # fmt: skip

    # -- for senders --

    def due(self, most: int = 100) -> list[tuple[str, str]]:
        """Return targets that something waits for and nobody has: ids, and whose they are."""
        now = self._clock()
        waits = exists().where(
            DELIVERIES.c.webhook == WEBHOOKS.c.id, DELIVERIES.c.state == "waiting"
        )
        query = select(WEBHOOKS.c.id, WEBHOOKS.c.tenant).where(
            WEBHOOKS.c.is_active == 1,
            WEBHOOKS.c.claimed_until_ns <= now,
            WEBHOOKS.c.next_try_ns <= now,
            waits,
        )
        with self._database.reading() as connection:
            found = connection.execute(query.order_by(WEBHOOKS.c.next_try_ns).limit(most))
            return [(webhook, tenant) for webhook, tenant in found]

    def claim(self, webhook: str, sender: str, *, seconds: float) -> bool:
        """Take a target that nobody has and that is due, or keep it for longer; else False."""
        now = self._clock()
        with self._database.writing() as connection:
            done = connection.execute(
                update(WEBHOOKS)
                .where(
                    WEBHOOKS.c.id == webhook,
                    WEBHOOKS.c.is_active == 1,
                    WEBHOOKS.c.next_try_ns <= now,
                    (WEBHOOKS.c.claimed_until_ns <= now) | (WEBHOOKS.c.claimed_by == sender),
                )
                .values(claimed_by=sender, claimed_until_ns=now + int(seconds * _NS))
            )
            return bool(done.rowcount)

    def release(self, webhook: str, sender: str) -> None:
        """Give a target back."""
        with self._database.writing() as connection:
            connection.execute(
                update(WEBHOOKS)
                .where(WEBHOOKS.c.id == webhook, WEBHOOKS.c.claimed_by == sender)
                .values(claimed_by=None, claimed_until_ns=0)
            )

    def errand(self, webhook: str) -> Errand | None:
        """Return what is to be sent to a target next; None for nothing."""
        columns = DELIVERIES.c
        first = (
            select(DELIVERIES)
            .where(columns.webhook == webhook, columns.state == "waiting")
            .order_by(columns.number)
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(first).mappings().first()
            target = connection.execute(select(WEBHOOKS).where(WEBHOOKS.c.id == webhook))
            said = target.mappings().first()
        if row is None or said is None:
            return None
        keeps_old = said["old_secret"] is not None and self._clock() < (said["old_until_ns"] or 0)
        return Errand(
            webhook=webhook,
            url=said["url"],
            secrets=(said["secret"], said["old_secret"]) if keeps_old else (said["secret"],),
            failures=said["failures"],
            gives_up_at_unix_ns=row["until_ns"],
            delivery=_delivery(row),
        )

    def succeed(self, errand: Errand, sender: str, *, status: int) -> bool:
        """Note that something was delivered; False where another sender has the target now."""
        now = self._clock()
        return self._note(
            errand, sender, {"failures": 0},
            {"state": "delivered", "status": status, "problem": "", "done_ns": now},
        )  # fmt: skip

    def fail(
        self, errand: Errand, sender: str, *, status: int | None, problem: str, pause_seconds: float
    ) -> DeliveryState | None:
        """Note an attempt that failed, and when the next one may be.

        Returns:
            `waiting`, or `dead` where its time is over; None where another sender has the target.
        """
        now = self._clock()
        later = now + int(pause_seconds * _NS)
        fields: dict[str, object] = {"status": status, "problem": problem[:_LONGEST_PROBLEM]}
        state: DeliveryState = "waiting"
        if now >= errand.gives_up_at_unix_ns:
            state = "dead"
            fields |= {"state": state, "done_ns": now}
        counted: dict[str, object] = {"failures": WEBHOOKS.c.failures + 1, "next_try_ns": later}
        return state if self._note(errand, sender, counted, fields) else None

    def _note(
        self, errand: Errand, sender: str, of_target: dict[str, object], fields: dict[str, object]
    ) -> bool:
        with self._database.writing() as connection:
            held = connection.execute(
                update(WEBHOOKS)
                .where(WEBHOOKS.c.id == errand.webhook, WEBHOOKS.c.claimed_by == sender)
                .values(**of_target)
            )
            if not held.rowcount:
                return False
            connection.execute(
                update(DELIVERIES)
                .where(
                    DELIVERIES.c.webhook == errand.webhook,
                    DELIVERIES.c.number == errand.delivery.number,
                )
                .values(**fields, attempts=DELIVERIES.c.attempts + 1)
            )
            return True

    # -- for people --

    def page(
        self, webhook: str, *, state: DeliveryState | None = None, before: int | None = None,
        most: int = 100,
    ) -> list[Delivery]:  # fmt: skip
        """Return what a target was told or is to be told, newest first, below a number."""
        query = select(DELIVERIES).where(DELIVERIES.c.webhook == webhook)
        if state is not None:
            query = query.where(DELIVERIES.c.state == state)
        if before is not None:
            query = query.where(DELIVERIES.c.number < before)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(DELIVERIES.c.number.desc()).limit(most))
            return [_delivery(row) for row in rows.mappings()]

    def replay(
        self, tenant: str, webhook: str, delivery_ids: Collection[str] | None, *, actor: str
    ) -> int:
        """Have deliveries sent again, in their order, with their ids: these, or all dead ones.

        Returns:
            How many wait again.
        """
        now = self._clock()
        which = (
            DELIVERIES.c.state == "dead"
            if delivery_ids is None
            else (DELIVERIES.c.id.in_(delivery_ids)) & (DELIVERIES.c.state != "waiting")
        )
        with self._database.writing() as connection:
            is_theirs = exists().where(WEBHOOKS.c.id == webhook, WEBHOOKS.c.tenant == tenant)
            count = connection.execute(
                update(DELIVERIES)
                .where(DELIVERIES.c.webhook == webhook, which, is_theirs)
                .values(state="waiting", until_ns=now + DEAD_AFTER_SECONDS * _NS, done_ns=None)
            ).rowcount
            if count:
                connection.execute(
                    update(WEBHOOKS).where(WEBHOOKS.c.id == webhook).values(next_try_ns=0)
                )
                note(connection, tenant, now, actor, "webhook.replayed", webhook, count=count)
            return count

    def forget(self, before_unix_ns: int) -> int:
        """Forget what was delivered or given up before a time; return how many that were."""
        gone = delete(DELIVERIES).where(DELIVERIES.c.done_ns < before_unix_ns)
        with self._database.writing() as connection:
            return connection.execute(gone).rowcount

    def backlog(self) -> Backlog:
        """Say how much waits in all."""
        return self._backlog(true())

    def backlog_of(self, tenant: str) -> Backlog:
        """Say how much waits for a tenant's targets."""
        theirs = select(WEBHOOKS.c.id).where(WEBHOOKS.c.tenant == tenant)
        return self._backlog(DELIVERIES.c.webhook.in_(theirs))

    def _backlog(self, which: ColumnElement[bool]) -> Backlog:
        counted = select(func.count(), func.min(DELIVERIES.c.created_ns)).where(which)
        with self._database.reading() as connection:
            waiting, oldest = connection.execute(
                counted.where(DELIVERIES.c.state == "waiting")
            ).one()
            dead, _ = connection.execute(counted.where(DELIVERIES.c.state == "dead")).one()
            return Backlog(waiting=waiting, oldest_unix_ns=oldest, dead=dead)


def _delivery(row: RowMapping) -> Delivery:
    return Delivery(
        id=row["id"],
        number=row["number"],
        kind=cast("NoticeKind", row["kind"]),
        state=cast("DeliveryState", row["state"]),
        created_unix_ns=row["created_ns"],
        attempts=row["attempts"],
        status=row["status"],
        problem=row["problem"],
        done_unix_ns=row["done_ns"],
        body=bytes(row["body"]),
    )
