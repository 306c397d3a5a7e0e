"""Writes usage events as billing systems take them: OpenMeter, Lago, Stripe.

One event of ours is one of theirs, or one for each token class; ids are made of the event's own, so
that what is sent twice counts once there too. What is not known is left out, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from tollspan.usage import (
    TOKEN_BUCKETS,
    UsageEvent,
    format_usd,
    rfc3339,
)

MOST_IN_LAGO_BATCH: Final = 100
"""Events in one request to Lago's `events/batch`."""
_NS: Final = 10**9
_CENTS: Final = 100
_encode: Final = msgspec.json.Encoder().encode


def openmeter_event(event: UsageEvent, *, type: str = "tollspan.usage") -> bytes | None:  # noqa: A002
    """Write one CloudEvent with everything in `data`: a meter for each of its fields.

    Numbers are strings, which OpenMeter's sums read exactly.

    Args:
        event: The call.
        type: The `eventType` of the meters.

    Returns:
        None for a call of no customer: an event needs a subject.
    """
    customer = event.call.attribution.customer
    if customer is None:
        return None
    data = {
        **_said(event),
        **{f"tokens_{unit}": str(count) for unit, count in _tokens(event)},
        **{unit: str(count) for unit, count in (event.usage.quantities if event.usage else ())},
    }
    if event.cost.amount_nanousd is not None:
        data["cost_nanousd"] = str(event.cost.amount_nanousd)
        data["cost"] = format_usd(event.cost.amount_nanousd, places=0)
    return _encode(_envelope(event, customer, type, event.call.id, data))


def openmeter_token_events(event: UsageEvent, *, type: str = "prompt") -> tuple[bytes, ...]:  # noqa: A002
    """Write one CloudEvent for each token class: `data` has `tokens`, `model`, `type`.

    The shape of OpenMeter's own examples: one meter sums `$.tokens`, grouped by model and type.
    """
    customer = event.call.attribution.customer
    if customer is None:
        return ()
    return tuple(
        _encode(
            _envelope(
                event, customer, type, f"{event.call.id}.{unit}",
                {**_said(event), "tokens": str(count), "type": unit},
            )
        )
        for unit, count in _tokens(event)
    )  # fmt: skip


def lago_event(event: UsageEvent, *, code: str, subscription: str | None = None) -> bytes | None:
    """Write one event of Lago, the part within `event` or `events`.

    Args:
        event: The call.
        code: The billable metric's code.
        subscription: Its `external_subscription_id`; None for the customer's name here.

    Returns:
        None where nobody says whose subscription it is.
    """
    owner = subscription or event.call.attribution.customer
    if owner is None:
        return None
    said: dict[str, object] = {
        "transaction_id": event.call.id,
        "external_subscription_id": owner,
        "code": code,
        "timestamp": _seconds(event),
        "properties": {
            **_said(event),
            **{f"tokens_{unit}": count for unit, count in _tokens(event)},
            **dict(event.usage.quantities if event.usage else ()),
        },
    }
    if event.cost.amount_nanousd is not None:
        said["precise_total_amount_cents"] = _cents(event.cost.amount_nanousd)
    return _encode(said)


def lago_batch(events: Sequence[bytes]) -> bytes:
    """Join events of Lago to the body of one request.

    Raises:
        ValueError: They are more than one request can hold.
    """
    if len(events) > MOST_IN_LAGO_BATCH:
        raise ValueError(f"{len(events)} events; a batch holds {MOST_IN_LAGO_BATCH}")
    return b'{"events":[' + b",".join(events) + b"]}"


def stripe_event(
    event: UsageEvent, *, event_name: str, unit: str = "nanousd", customer: str | None = None
) -> bytes | None:
    """Write one meter event of Stripe; its values are whole numbers.

    Args:
        event: The call.
        event_name: The meter's.
        unit: What the meter counts: `nanousd` (a price of 0.0000001 cents for one), `tokens`, a
            bucket of tokens, or a unit of a quantity.
        customer: Stripe's id, `cus_…`; None for the customer's name here.

    Returns:
        None where there is no customer, nothing of the unit, or nobody knows how much.
    """
    owner = customer or event.call.attribution.customer
    value = _amount(event, unit)
    if owner is None or not value:
        return None
    return _encode(
        {
            "event_name": event_name,
            "identifier": event.call.id if unit == "nanousd" else f"{event.call.id}.{unit}"[:100],
            "timestamp": _seconds(event),
            "payload": {"stripe_customer_id": owner, "value": str(value)},
        }
    )


def _envelope(
    event: UsageEvent, customer: str, kind: str, own: str, data: dict[str, str]
) -> dict[str, object]:
    service = event.call.attribution.service or "tollspan"
    return {
        "specversion": "1.0",
        "type": kind,
        "id": own,
        "source": f"//{quote(service, safe='', errors='replace')}",
        "subject": customer,
        "time": rfc3339(event.call.started_at_unix_ns),
        "datacontenttype": "application/json",
        "data": data,
    }


def _said(event: UsageEvent) -> dict[str, str]:
    """Return what meters group by."""
    call = event.call
    said = {
        "provider": call.request.provider,
        "model": event.outcome.response.model or call.request.model,
        "operation": call.request.operation,
        "usage_status": None if event.usage is None else event.usage.status,
        "cost_status": event.cost.status,
        "feature": call.attribution.feature,
        "agent": call.attribution.agent,
    }
    return {name: value for name, value in said.items() if value is not None}


def _tokens(event: UsageEvent) -> list[tuple[str, int]]:
    usage = event.usage
    if usage is None or usage.status == "unknown":
        return []
    return [(unit, count) for unit in TOKEN_BUCKETS if (count := getattr(usage, unit))]


def _amount(event: UsageEvent, unit: str) -> int | None:
    if unit == "nanousd":
        return event.cost.amount_nanousd
    if unit == "tokens":
        return sum(count for _, count in _tokens(event))
    found = dict(_tokens(event))
    if unit in found:
        return found[unit]
    return dict(event.usage.quantities if event.usage else ()).get(unit)


def _seconds(event: UsageEvent) -> int:
    return event.call.started_at_unix_ns // _NS


def _cents(nanousd: int) -> str:
    """Write nano-USD in cents, exactly."""
    return format_usd(nanousd * _CENTS, places=0)
