"""Where it is kept who told of which call, and what of that a batch needs."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Column, Connection, select, text

from tollspan.usage import (
    REVERSAL_SUFFIX,
    Repricing,
    Reversal,
    UsageEvent,
    decode_entry,
    foreign_id,
)

from .bulk import find_pairs, find_rows, insert_rows
from .candidates import answer_key, call_key, likeness_key
from .naming import Names, id_key
from .rows import (
    FROM_SPAN,
    REPRICED,
    SUPERSEDED,
    USAGE,
    Place,
    StoredEvent,
    counted_call,
    stored_event,
)
from .sameness import Sighting, ToldCall, own_sighting
from .tables import EVENT_KEYS, EVENTS, SIGHTINGS

_SLACK_NS: Final = 2_000_000
_AT_ONCE: Final = 400
_OR_MOVE: Final = (
    "ON CONFLICT (tenant, trace, span) DO UPDATE SET event_id = excluded.event_id,"
    " body = excluded.body"
)
_MOST_FOUND: Final = 20_000
_MOST_OWN: Final = 5_000
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Sighting).decode
_Item = TypeVar("_Item")


def hold_tenant(connection: Connection, tenant: str, *, alone: bool = False) -> None:
    """Keep others from deciding on a tenant's calls until the transaction ends.

    SQLite has one writer anyway.

    Args:
        connection: Of the transaction.
        tenant: Whose calls they are.
        alone: Nobody else stores of this tenant; else only nobody who is alone.
    """
    if connection.dialect.name != "postgresql":
        return
    how = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
    name = hashlib.blake2b(f"spans\0{tenant}".encode(), digest_size=8).digest()
    number = int.from_bytes(name, "big", signed=True)
    connection.execute(text(f"SELECT {how}(:number)"), {"number": number})


def has_sightings(connection: Connection, tenant: str) -> bool:
    """Say whether spans told of any call of a tenant."""
    one = select(SIGHTINGS.c.span).where(SIGHTINGS.c.tenant == tenant).limit(1)
    return connection.scalar(one) is not None


def find_own_by_key(
    connection: Connection, tenant: str, told: Sequence[ToldCall], names: Sequence[Names]
) -> list[str | None]:
    """Return the events of programs that count these calls by their keys; None for none."""
    keys = [_own_keys(tenant, *each) for each in zip(told, names, strict=True)]
    owners: dict[bytes, str] = {}
    columns = EVENT_KEYS.c
    wanted = {key for each in keys for key in each}
    for row in find_rows(connection, (columns.key, columns.event_id), columns.key, wanted):
        owners[bytes(row[0])] = row[1]
    return [next((owners[key] for key in each if key in owners), None) for each in keys]


def _own_keys(tenant: str, told: ToldCall, names: Names) -> list[bytes]:
    """Return by what a program's own event of a call is known, the surest first."""
    _, trace_id, span_id, _ = (told.event.traceparent or "---").split("-")
    ids = [told.call_id, foreign_id(trace_id, span_id)]
    keys = [id_key(tenant, name) for name in ids if name is not None]
    return keys + [key for key in (names.answer, names.span) if key is not None]


def find_own_near(connection: Connection, tenant: str, above: Sequence[Sighting]) -> list[Sighting]:
    """Return the events of programs that were under way within frameworks' spans, and who told."""
    services = {each.service for each in above if each.service is not None}
    if not services:
        return []
    since = min(each.since_unix_ns for each in above) - _SLACK_NS
    until = max(each.until_unix_ns for each in above)
    found: list[Sighting] = []
    for some in _slices(list(services)):
        rows = connection.execute(
            select(EVENTS.c.body)
            .where(
                EVENTS.c.tenant == tenant,
                EVENTS.c.time_ns.between(since, until),
                EVENTS.c.kind == USAGE,
                EVENTS.c.service.in_(some),
                EVENTS.c.marks.not_like(f"{FROM_SPAN}%"),
            )
            .limit(_MOST_OWN)
        )
        events = [decode_entry(bytes(body)) for (body,) in rows]
        found += [
            own_sighting(event)
            for event in events
            if isinstance(event, UsageEvent) and event.folded is None
        ]
    return found + _sightings_of(connection, tenant, [each.event_id for each in found])


def find_sightings(connection: Connection, tenant: str, seen: Sequence[Sighting]) -> list[Sighting]:
    """Return what was told of the calls that these may tell of.

    Of themselves it is all that was told; of others as much as is compared, however much a client
    makes alike.
    """
    if not seen:
        return []
    spans = {(each.trace_id, each.span_id) for each in seen if each.trace_id}
    columns = SIGHTINGS.c
    again = [
        _decode(bytes(body))
        for body in find_pairs(
            connection, columns.body, (columns.trace, columns.span), spans, {"tenant =": tenant}
        )
    ]
    since = min(each.since_unix_ns for each in seen) - _SLACK_NS
    until = max(each.until_unix_ns for each in seen) + _SLACK_NS
    in_time: dict[str, object] = {"since_ns <=": until, "until_ns >=": since}
    # Digests are of the tenant's. To name it as well has SQLite look through all that is its.
    by: tuple[tuple[Column[Any], set[object], dict[str, object]], ...] = (
        (
            SIGHTINGS.c.trace,
            {each.trace_id or None for each in seen},
            {"tenant =": tenant, **in_time},
        ),
        (SIGHTINGS.c.alike, {likeness_key(tenant, each) for each in seen}, in_time),
        (SIGHTINGS.c.answer, {answer_key(tenant, each) for each in seen}, {}),
        (SIGHTINGS.c.call, {call_key(tenant, each) for each in seen}, {}),
    )
    events = {each.event_id for each in again}
    for column, values, where in by:
        found = find_rows(connection, (SIGHTINGS.c.event_id,), column, values - {None}, where)
        events.update(row[0] for row in islice(found, _MOST_FOUND))
    of_events = _sightings_of(connection, tenant, events)
    return list({(each.trace_id, each.span_id): each for each in (*again, *of_events)}.values())


def _sightings_of(
    connection: Connection, tenant: str, event_ids: Collection[str]
) -> list[Sighting]:
    columns = SIGHTINGS.c
    where = {"tenant =": tenant}
    rows = find_rows(connection, (columns.body,), columns.event_id, event_ids, where)
    return [_decode(bytes(row[0])) for row in islice(rows, 2 * _MOST_FOUND)]


class TakenBack(msgspec.Struct, frozen=True, kw_only=True):
    """What takes an event back.

    Attributes:
        reversal: It; of a call that was priced anew, of what counts it since.
        marks: The event's.
        original: The event as it was first stored; None where that is kept no more.
    """

    reversal: Reversal
    marks: tuple[str, ...]
    original: UsageEvent | None


def taken_back(
    connection: Connection, tenant: str, sighting: Sighting, by: str, now_ns: int
) -> TakenBack | None:
    """Return what takes an event back; None where it is kept no more."""
    place = (sighting.event_time_ns, sighting.event_id)
    original, found = _counting(connection, tenant, place)
    event = None if found is None else counted_call(found.fact)
    if found is None or event is None:
        return None
    number = found.fact.number if isinstance(found.fact, Repricing) else 0
    reversal = Reversal(event=event, at_unix_ns=now_ns, reason=SUPERSEDED, by=by, number=number)
    return TakenBack(reversal=reversal, marks=found.marks, original=original)


def _counting(
    connection: Connection, tenant: str, place: Place
) -> tuple[UsageEvent | None, StoredEvent | None]:
    """Return an event, and what counts its call: itself, or what it was priced anew by."""
    columns = EVENTS.c
    at, own = place
    original: UsageEvent | None = None
    while True:
        rows = connection.execute(
            select(columns.id, columns.body, columns.received_ns, columns.marks).where(
                columns.tenant == tenant,
                columns.time_ns == at,
                columns.id.in_((own, own + REVERSAL_SUFFIX)),
            )
        ).mappings()
        found = {row["id"]: stored_event(row) for row in rows}
        if own == place[1] and own in found:
            first = found[own].fact
            original = first if isinstance(first, UsageEvent) else None
        reversal = found.get(own + REVERSAL_SUFFIX)
        if reversal is None or not isinstance(reversal.fact, Reversal):
            return original, found.get(own)
        if reversal.fact.reason != REPRICED or reversal.fact.by is None:
            return original, None
        own = reversal.fact.by


def keep_sightings(
    connection: Connection,
    tenant: str,
    changed: Sequence[Sighting],
    stored: Sequence[tuple[UsageEvent, Names]],
) -> None:
    """Write who told of which call, and the names of the events that were stored."""
    insert_rows(connection, SIGHTINGS, [_row(tenant, each) for each in changed], _OR_MOVE)
    rows = [
        {
            "key": name.own,
            "event_id": name.event_id,
            "print": name.print,
            "time_ns": event.call.started_at_unix_ns,
        }
        for event, name in stored
    ]
    insert_rows(connection, EVENT_KEYS, rows, "ON CONFLICT DO NOTHING")


def _row(tenant: str, sighting: Sighting) -> dict[str, object]:
    return {
        "tenant": tenant,
        "trace": sighting.trace_id,
        "span": sighting.span_id,
        "event_id": sighting.event_id,
        "call": call_key(tenant, sighting),
        "answer": answer_key(tenant, sighting),
        "alike": likeness_key(tenant, sighting),
        "since_ns": sighting.since_unix_ns,
        "until_ns": sighting.until_unix_ns,
        "body": _encode(sighting),
    }


def _slices(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
