"""What the ingest API answers to those who send events: its words are one for both sides."""

from __future__ import annotations

from typing import Literal

import msgspec


class EventVerdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a server says of one event.

    Attributes:
        id: The event's; None where the server could not read it.
        status: `accepted`: stored now; `duplicate`: it was there; `rejected`: it never will be.
        reason: In a word for machines, why.
        message: For people, why.
    """

    id: str | None = None
    status: Literal["accepted", "duplicate", "rejected"]
    reason: str = ""
    message: str = ""


class EventVerdicts(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a batch, event by event, in its order."""

    results: tuple[EventVerdict, ...]


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Whose a key is, and what it may."""

    tenant: str
    scopes: tuple[str, ...] = ()
