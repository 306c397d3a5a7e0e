"""The PostgreSQL authority's schema: tables, and how a database gets them.

Clients touch no table. They call the functions of `_pg_functions`, which run with the rights of
whoever opened the authority and whose names end in the format's number: what a newer tollspan
brings never changes what an older one calls.
"""

from __future__ import annotations

from typing import Final

from ._pg_functions import FUNCTIONS

VERSION: Final = 1
"""The newest format that is known here."""

# Names of accounts may be longer than an entry of an index, so a digest of 128 bits stands for one.
# Sums are numeric: whatever a limit, a need or a charge is, no sum of them overflows.
_TABLES: Final = """
DO $$ BEGIN
    -- Unlike IF NOT EXISTS, this needs no right where somebody has made the schema for us.
    IF to_regnamespace('tollspan') IS NULL THEN
        CREATE SCHEMA tollspan;
    END IF;
END $$;

-- The single row of the authority. No epoch: closed.
CREATE TABLE tollspan.authority (
    is_only    boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    version    integer NOT NULL,
    epoch      text COLLATE "C",
    last_epoch text COLLATE "C" NOT NULL DEFAULT '', -- the highest that was ever seen
    closed_why text
);
INSERT INTO tollspan.authority (version) VALUES (1);

-- Counts what was granted, given back and settled. A holder that has heard of more than this
-- counts now has met an older state of the authority: a backup that was restored.
CREATE SEQUENCE tollspan.serial;

CREATE TABLE tollspan.accounts (
    key        uuid PRIMARY KEY,
    budget_id  text NOT NULL,
    scope      text NOT NULL,
    period     text NOT NULL,
    unit       text NOT NULL,
    posted     numeric NOT NULL DEFAULT 0,
    held       numeric NOT NULL DEFAULT 0,
    unresolved numeric NOT NULL DEFAULT 0,
    mark       bigint NOT NULL DEFAULT 0 -- of whoever folds: 0 since anything changed
) WITH (fillfactor = 50);

CREATE TABLE tollspan.leases (
    id       text COLLATE "C" PRIMARY KEY,
    state    smallint NOT NULL DEFAULT 0, -- 0 open, 1 unresolved, 2 taken for spent
    due_at   timestamptz NOT NULL,        -- when it goes to the next state, or from here
    ended_at timestamptz,
    horizon  interval NOT NULL,
    grants   bigint NOT NULL DEFAULT 0,
    given_up bigint NOT NULL DEFAULT 0    -- the highest number of its parts that were given up
) WITH (fillfactor = 70);
CREATE INDEX leases_due ON tollspan.leases (due_at);

-- What a lease has in one account.
CREATE TABLE tollspan.parts (
    lease_id    text COLLATE "C" NOT NULL,
    key         uuid NOT NULL,
    number      bigint NOT NULL,
    amount      numeric NOT NULL, -- what it holds, of parts with older numbers too
    granted     numeric NOT NULL, -- all that this part ever got
    returned    numeric NOT NULL DEFAULT 0,
    is_given_up boolean NOT NULL DEFAULT false,
    PRIMARY KEY (lease_id, key)
) WITH (fillfactor = 70);

-- Calls that were settled, by a digest of their ids.
CREATE TABLE tollspan.settled (
    key uuid PRIMARY KEY,
    at  timestamptz NOT NULL
);
CREATE INDEX settled_at ON tollspan.settled (at);

-- Which period of an idle window an owner is in, by a digest of the budget and the owner.
CREATE TABLE tollspan.idle_periods (
    key     uuid PRIMARY KEY,
    period  text COLLATE "C" NOT NULL,
    account uuid, -- the key of the period's account, once somebody has said it
    ends_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX idle_periods_ends_at ON tollspan.idle_periods (ends_at);

-- Shares of limits of which somebody was told that they are used.
CREATE TABLE tollspan.told (
    key    uuid NOT NULL,
    share  numeric NOT NULL,
    teller uuid NOT NULL,
    PRIMARY KEY (key, share)
);

-- A single row: how far accounts were looked through.
CREATE TABLE tollspan.folding (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    state   text NOT NULL DEFAULT '',
    cursor  uuid -- the last account that was shown
);
INSERT INTO tollspan.folding DEFAULT VALUES;
"""

_MIGRATIONS: Final = (_TABLES + FUNCTIONS,)
"""What leads from each format to the next; before the first there is nothing."""


def migration(version: int) -> str:
    """Return the statements that lead from a format to the newest one; none when it is that."""
    return "\n".join(_MIGRATIONS[version:])
