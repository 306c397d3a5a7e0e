"""The SQLite ledger's statements for jobs: what is held for calls that end elsewhere."""

from __future__ import annotations

import json
import time

import msgspec

from tollspan.budget import DeferredHold, Unresolved
from tollspan.usage import Adjustment, LedgerCorruptError, LedgerError, encode_event

from ._left import unresolved_of
from ._session import Session

_INSERT = (
    "INSERT INTO deferrals (call_id, provider, job_id, part, deferred_at_unix_ns, data,"
    " lease_id, legs, started_at_unix_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# An operator's word on a job counts for nothing once the job's end was told.
_SETTLE_BY_HAND = (
    "INSERT INTO events (id, kind, time_unix_ns, data) SELECT ?1, 'adjustment', ?2, ?3"
    " WHERE EXISTS (SELECT 1 FROM jobs WHERE call_id = ?4) ON CONFLICT (id) DO NOTHING"
)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(DeferredHold).decode


def defer(session: Session, deferred: DeferredHold) -> bool:
    """Keep what a call holds for its job, once; what a lease of this ledger has becomes its own."""
    lease_id, legs = deferred.lease_id or "", _legs(deferred)
    moved = msgspec.structs.replace(deferred, lease_id=None, drawn=())
    return _insert(session, moved, lease_id, legs)


def remember(session: Session, deferred: DeferredHold) -> bool:
    """Keep a call for its job, once; a lease that holds for it is another authority's."""
    return _insert(session, deferred, "", "[]")


def find(session: Session, key: tuple[str, str]) -> tuple[DeferredHold, ...]:
    """Return the calls that are a job, by their parts.

    Raises:
        LedgerCorruptError: One of them can't be read.
    """
    rows = session.connection.execute(
        "SELECT data FROM jobs WHERE provider = ? AND job_id = ? ORDER BY part", key
    ).fetchall()
    return tuple([decode_deferred(data) for (data,) in rows])


def give_up(session: Session, before_unix_ns: int) -> list[Unresolved]:
    """Turn what is held for jobs that are older into unresolved money; one caller gets each."""
    rows = session.connection.execute(
        "UPDATE holds SET state = 1 WHERE state = 2 AND call_id IN"
        " (SELECT call_id FROM jobs WHERE deferred_at_unix_ns < ?)"
        " RETURNING call_id, amount, (SELECT json_array(budget_id, scope, period, unit)"
        " FROM accounts WHERE id = account_id)",
        (before_unix_ns,),
    ).fetchall()
    return unresolved_of(rows, time.time_ns())


def settle_by_hand(session: Session, adjustment: Adjustment) -> None:
    """Store an operator's word on what a job cost, unless its end was told before.

    Raises:
        LedgerError: It was; nothing was stored.
    """
    connection = session.connection
    values = (adjustment.id, adjustment.at_unix_ns, encode_event(adjustment), adjustment.call_id)
    if connection.execute(_SETTLE_BY_HAND, values).rowcount == 1:
        return
    query = "SELECT 1 FROM events WHERE id = ?"
    if connection.execute(query, (adjustment.id,)).fetchone() is None:
        raise LedgerError(
            f"the job of call {adjustment.call_id} has ended, or was settled, meanwhile; "
            "nothing was posted; see `tollspan jobs list`"
        )


def decode_deferred(data: bytes) -> DeferredHold:
    """Read a deferred hold in the ledger's own form.

    Raises:
        LedgerCorruptError: It is none.
    """
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LedgerCorruptError(
            f"a deferred hold can't be read ({error}): run `tollspan ledger rebuild`"
        ) from error


def _insert(session: Session, deferred: DeferredHold, lease_id: str, legs: str) -> bool:
    """Keep a call for its job; False where it was over before, or the job is another call's.

    What was kept is not looked for afterwards: by then another process may have told its end.
    """
    call = deferred.call
    connection = session.connection
    changed = connection.total_changes  # counts what the trigger does, and what it calls forth
    connection.execute(
        _INSERT,
        (
            call.id,
            deferred.provider,
            deferred.job_id,
            deferred.part,
            deferred.deferred_at_unix_ns,
            _encode(deferred),
            lease_id,
            legs,
            call.started_at_unix_ns,
        ),
    )
    if connection.total_changes != changed:
        return True
    query = "SELECT 1 FROM jobs WHERE call_id = ?"
    return connection.execute(query, (call.id,)).fetchone() is not None


def _legs(deferred: DeferredHold) -> str:
    """Write what a lease has for the call: accounts' names and amounts."""
    if deferred.hold is None or deferred.lease_id is None:
        return "[]"
    return json.dumps(
        [
            (account.budget_id, account.scope, account.period, account.unit, drawn)
            for (account, _), drawn in zip(deferred.hold.legs, deferred.drawn, strict=True)
        ]
    )
