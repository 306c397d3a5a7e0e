"""Checks what clients say of calls before it is stored: whose, when, and how much it can be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

import msgspec

from tollspan.budget import MOST_AMOUNT, MOST_CHARGES
from tollspan.usage import (
    LOCAL_TENANT,
    OWNERS,
    REPRICING_SUFFIX,
    REVERSAL_SUFFIX,
    TOKEN_BUCKETS,
    Adjustment,
    AttributionError,
    Charge,
    Fact,
    Usage,
    UsageEvent,
    check_tag_name,
    check_value,
    event_id,
    event_time,
)

from .settings import NS_PER_SECOND, ServerSettings

MOST_NANOUSD: Final = 10**16
"""What one event can cost, 10 million USD: sums of very many of them are still exact."""
MOST_COUNT: Final = 10**13
"""How many tokens, images or milliseconds one event can have used."""
_LONGEST_NAME: Final = 512
_LONGEST_ID: Final = 128
_tokens_of: Final = attrgetter(*TOKEN_BUCKETS)
_amounts_of: Final = attrgetter("posted", "unresolved", "overrun")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_OF_SERVER: Final = re.compile(
    rf"({re.escape(REVERSAL_SUFFIX)}|{re.escape(REPRICING_SUFFIX)}[0-9]+)\Z"
)


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why an event is not taken: `invalid`, `wrong_tenant`, `too_old`, `in_the_future`."""

    reason: str
    message: str


class _WrongError(Exception):
    """A field is wrong; the text names it."""


def refusal_of(
    fact: Fact, *, tenant: str, now_unix_ns: int, settings: ServerSettings
) -> Refusal | None:
    """Say why an event is not taken; None where it is."""
    own = LOCAL_TENANT if isinstance(fact, Adjustment) else fact.call.attribution.tenant
    if own not in (LOCAL_TENANT, tenant):
        return Refusal(reason="wrong_tenant", message="the event is of another tenant")
    age = now_unix_ns - event_time(fact)
    if age > settings.oldest_seconds * NS_PER_SECOND:
        days = settings.oldest_seconds / 86_400
        return Refusal(reason="too_old", message=f"it began more than {days:g} days ago")
    if -age > settings.ahead_seconds * NS_PER_SECOND:
        return Refusal(
            reason="in_the_future",
            message=f"it begins more than {settings.ahead_seconds:,} s from now",
        )
    try:
        _check(fact)
    except (_WrongError, AttributionError) as error:
        return Refusal(reason="invalid", message=str(error))
    return None


def _check(fact: Fact) -> None:
    _check_id(event_id(fact))
    if isinstance(fact, Adjustment):
        _check_charges(fact.charges, MOST_NANOUSD, most=MOST_CHARGES)
        return
    attribution, request = fact.call.attribution, fact.call.request
    for name in OWNERS:
        value = getattr(attribution, name)
        if value is not None:
            check_value(name, value)
    for name, value in attribution.tags:
        check_tag_name(name)
        check_value(f"tag.{name}", value)
    for name in ("provider", "model", "operation"):
        _check_text(name, getattr(request, name), _LONGEST_NAME)
    bound = fact.decision.bound_nanousd
    if bound is not None and not 0 <= bound <= MOST_NANOUSD:
        raise _WrongError(f"decision.bound_nanousd: expected 0 to {MOST_NANOUSD:,}")
    if isinstance(fact, UsageEvent):
        _check_usage_event(fact)


def _check_id(own: str) -> None:
    if not own:
        raise _WrongError("id: expected one")
    _check_text("id", own, _LONGEST_ID)
    if _OF_SERVER.search(own):
        raise _WrongError("id: ends as one of the server's own does")


def _check_usage_event(event: UsageEvent) -> None:
    if event.folded is not None:
        _check_counts((("calls", event.folded.calls), ("denied", event.folded.denied)))
    answer = event.outcome.response.id
    if answer is not None:
        _check_text("outcome.response.id", answer, _LONGEST_NAME)
    cost = event.cost.amount_nanousd
    if cost is not None and not 0 <= cost <= MOST_NANOUSD:
        raise _WrongError(f"cost.amount_nanousd: expected 0 to {MOST_NANOUSD:,}")
    if cost is None and event.cost.status == "priced":
        raise _WrongError("cost.amount_nanousd: expected an amount, as it is priced")
    if event.usage is not None:
        _check_usage(event.usage)
    if event.charges:  # a total's are those of many calls
        many = len(event.charges) if event.folded is not None else MOST_CHARGES
        _check_charges(event.charges, MOST_AMOUNT, most=many)


def _check_usage(usage: Usage) -> None:
    tokens = _tokens_of(usage)
    if not 0 <= min(tokens) <= max(tokens) <= MOST_COUNT:
        _check_counts(zip(TOKEN_BUCKETS, tokens, strict=True))
    for unit, _ in usage.quantities:
        _check_text("usage.quantities", unit, _LONGEST_ID)
    _check_counts(usage.quantities)


def _check_counts(counts: Iterable[tuple[str, int]]) -> None:
    for name, count in counts:
        if not 0 <= count <= MOST_COUNT:
            raise _WrongError(f"usage.{name[:64]}: expected 0 to {MOST_COUNT:,}")


def _check_charges(charges: Sequence[Charge], most_amount: int, *, most: int) -> None:
    if len(charges) > most:
        raise _WrongError(f"charges: expected up to {most}")
    for one in charges:
        if not all(abs(amount) <= most_amount for amount in _amounts_of(one)):
            raise _WrongError(f"charges: expected amounts up to {most_amount:,}")
        if one.drawn is not None and not 0 <= one.drawn <= MOST_AMOUNT:
            raise _WrongError(f"charges: expected `drawn` from 0 to {MOST_AMOUNT:,}")


def _check_text(name: str, text: str, longest: int) -> None:
    if len(text) > longest or _CONTROL.search(text):
        raise _WrongError(f"{name}: expected up to {longest} characters, none of control")
