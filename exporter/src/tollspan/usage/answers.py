"""What the ingest API answers to those who send events: its words are one for both sides."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec

from .units import BudgetUnit

WAITING_HEADER: Final = "Tollspan-Waiting"
"""How many events are left in the outbox behind those that are sent."""
DEAD_LETTERS_HEADER: Final = "Tollspan-Dead-Letters"
"""How many events of the outbox were refused for good."""


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


class ExceededAccount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An account that is used up, by the server's books. Amounts are strings on the wire.

    Attributes:
        budget_id, scope, period, unit: The account, named as the charges of events name it.
        limit, spent, held: How it stands, in its unit.
        resets_at: When its period ends; None for never.
    """

    budget_id: str
    scope: str = ""
    period: str = ""
    unit: BudgetUnit = "usd"
    limit: int
    spent: int
    held: int = 0
    resets_at: datetime | None = None


class ServerState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a server tells of itself beside its verdicts.

    Attributes:
        rules: The ETag of the rules in force there; None where it does not say.
        exceeded: Every account of the tenant that is used up there; None where it does not say.
    """

    rules: str | None = None
    exceeded: tuple[ExceededAccount, ...] | None = None


class EventVerdicts(ServerState, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a batch, event by event, in its order."""

    results: tuple[EventVerdict, ...]


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Whose a key is, and what it may."""

    tenant: str
    scopes: tuple[str, ...] = ()
