"""The tables of the SQLite authority. Sums are decimal text: they may pass 63 bits."""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
TABLES: Final = """
CREATE TABLE authorities (
    tenant     TEXT PRIMARY KEY,
    epoch      TEXT,            -- none: closed
    last_epoch TEXT NOT NULL,   -- the highest that was ever seen
    fold_state TEXT NOT NULL,   -- what whoever folds has left
    fold_at    INTEGER NOT NULL -- the last account that was shown
) WITHOUT ROWID;
CREATE TABLE accounts (
    number     INTEGER PRIMARY KEY,
    tenant     TEXT NOT NULL,
    budget_id  TEXT NOT NULL,
    scope      TEXT NOT NULL,
    period     TEXT NOT NULL,
    unit       TEXT NOT NULL,
    posted     TEXT NOT NULL,
    held       TEXT NOT NULL,
    unresolved TEXT NOT NULL,
    mark       INTEGER NOT NULL, -- of whoever folds: 0 since anything changed
    UNIQUE (tenant, budget_id, scope, period, unit)
);
CREATE TABLE leases (
    number         INTEGER PRIMARY KEY,
    tenant         TEXT NOT NULL,
    id             TEXT NOT NULL,
    expires_at     INTEGER NOT NULL, -- Unix nanoseconds, as all times here
    ended_at       INTEGER,
    grants         INTEGER NOT NULL,
    given_up       INTEGER NOT NULL, -- the highest number of its parts that were given up
    is_written_off INTEGER NOT NULL,
    UNIQUE (tenant, id)
);
CREATE INDEX leases_open ON leases (tenant, expires_at) WHERE ended_at IS NULL;
CREATE INDEX leases_ended ON leases (tenant, is_written_off, ended_at)
    WHERE ended_at IS NOT NULL;
CREATE TABLE parts (
    tenant      TEXT NOT NULL,
    lease_id    TEXT NOT NULL,
    budget_id   TEXT NOT NULL,
    scope       TEXT NOT NULL,
    period      TEXT NOT NULL,
    unit        TEXT NOT NULL,
    number      INTEGER NOT NULL,
    amount      TEXT NOT NULL, -- what it holds, of parts with older numbers too
    granted     TEXT NOT NULL,
    returned    TEXT NOT NULL,
    is_given_up INTEGER NOT NULL,
    PRIMARY KEY (tenant, lease_id, budget_id, scope, period, unit)
) WITHOUT ROWID;
CREATE TABLE settled (
    tenant TEXT NOT NULL,
    call   BLOB NOT NULL, -- a digest of its id
    at     INTEGER NOT NULL,
    PRIMARY KEY (tenant, call)
) WITHOUT ROWID;
CREATE INDEX settled_at ON settled (tenant, at);
CREATE TABLE told (
    tenant    TEXT NOT NULL,
    budget_id TEXT NOT NULL,
    scope     TEXT NOT NULL,
    period    TEXT NOT NULL,
    unit      TEXT NOT NULL,
    share     TEXT NOT NULL,
    PRIMARY KEY (tenant, budget_id, scope, period, unit, share)
) WITHOUT ROWID;
CREATE TABLE idle_periods (
    tenant    TEXT NOT NULL,
    budget_id TEXT NOT NULL,
    scope     TEXT NOT NULL,
    period    TEXT NOT NULL,
    unit      TEXT NOT NULL,
    ends_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant, budget_id, scope)
) WITHOUT ROWID;
CREATE INDEX idle_periods_end ON idle_periods (tenant, ends_at);
"""
