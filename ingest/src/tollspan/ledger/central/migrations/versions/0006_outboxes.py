"""What hosts tell of their outboxes, beside who sends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the columns."""
    op.add_column("senders", sa.Column("waiting", sa.BigInteger()))
    op.add_column("senders", sa.Column("refused", sa.BigInteger()))
