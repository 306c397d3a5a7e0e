"""What the page tells: events in doubt, their money, what came in, and who sent it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
_MEASURES = ("late_nanousd", "suspected_nanousd", "taken_back", "taken_back_nanousd")
_IS_DECISION = "kind = 'decision'"
_IS_DOUBTFUL = (
    "(kind = 'reversal' OR cost_status IN ('unpriced', 'partial')"
    " OR usage_status IN ('estimated', 'unknown') OR marks NOT IN ('', 'from_span'))"
)


def upgrade() -> None:
    """Make the tables, the sums, and the indexes."""
    _indexes()
    _sums()
    op.create_table(
        "receipts",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("grain", sa.Text(), nullable=False),
        sa.Column("start", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "grain", "start", "what"),
        sqlite_with_rowid=False,
    )
    op.create_index("receipts_by_age", "receipts", ["grain", "start"])
    op.create_table(
        "senders",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.Column("call_ns", sa.BigInteger(), nullable=False),
        sa.Column("behind_ns", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key_id", "service", "environment"),
    )


def _indexes() -> None:
    place = ["tenant", "time_ns", "id"]
    for name, columns, where in (
        ("events_of_decisions", place, _IS_DECISION),
        (
            "events_in_doubt",
            [*place, "kind", "cost_status", "usage_status", "marks"],
            _IS_DOUBTFUL,
        ),
    ):
        op.create_index(
            name, "events", columns,
            sqlite_where=sa.text(where), postgresql_where=sa.text(where),
        )  # fmt: skip


def _sums() -> None:
    is_sqlite = op.get_context().dialect.name == "sqlite"
    for name in _MEASURES:
        check = f" CHECK (typeof({name}) = 'integer')" if is_sqlite else ""
        op.execute(f"ALTER TABLE sums ADD COLUMN {name} BIGINT DEFAULT '0' NOT NULL{check}")
