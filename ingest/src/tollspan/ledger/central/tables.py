"""The central ledger's tables, one description for SQLite and PostgreSQL.

Times are nanoseconds since the epoch, money is nano-USD, both whole numbers. Nothing here has a
default that the database works out: what is stored is what was said. A change here needs a revision
in `migrations`: `python scripts/migration.py NAME` writes it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

METADATA: Final = MetaData()
_Counter = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts `INTEGER` keys only

TENANTS: Final = Table(
    "tenants",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("created_ns", BigInteger, nullable=False),
)
KEYS: Final = Table(
    "keys",
    METADATA,
    Column("id", String(8), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("label", Text, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("revoked_ns", BigInteger),
)
EVENTS: Final = Table(
    "events",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("time_ns", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("customer", Text),
    Column("session", Text),
    Column("user", Text),
    Column("agent", Text),
    Column("feature", Text),
    Column("step", Text),
    Column("team", Text),
    Column("project", Text),
    Column("service", Text),
    Column("environment", Text),
    Column("provider", Text),
    Column("model", Text),
    Column("operation", Text),
    Column("outcome", Text, nullable=False),
    Column("cost_status", Text),
    Column("usage_status", Text),
    Column("cost_nanousd", BigInteger),
    Column("marks", Text, nullable=False),
    Column("received_ns", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    postgresql_partition_by="RANGE (time_ns)",
)
"""Every fact, once, as it was sent: `body` is its own form, the rest is there to be asked for."""
Index("events_of_customer", EVENTS.c.tenant, EVENTS.c.customer, EVENTS.c.time_ns)
Index("events_of_session", EVENTS.c.tenant, EVENTS.c.session, EVENTS.c.time_ns)
IS_DECISION: Final = text("kind = 'decision'")
Index(
    "events_of_decisions", EVENTS.c.tenant, EVENTS.c.time_ns, EVENTS.c.id,
    sqlite_where=IS_DECISION, postgresql_where=IS_DECISION,
)  # fmt: skip
IS_DOUBTFUL: Final = text(
    "(kind = 'reversal' OR cost_status IN ('unpriced', 'partial')"
    " OR usage_status IN ('estimated', 'unknown') OR marks NOT IN ('', 'from_span'))"
)
"""What most events are not. Databases see that an index is of use by the very same words."""
Index(
    "events_in_doubt",
    *(EVENTS.c[name] for name in ("tenant", "time_ns", "id", "kind", "cost_status", "usage_status",
                                  "marks")),
    sqlite_where=IS_DOUBTFUL, postgresql_where=IS_DOUBTFUL,
)  # fmt: skip
EVENT_KEYS: Final = Table(
    "event_keys",
    METADATA,
    Column("key", LargeBinary, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("print", LargeBinary, nullable=False),
    Column("time_ns", BigInteger, nullable=False),
)
"""By what a call is known: digests of names, with a digest of what the event says it cost."""
Index("event_keys_by_age", EVENT_KEYS.c.time_ns)
SIGHTINGS: Final = Table(
    "sightings",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("trace", Text, primary_key=True),
    Column("span", Text, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("call", LargeBinary),
    Column("answer", LargeBinary),
    Column("alike", LargeBinary),
    Column("since_ns", BigInteger, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""Spans that told of a call, and the event that it is counted by. Forgotten like `event_keys`."""
Index("sightings_by_event", SIGHTINGS.c.tenant, SIGHTINGS.c.event_id)
Index("sightings_by_call", SIGHTINGS.c.call)
Index("sightings_by_answer", SIGHTINGS.c.answer)
Index("sightings_by_likeness", SIGHTINGS.c.alike, SIGHTINGS.c.since_ns)
Index("sightings_by_age", SIGHTINGS.c.since_ns)
AUDIT: Final = Table(
    "audit",
    METADATA,
    Column("number", _Counter, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", Text, nullable=False),
)
Index("audit_of_tenant", AUDIT.c.tenant, AUDIT.c.number)
RULES: Final = Table(
    "rules",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("text", Text, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    Column("put_ns", BigInteger, nullable=False),
    Column("rolled_back_to", Integer),
)
"""The newest rules' documents of tenants, as they were put; no row is ever changed."""
