"""Write the next revision of the central ledger's tables: `python scripts/migration.py NAME`.

What it writes is a draft: Alembic compares the tables with those of all revisions in SQLite. Read
it, and see `tests/contract/central/test_migrations.py` pass, which compares PostgreSQL too.
"""

from __future__ import annotations

import sys
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from tollspan.ledger.central import tables
from tollspan.ledger.central.migrations import FOLDER, migrate, newest


def main(name: str) -> None:
    """Write a revision that makes of the newest one's tables those of the program."""
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection, "memory")
        config = Config()
        config.set_main_option("script_location", str(FOLDER))
        config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
        config.attributes.update(connection=connection, metadata=tables.METADATA)
        number = f"{int(newest()) + 1:04d}"
        made: Any = command.revision(config, name, autogenerate=True, rev_id=number)
    print(f"{made.path}\nread it, then: ruff format, and tests/contract/central/test_migrations.py")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/migration.py NAME")
    main(sys.argv[1])
