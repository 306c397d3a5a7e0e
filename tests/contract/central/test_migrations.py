"""Databases are brought to the newest tables, by one process, and the same as the program's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.contract.central.making import usage_event
from tollspan.ledger.central import CentralLedger, tables
from tollspan.ledger.central.migrations import FOLDER, VERSION_TABLE, VERSIONS, newest
from tollspan.usage import LedgerError

ADVICE = "the tables and their revisions differ: run `python scripts/migration.py NAME`"


@contextmanager
def connected(where: str) -> Iterator[sa.Connection]:
    url = where.replace("sqlite:", "sqlite:///").replace("postgresql:", "postgresql+psycopg:")
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def catalogue(connection: sa.Connection) -> dict[str, object]:
    """Describe all tables as the database has them."""
    found: dict[str, object] = {}
    seen = sa.inspect(connection)
    for table in seen.get_table_names():
        if table == VERSION_TABLE or table.startswith("events_"):
            continue
        columns = [
            (one["name"], str(one["type"]), one["nullable"], one["default"])
            for one in seen.get_columns(table)
        ]
        checks = sorted(one["sqltext"] for one in seen.get_check_constraints(table))
        indexes = sorted(
            (str(one["name"]), str(one["column_names"]), one["unique"],
             str([str(value) for value in one.get("dialect_options", {}).values()]))
            for one in seen.get_indexes(table)
        )  # fmt: skip
        key = seen.get_pk_constraint(table)["constrained_columns"]
        options = seen.get_table_options(table)
        uniques = sorted(str(one["column_names"]) for one in seen.get_unique_constraints(table))
        foreign = sorted(str(sorted(one.items())) for one in seen.get_foreign_keys(table))
        found[table] = (columns, key, checks, indexes, options, uniques, foreign)
    return found


def test_the_tables_are_those_that_the_revisions_make(where: str, tmp_path: Path) -> None:
    CentralLedger(where).close()
    with connected(where) as connection:
        migrated = catalogue(connection)
        for table in reversed(tables.METADATA.sorted_tables):
            connection.execute(sa.text(f'DROP TABLE "{table.name}"'))
        tables.METADATA.create_all(connection)
        described = catalogue(connection)
    assert migrated.keys() == described.keys(), ADVICE
    for name in migrated:
        assert migrated[name] == described[name], f"{name}: {ADVICE}"


def test_revisions_are_one_line(tmp_path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [newest()]
    numbers = [one.revision for one in script.walk_revisions()]
    assert sorted(numbers) == [f"{number:04d}" for number in range(1, len(numbers) + 1)]
    assert len(list(VERSIONS.glob("[0-9]*.py"))) == len(numbers)


def test_a_database_of_a_newer_program_is_refused(where: str) -> None:
    CentralLedger(where).close()
    with connected(where) as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(LedgerError, match=r"has tables of revision 9999, and this program knows"):
        CentralLedger(where)


def test_tables_of_somebody_else_are_left_alone(where: str) -> None:
    with connected(where) as connection:
        connection.execute(sa.text("CREATE TABLE events (a INTEGER)"))
    with pytest.raises(LedgerError, match="does not say of which revision"):
        CentralLedger(where)
    with connected(where) as connection:
        assert sa.inspect(connection).get_table_names() == ["events"]


def test_replicas_that_start_together_make_the_tables_once(where: str) -> None:
    starting = threading.Barrier(4)
    found: list[str] = []

    def start() -> None:
        starting.wait()
        ledger = CentralLedger(where)
        found.extend(one.status for one in ledger.events.store("acme", [usage_event()]))
        ledger.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["accepted"] * 4
