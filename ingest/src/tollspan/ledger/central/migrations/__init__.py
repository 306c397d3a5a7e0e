"""Brings a database's tables to what this program keeps, revision by revision.

A revision is a file in `versions`, made by `python scripts/migration.py NAME`; Alembic runs it. One
that was released is never changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from tollspan.usage import LedgerError

FOLDER: Final = Path(__file__).parent
VERSIONS: Final = FOLDER / "versions"
VERSION_TABLE: Final = "schema_version"


def newest() -> str:
    """Return the revision that this program keeps: files are numbered."""
    return max(path.stem[:4] for path in VERSIONS.glob("[0-9]*.py"))


def migrate(connection: Connection, name: str) -> None:
    """Bring the tables to the newest revision, in the connection's transaction.

    Args:
        connection: That no other process migrates meanwhile.
        name: Of the database, for people.

    Raises:
        LedgerError: A newer program has migrated it, or its tables are no tables of ours.
    """
    found, wanted = revision(connection), newest()
    if found == wanted:
        return
    if found is not None and not list(VERSIONS.glob(f"{found}_*.py")):
        raise LedgerError(
            f"{name} has tables of revision {found}, and this program knows {wanted} at most: "
            "a newer tollspan has used it; use that one, or another database"
        )
    if found is None and inspect(connection).has_table("events"):
        raise LedgerError(
            f"{name} has tables, but does not say of which revision: use another database"
        )
    _upgrade(connection)


def revision(connection: Connection) -> str | None:
    """Return the revision of a database's tables; None where there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
    return None if found is None else str(found)


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - it is rarely needed, and takes long to import
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
