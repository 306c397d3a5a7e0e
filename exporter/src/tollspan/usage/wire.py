"""How events travel: CloudEvents 1.0 in JSON, one or many, with all money as strings.

`data` is the event as the ledger keeps it, but for amounts of accounts and of money, times, and
whatever is beyond 2^53. These are strings, for many readers of JSON take numbers for doubles. The
id is the event's own, so whoever receives it twice can count it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, cast
from urllib.parse import quote

import msgspec

from .answers import EventVerdicts
from .call import Call
from .errors import TollspanError
from .events import (
    DECISION_TYPE,
    USAGE_TYPE,
    Adjustment,
    DecisionEvent,
    Entry,
    Fact,
    Repricing,
    Reversal,
    UsageEvent,
    as_unicode,
    rfc3339,
)

ADJUSTMENT_TYPE: Final = "dev.tollspan.adjustment.v1"
REVERSAL_TYPE: Final = "dev.tollspan.reversal.v1"
REPRICING_TYPE: Final = "dev.tollspan.repricing.v1"
EVENT_MEDIA_TYPE: Final = "application/cloudevents+json"
BATCH_MEDIA_TYPE: Final = "application/cloudevents-batch+json"
_AMOUNTS: Final = frozenset(
    ("posted", "unresolved", "overrun", "drawn", "limit", "spent", "held", "asked")
)
# Arrays in arrays without an end are refused by the depth of the stack.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_SUFFIXES: Final = ("_nanousd", "_unix_ns")
_LARGEST_EXACT: Final = 1 << 53
_KINDS: Final[dict[str, type[Fact]]] = {
    USAGE_TYPE: UsageEvent,
    DECISION_TYPE: DecisionEvent,
    ADJUSTMENT_TYPE: Adjustment,
}


class WireError(TollspanError):
    """What arrived is no event of ours; the text names the attribute and what is wrong with it."""


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The envelope, as CloudEvents 1.0 names its attributes; further ones are passed over.

    Attributes:
        specversion: Always `1.0`.
        id: The event's own id: of a usage event the call's.
        source: Who saw it: `//` and the service, quoted as in a URI; `//tollspan` if nobody said.
        type: `dev.tollspan.usage.v1`, `dev.tollspan.decision.v1`, `dev.tollspan.adjustment.v1`.
        subject: The customer; None where nobody said who that is.
        time: RFC 3339: when the call started, or the adjustment was made.
        datacontenttype: Always `application/json`.
        traceparent: The W3C trace context of the call's span, as CloudEvents' extension for traces.
        data: The event.
    """

    id: str
    source: str
    type: str
    specversion: Literal["1.0"] = "1.0"
    subject: str | None = None
    time: str | None = None
    datacontenttype: str = "application/json"
    traceparent: str | None = None
    data: msgspec.Raw


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(CloudEvent)
_batch_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def encode_cloud_event(fact: Entry) -> bytes:
    """Write an event for others. Text that is no Unicode loses what is not."""
    data, call = _with_strings(msgspec.to_builtins(fact)), _call(fact)
    envelope: dict[str, object] = {
        "specversion": "1.0",
        "id": event_id(fact),
        "source": f"//{quote(_service(fact) or 'tollspan', safe='', errors='replace')}",
        "type": _type(fact),
        "subject": None if call is None else call.attribution.customer,
        "time": rfc3339(event_time(fact)),
        "datacontenttype": "application/json",
        "traceparent": _traceparent(fact),
        "data": data,
    }
    said = {name: value for name, value in envelope.items() if value is not None}
    try:
        return _encode(said)
    except UnicodeEncodeError:
        return _encode(as_unicode(said))


def encode_batch(events: Sequence[bytes]) -> bytes:
    """Join written events to one batch."""
    return b"[" + b",".join(events) + b"]"


def encode_verdicts(answer: EventVerdicts) -> bytes:
    """Write a server's answer to a batch."""
    return _encode(_with_strings(msgspec.to_builtins(answer)))


def split_batch(body: bytes) -> list[bytes]:
    """Take a batch apart, without reading its events.

    Raises:
        WireError: It is no JSON array.
    """
    try:
        return [bytes(one) for one in _batch_decoder.decode(body)]
    except _UNREADABLE as error:
        raise WireError(f"the batch: {error}") from None


def decode_cloud_event(data: bytes) -> Fact:
    """Read one event.

    Raises:
        WireError: It is none of this version.
    """
    try:
        envelope = _decoder.decode(data)
    except _UNREADABLE as error:
        raise WireError(str(error)) from None
    kind = _KINDS.get(envelope.type)
    if kind is None:
        raise WireError(f"`type` is {envelope.type!r}; expected one of {', '.join(_KINDS)}")
    if envelope.datacontenttype.partition(";")[0].strip().lower() != "application/json":
        raise WireError(f"`datacontenttype` is {envelope.datacontenttype!r}; expected JSON")
    try:
        fact = msgspec.json.decode(envelope.data, type=kind, strict=False)
    except _UNREADABLE as error:
        raise WireError(f"`data`: {error}") from None
    if event_id(fact) != envelope.id:
        raise WireError(f"`id` is {envelope.id!r}, but `data` is of {event_id(fact)!r}")
    return fact


def event_id(fact: Entry) -> str:
    """Return what tells an event from all others."""
    return fact.call.id if isinstance(fact, UsageEvent) else fact.id


def event_time(fact: Entry) -> int:
    """Return when the call started, or the adjustment was made, in nanoseconds since the epoch.

    What takes an event back, or prices it anew, is of that event's time, so that it counts in the
    same period.
    """
    if isinstance(fact, UsageEvent):  # as nearly all are
        return fact.call.started_at_unix_ns
    if isinstance(fact, Adjustment):
        return fact.at_unix_ns
    call = fact.event.call if isinstance(fact, Reversal | Repricing) else fact.call
    return call.started_at_unix_ns


def _call(fact: Entry) -> Call | None:
    if isinstance(fact, Adjustment):
        return None
    return fact.event.call if isinstance(fact, Reversal | Repricing) else fact.call


def _traceparent(fact: Entry) -> str | None:
    if isinstance(fact, Adjustment):
        return None
    of = fact.event if isinstance(fact, Reversal | Repricing) else fact
    return of.traceparent


def _type(fact: Entry) -> str:
    if isinstance(fact, Reversal):  # nobody sends one: it is the server's own
        return REVERSAL_TYPE
    if isinstance(fact, Repricing):  # nor one of these
        return REPRICING_TYPE
    return next(name for name, kind in _KINDS.items() if type(fact) is kind)


def _service(fact: Entry) -> str | None:
    call = _call(fact)
    return None if call is None else call.attribution.service


def _with_strings(value: object) -> object:
    """Write amounts as strings, wherever they are."""
    if type(value) is int and abs(value) > _LARGEST_EXACT:
        return str(value)
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return {name: _field(name, item) for name, item in fields.items()}
    if isinstance(value, list | tuple):
        return [_with_strings(item) for item in cast("Iterable[object]", value)]
    return value


def _field(name: str, value: object) -> object:
    if type(value) is int and (name in _AMOUNTS or name.endswith(_SUFFIXES)):
        return str(value)
    return _with_strings(value)
