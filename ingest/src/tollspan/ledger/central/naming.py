"""By what an event is known: digests of its names within a tenant, and of what it says it cost.

One provider call is one event, whatever saw it. Its names are, in order: the call's id; the
provider with the id of its answer; the span.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from tollspan.usage import Adjustment, DecisionEvent, Fact, UsageEvent, event_id

_KEY_BYTES: Final = 16
_PRINT_BYTES: Final = 8
_encode: Final = msgspec.json.Encoder().encode


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """By what one event is known in a tenant.

    Attributes:
        event_id: Its id.
        own: The digest of its id.
        answer: Of the provider and the id of its answer; None where it told none.
        span: Of its trace and its span; None without one.
        print: A digest of what it says was used and what that cost, whoever says it: equal for two
            sightings of one call.
    """

    event_id: str
    own: bytes
    answer: bytes | None
    span: bytes | None
    print: bytes


def names_of(tenant: str, fact: Fact) -> Names:
    """Return by what an event is known."""
    own = event_id(fact)
    if not isinstance(fact, UsageEvent):
        return Names(
            event_id=own, own=id_key(tenant, own), answer=None, span=None, print=_print(fact)
        )
    answer = fact.outcome.response.id
    provider = fact.call.request.provider
    return Names(
        event_id=own,
        own=id_key(tenant, own),
        answer=None if answer is None else _key(tenant, "answer", provider, answer),
        span=None
        if fact.traceparent is None
        else _key(tenant, "span", *fact.traceparent.split("-")[1:3]),
        print=_print(fact),
    )


def id_key(tenant: str, own: str) -> bytes:
    """Return the digest of an event's id."""
    return _key(tenant, "id", own)


def _key(tenant: str, *parts: str) -> bytes:
    text = "\0".join((tenant, *parts))
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=_KEY_BYTES).digest()


def _print(fact: Fact) -> bytes:
    return hashlib.blake2b(_encode(_said(fact)), digest_size=_PRINT_BYTES).digest()


def _said(fact: Fact) -> tuple[object, ...]:
    if isinstance(fact, Adjustment):
        return (fact.action, fact.charges, fact.at_unix_ns)
    if isinstance(fact, DecisionEvent):
        said = (fact.error_type, fact.unit, fact.limit, fact.call.started_at_unix_ns)
        return said if fact.warning is None else (*said, fact.warning)
    cost = fact.cost
    return (fact.call.request.model, fact.outcome.status, fact.usage, cost.status,
            cost.amount_nanousd)  # fmt: skip
