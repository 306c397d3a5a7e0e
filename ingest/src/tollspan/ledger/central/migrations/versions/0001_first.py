"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
_WHO = (
    "customer", "session", "user", "agent", "feature", "step", "team", "project", "service",
    "environment", "provider", "model", "operation",
)  # fmt: skip
_GROUPED = (
    "customer", "model", "provider", "operation", "feature", "agent", "team", "project", "service",
    "environment",
)  # fmt: skip
_MEASURES = (
    "calls", "denied", "denied_nanousd", "cost_nanousd", "estimated", "estimated_nanousd",
    "unknown", "unpriced", "late", "suspected_duplicates", "input_uncached", "cache_read",
    "cache_write", "cache_write_5m", "cache_write_1h", "audio_in", "audio_cache_read", "image_in",
    "image_cache_read", "video_in", "output", "reasoning", "audio_out", "image_out", "video_out",
)  # fmt: skip


def upgrade() -> None:
    """Make the tables."""
    _tenants()
    _events()
    _names()
    _sums()
    _work()
    _rules()


def _text(name: str, *, may_be_none: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=may_be_none)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _number(name: str, *, may_be_none: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=may_be_none)


def _bytes(name: str, *, may_be_none: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=may_be_none)


def _tenants() -> None:
    op.create_table("tenants", _key("name"), _number("created_ns"))
    op.create_table(
        "keys",
        sa.Column("id", sa.String(8), primary_key=True),
        _text("tenant"),
        _text("scopes"),
        _bytes("digest"),
        _text("label"),
        _number("created_ns"),
        _number("revoked_ns", may_be_none=True),
    )
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        _text("tenant"),
        _number("at_ns"),
        *map(_text, ("actor", "action", "subject", "details")),
    )
    op.create_index("audit_of_tenant", "audit", ["tenant", "number"])


def _events() -> None:
    op.create_table(
        "events",
        _key("tenant"),
        sa.Column("time_ns", sa.BigInteger, primary_key=True, autoincrement=False),
        _key("id"),
        _text("kind"),
        *[_text(name, may_be_none=True) for name in _WHO],
        _text("outcome"),
        *[_text(name, may_be_none=True) for name in ("cost_status", "usage_status")],
        _number("cost_nanousd", may_be_none=True),
        _text("marks"),
        _number("received_ns"),
        _bytes("body"),
        postgresql_partition_by="RANGE (time_ns)",
    )
    for name in ("customer", "session"):
        op.create_index(f"events_of_{name}", "events", ["tenant", name, "time_ns"])


def _names() -> None:
    op.create_table(
        "event_keys",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        _text("event_id"),
        _bytes("print"),
        _number("time_ns"),
    )
    op.create_index("event_keys_by_age", "event_keys", ["time_ns"])
    op.create_table(
        "sightings",
        *map(_key, ("tenant", "trace", "span")),
        _text("event_id"),
        *[_bytes(name, may_be_none=True) for name in ("call", "answer", "alike")],
        *map(_number, ("since_ns", "until_ns")),
        _bytes("body"),
    )
    op.create_index("sightings_by_event", "sightings", ["tenant", "event_id"])
    for name in ("call", "answer"):
        op.create_index(f"sightings_by_{name}", "sightings", [name])
    op.create_index("sightings_by_likeness", "sightings", ["alike", "since_ns"])
    op.create_index("sightings_by_age", "sightings", ["since_ns"])


def _sums() -> None:
    op.create_table(
        "sums",
        *_place(),
        *[_text(name, may_be_none=True) for name in _GROUPED],
        *[sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in _MEASURES],
        *_whole(*_MEASURES),
        sqlite_with_rowid=False,
    )
    is_combined = sa.text("kind = 'day*'")
    op.create_index(
        "sums_of_customer", "sums", ["tenant", "customer", "start"],
        sqlite_where=is_combined, postgresql_where=is_combined,
    )  # fmt: skip
    op.create_table(
        "sum_quantities",
        *_place(),
        _key("unit"),
        _number("amount"),
        *_whole("amount"),
        sqlite_with_rowid=False,
    )


def _place() -> list[sa.Column[object]]:
    return [
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("start", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.LargeBinary, primary_key=True),
    ]


def _whole(*names: str) -> list[sa.CheckConstraint]:
    if op.get_context().dialect.name != "sqlite":
        return []
    return [sa.CheckConstraint(f"typeof({name}) = 'integer'") for name in names]


def _work() -> None:
    op.create_table("claims", _key("work"), _text("holder"), _number("until_ns"))
    op.create_table(
        "sessions",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("key_id", sa.String(8), nullable=False),
        _number("expires_ns"),
    )
    op.create_index("sessions_by_end", "sessions", ["expires_ns"])


def _rules() -> None:
    op.create_table(
        "rules",
        _key("tenant"),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(64), nullable=False),
        _text("text"),
        sa.Column("bytes", sa.Integer, nullable=False),
        _text("actor"),
        _number("put_ns"),
        sa.Column("rolled_back_to", sa.Integer),
    )
