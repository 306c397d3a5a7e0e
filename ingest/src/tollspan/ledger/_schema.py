"""The SQLite ledger's tables. Accounts are derived: events and open holds are the facts."""

from __future__ import annotations

import sqlite3

VERSION = 1

_TABLES = """
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE accounts (
    id                 INTEGER PRIMARY KEY,
    budget_id          TEXT NOT NULL,
    scope              TEXT NOT NULL,
    period             TEXT NOT NULL,
    limit_nanousd      INTEGER NOT NULL,
    posted_nanousd     INTEGER NOT NULL DEFAULT 0,
    held_nanousd       INTEGER NOT NULL DEFAULT 0,
    unresolved_nanousd INTEGER NOT NULL DEFAULT 0,
    UNIQUE (budget_id, scope, period)
);

-- A row is a hold in one account: open (state 0), or unresolved (state 1) when its process died.
CREATE TABLE holds (
    call_id            TEXT NOT NULL,
    account_id         INTEGER NOT NULL,
    amount_nanousd     INTEGER NOT NULL,
    owner              TEXT NOT NULL,
    started_at_unix_ns INTEGER NOT NULL,
    state              INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (call_id, account_id)
) WITHOUT ROWID;

-- Facts, never changed: `data` is the event in JSON, the columns are for finding it.
CREATE TABLE events (
    seq          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    kind         TEXT NOT NULL,
    time_unix_ns INTEGER NOT NULL,
    cost_nanousd INTEGER,
    data         BLOB NOT NULL
);

-- What should not happen, counted: calls that went past the gate, our own failures.
CREATE TABLE sightings (
    kind         TEXT NOT NULL,
    name         TEXT NOT NULL,
    count        INTEGER NOT NULL,
    last_unix_ns INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
"""


def create(connection: sqlite3.Connection) -> None:
    """Create the tables when the file has none; the caller holds the write transaction."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == VERSION:
        return
    if found > VERSION:
        raise sqlite3.DatabaseError(
            f"the ledger has format {found}, this tollspan knows {VERSION}: install a newer one"
        )
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
