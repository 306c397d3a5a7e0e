"""The tables of webhooks: who is told of what, and what is to be told, in order."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from .tables import METADATA

WEBHOOKS: Final = Table(
    "webhooks",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("wants", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("old_secret", Text),
    Column("old_until_ns", BigInteger),
    Column("is_active", Integer, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("last_number", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("next_try_ns", BigInteger, nullable=False),
    Column("claimed_by", Text),
    Column("claimed_until_ns", BigInteger, nullable=False),
)
"""Targets. A secret signs, so it is kept as it is. `last_number` gives deliveries their order: who
has counted it up holds the row until its transaction ends, so numbers are seen in their order."""
Index("webhooks_of_tenant", WEBHOOKS.c.tenant, WEBHOOKS.c.created_ns)
DELIVERIES: Final = Table(
    "webhook_deliveries",
    METADATA,
    Column("webhook", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("about", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("status", Integer),
    Column("problem", Text, nullable=False),
    Column("done_ns", BigInteger),
    UniqueConstraint("webhook", "about", name="webhook_deliveries_once"),
)
"""The outbox: `about` is a digest of what it tells of, which is told once."""
Index(
    "webhook_deliveries_by_state",
    DELIVERIES.c.webhook, DELIVERIES.c.state, DELIVERIES.c.number,
)  # fmt: skip
Index("webhook_deliveries_waiting", DELIVERIES.c.state, DELIVERIES.c.created_ns)
Index("webhook_deliveries_done", DELIVERIES.c.done_ns)
