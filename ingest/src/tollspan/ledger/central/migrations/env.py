"""What Alembic runs to migrate: in the connection, and the transaction, that it was given."""

from __future__ import annotations

from alembic import context

from tollspan.ledger.central.migrations import VERSION_TABLE

if hasattr(context, "config"):  # Alembic runs it; who only imports it has nothing to migrate
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=context.config.attributes.get("metadata"),
        version_table=VERSION_TABLE,
        transaction_per_migration=False,
    )
    context.run_migrations()
