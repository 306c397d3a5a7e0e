"""The tables of calls that ask over HTTP, of what others charge, and of used-up accounts."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from .tables import METADATA

HELD_CALLS: Final = Table(
    "held_calls",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("asked", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("kept", LargeBinary),
    Column("told", LargeBinary),
    Column("event", LargeBinary),
    Column("ended", LargeBinary),
    Column("changed_ns", BigInteger, nullable=False),
)
"""Calls that somebody was told the decision on: any replica can end them."""
Index("held_calls_by_state", HELD_CALLS.c.state, HELD_CALLS.c.changed_ns)
SPENT_ACCOUNTS: Final = Table(
    "spent_accounts",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("about", LargeBinary, primary_key=True),
    Column("account", LargeBinary, nullable=False),
    Column("noted_ns", BigInteger, nullable=False),
)
"""Accounts that were found used up; `about` is a digest of their names."""
CHARGES_DUE: Final = Table(
    "charges_due",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("due_ns", BigInteger, nullable=False),
    Column("is_begun", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""What events charge that no host charges, until the authority has it."""
Index("charges_due_by_time", CHARGES_DUE.c.due_ns)
