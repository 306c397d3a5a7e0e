"""The SQLite ledger's tables. Accounts are derived: events and open holds are the facts.

Triggers keep the accounts' sums, so that a hold or an event is one statement with a transaction of
its own. SQLite runs it without Python's lock: a program that is busy in other threads never keeps
the file from other processes while it waits for its turn.
"""

from __future__ import annotations

import sqlite3

VERSION = 7

_TABLES = """
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE accounts (
    id         INTEGER PRIMARY KEY,
    budget_id  TEXT NOT NULL,
    scope      TEXT NOT NULL,
    period     TEXT NOT NULL,
    unit       TEXT NOT NULL,
    most       INTEGER NOT NULL, -- the limit that was asked for last
    posted     INTEGER NOT NULL DEFAULT 0,
    held       INTEGER NOT NULL DEFAULT 0,
    unresolved INTEGER NOT NULL DEFAULT 0,
    mark       INTEGER NOT NULL DEFAULT 0, -- of whoever folds: 0 since anything changed
    UNIQUE (budget_id, scope, period, unit)
);

-- A row is a hold in one account: open (state 0), unresolved (state 1) when its process died, or
-- deferred (state 2): it is a job's, nobody's process, and counts as held.
-- The hold of a lease has the lease's id for its call, and shrinks by what is spent out of it.
CREATE TABLE holds (
    call_id            TEXT NOT NULL,
    account_id         INTEGER NOT NULL,
    amount             INTEGER NOT NULL,
    owner              TEXT NOT NULL,
    started_at_unix_ns INTEGER NOT NULL,
    state              INTEGER NOT NULL DEFAULT 0,
    granted            INTEGER NOT NULL DEFAULT 0, -- all that a lease ever got; 0 if given up
    PRIMARY KEY (call_id, account_id)
) WITHOUT ROWID;

-- Calls that were accepted as jobs and have not been seen to end: `data` is the deferred hold in
-- JSON. Several calls may be one job.
CREATE TABLE jobs (
    call_id             TEXT NOT NULL PRIMARY KEY,
    provider            TEXT NOT NULL,
    job_id              TEXT NOT NULL,
    part                INTEGER NOT NULL,
    deferred_at_unix_ns INTEGER NOT NULL,
    data                BLOB NOT NULL,
    UNIQUE (provider, job_id, part)
) WITHOUT ROWID;

-- What is inserted here becomes a job, once; see the trigger `deferred`.
CREATE VIEW deferrals AS
    SELECT call_id, provider, job_id, part, deferred_at_unix_ns, data,
           '' AS lease_id, '' AS legs, 0 AS started_at_unix_ns
    FROM jobs;

-- Facts, never changed: `data` is the event in JSON, the columns are for finding it. What is of
-- kind `total`, or `sent` if that was sent event by event, stands for many that are not here.
CREATE TABLE events (
    seq          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    kind         TEXT NOT NULL,
    time_unix_ns INTEGER NOT NULL,
    cost_nanousd INTEGER,
    data         BLOB NOT NULL
);

-- Of events that were folded into totals, the ids: such an event is not stored again.
CREATE TABLE folded_ids (
    id            TEXT PRIMARY KEY,
    until_unix_ns INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX folded_until ON folded_ids (until_unix_ns);

-- A single row: what is to be folded, while that is done.
CREATE TABLE event_folds (
    orders TEXT
);
INSERT INTO event_folds VALUES (NULL);

-- Shares of limits of which somebody was told that they are used.
CREATE TABLE milestones (
    budget_id TEXT NOT NULL,
    scope     TEXT NOT NULL,
    period    TEXT NOT NULL,
    unit      TEXT NOT NULL,
    share     TEXT NOT NULL,
    PRIMARY KEY (budget_id, scope, period, unit, share)
) WITHOUT ROWID;

-- Which period of an idle window an owner is in, and until when it lasts if nobody says otherwise.
CREATE TABLE idle_periods (
    budget_id       TEXT NOT NULL,
    scope           TEXT NOT NULL,
    period          TEXT NOT NULL,
    ends_at_unix_ns INTEGER NOT NULL,
    PRIMARY KEY (budget_id, scope)
) WITHOUT ROWID;

CREATE INDEX idle_ends ON idle_periods (ends_at_unix_ns);

-- What should not happen, counted: calls that went past the gate, our own failures.
CREATE TABLE sightings (
    kind         TEXT NOT NULL,
    name         TEXT NOT NULL,
    count        INTEGER NOT NULL,
    last_unix_ns INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;

-- Events that a server would not take.
CREATE TABLE dead_letters (
    destination TEXT NOT NULL,
    event_id    TEXT NOT NULL,
    reason      TEXT NOT NULL,
    message     TEXT NOT NULL,
    at_unix_ns  INTEGER NOT NULL,
    is_wanted   INTEGER NOT NULL DEFAULT 0, -- to be sent again
    PRIMARY KEY (destination, event_id)
) WITHOUT ROWID;

-- A single row: how far accounts were looked through, and while that is done, what is to be folded.
CREATE TABLE folding (
    state  TEXT NOT NULL,
    cursor INTEGER NOT NULL,
    orders TEXT
);
INSERT INTO folding VALUES ('', 0, NULL);
"""


_TRIGGERS = (
    """
CREATE TRIGGER held AFTER INSERT ON holds BEGIN
    UPDATE accounts SET
        held = held + new.amount * (new.state <> 1),
        unresolved = unresolved + new.amount * (new.state = 1),
        mark = 0
    WHERE id = new.account_id;
END
""",
    """
CREATE TRIGGER settled AFTER DELETE ON holds BEGIN
    UPDATE accounts SET
        held = held - old.amount * (old.state <> 1),
        unresolved = unresolved - old.amount * (old.state = 1),
        mark = 0
    WHERE id = old.account_id;
END
""",
    """
CREATE TRIGGER orphaned AFTER UPDATE OF state ON holds WHEN old.state <> 1 AND new.state = 1 BEGIN
    UPDATE accounts SET
        held = held - old.amount,
        unresolved = unresolved + old.amount
    WHERE id = old.account_id;
END
""",
    """
CREATE TRIGGER changed AFTER UPDATE OF amount ON holds BEGIN
    UPDATE accounts SET
        held = held + (new.amount - old.amount) * (new.state <> 1),
        unresolved = unresolved + (new.amount - old.amount) * (new.state = 1),
        mark = 0
    WHERE id = new.account_id;
    DELETE FROM holds
    WHERE call_id = new.call_id AND account_id = new.account_id
      AND new.amount = 0 AND (new.state = 1 OR new.granted = 0);
END
""",
    # The hold of the call's own becomes the job's; so does what its process's lease has for it,
    # which becomes one. In one statement: at no instant it is counted twice or not at all.
    """
CREATE TRIGGER deferred INSTEAD OF INSERT ON deferrals
WHEN NOT EXISTS (
    SELECT 1 FROM jobs WHERE call_id = new.call_id
        OR (provider = new.provider AND job_id = new.job_id AND part = new.part)
) AND NOT EXISTS (SELECT 1 FROM events WHERE id = new.call_id)
  AND NOT EXISTS (SELECT 1 FROM folded_ids WHERE id = new.call_id) BEGIN
    INSERT INTO jobs VALUES (
        new.call_id, new.provider, new.job_id, new.part, new.deferred_at_unix_ns, new.data
    );
    UPDATE holds SET state = 2, owner = '' WHERE call_id = new.call_id AND state = 0;
    UPDATE holds SET amount = max(0, holds.amount - json_extract(leg.value, '$[4]'))
    FROM json_each(new.legs) AS leg JOIN accounts
      ON budget_id = json_extract(leg.value, '$[0]') AND scope = json_extract(leg.value, '$[1]')
     AND period = json_extract(leg.value, '$[2]') AND unit = json_extract(leg.value, '$[3]')
    WHERE new.lease_id <> '' AND holds.call_id = iif(leg.key >= 0, new.lease_id, '')
      AND holds.account_id = accounts.id;
    INSERT INTO holds (call_id, account_id, amount, owner, started_at_unix_ns, state)
    SELECT new.call_id, accounts.id, json_extract(leg.value, '$[4]'), '', new.started_at_unix_ns, 2
    FROM json_each(new.legs) AS leg JOIN accounts
      ON budget_id = json_extract(leg.value, '$[0]') AND scope = json_extract(leg.value, '$[1]')
     AND period = json_extract(leg.value, '$[2]') AND unit = json_extract(leg.value, '$[3]')
    WHERE new.lease_id <> '';
END
""",
    """
CREATE TRIGGER known BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM folded_ids WHERE id = new.id) BEGIN
    SELECT RAISE(IGNORE);
END
""",
    # A total charges nothing: its events did. It has the number of the first of them, so that it is
    # sent and settled, or not, as that was.
    """
CREATE TRIGGER events_folded AFTER UPDATE OF orders ON event_folds
WHEN new.orders IS NOT NULL BEGIN
    INSERT OR IGNORE INTO folded_ids
    SELECT json_extract(value, '$[1]'), json_extract(value, '$[2]')
    FROM json_each(new.orders, '$.rows') WHERE json_extract(value, '$[2]') IS NOT NULL;
    DELETE FROM events
    WHERE seq IN (SELECT json_extract(value, '$[0]') FROM json_each(new.orders, '$.rows'));
    INSERT INTO events
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
           json_extract(value, '$[3]'), json_extract(value, '$[4]'),
           CAST(json_extract(value, '$[5]') AS BLOB)
    FROM json_each(new.orders, '$.totals');
    UPDATE event_folds SET orders = NULL;
END
""",
    # A hold goes, or what an event says of its lease goes out of that, before anything is posted:
    # at no instant is it counted twice. The text is looked at before it is parsed for a lease: most
    # events have none. What one charge counts, and what a sum can reach, has an end: 63 bits.
    # The lease's id is taken from the same row as the charge: so its holds are found one by one by
    # their key, and not all of them, of every account that it has, are looked through.
    """
CREATE TRIGGER charged AFTER INSERT ON events WHEN new.kind IN ('usage', 'adjustment') BEGIN
    DELETE FROM holds WHERE call_id = new.id;
    DELETE FROM jobs WHERE call_id = new.id;
    DELETE FROM holds WHERE new.kind = 'adjustment'
        AND call_id = json_extract(CAST(new.data AS TEXT), '$.call_id');
    DELETE FROM jobs WHERE new.kind = 'adjustment' AND call_id IN (
        json_extract(CAST(new.data AS TEXT), '$.call_id'),
        json_extract(CAST(new.data AS TEXT), '$.lease_id') -- given up, then settled
    );
    UPDATE holds SET amount = max(0, holds.amount - spent.amount)
    FROM (
        SELECT json_extract(json_each.json, '$.lease_id') AS lease_id,
               accounts.id AS account_id,
               min(coalesce(
                   json_extract(value, '$.drawn'),
                   coalesce(json_extract(value, '$.posted'), 0)
                       + coalesce(json_extract(value, '$.unresolved'), 0)
               ), 1 << 60) AS amount
        FROM json_each(CAST(new.data AS TEXT), '$.charges') JOIN accounts
          ON budget_id = json_extract(value, '$.budget_id')
         AND scope = coalesce(json_extract(value, '$.scope'), '')
         AND period = coalesce(json_extract(value, '$.period'), '')
         AND unit = coalesce(json_extract(value, '$.unit'), 'usd')
        WHERE instr(new.data, CAST('"lease_id":"' AS BLOB))
    ) AS spent
    WHERE instr(new.data, CAST('"lease_id":"' AS BLOB))
      AND holds.call_id = spent.lease_id AND holds.account_id = spent.account_id;
    INSERT INTO accounts
        (budget_id, scope, period, unit, most, posted, unresolved)
    SELECT json_extract(value, '$.budget_id'),
           coalesce(json_extract(value, '$.scope'), ''),
           coalesce(json_extract(value, '$.period'), ''),
           coalesce(json_extract(value, '$.unit'), 'usd'),
           0,
           min(coalesce(json_extract(value, '$.posted'), 0), 1 << 60),
           min(coalesce(json_extract(value, '$.unresolved'), 0), 1 << 60)
    FROM json_each(CAST(new.data AS TEXT), '$.charges') WHERE true
    ON CONFLICT (budget_id, scope, period, unit) DO UPDATE SET
        posted = min(posted + excluded.posted, 1 << 62),
        unresolved = min(unresolved + excluded.unresolved, 1 << 62),
        mark = 0;
END
""",
    # What goes is marked first, so that all that follows is about the same rows. The newest row
    # never goes: no other account may ever get the number of one that is gone, which connections
    # may still have in mind. A row in which nothing is held may have a hold of nothing. One whose
    # owner is in its period, of an idle window, or in that beside which it is an allowance, has no
    # mark and stays.
    """
CREATE TRIGGER folded AFTER UPDATE OF orders ON folding WHEN new.orders IS NOT NULL BEGIN
    UPDATE accounts SET mark = iif(
        EXISTS (
            SELECT 1 FROM idle_periods AS i
            WHERE i.budget_id = accounts.budget_id AND i.scope = accounts.scope
              AND accounts.period IN (i.period, i.period || '+allowance')
        ), 0, json_extract(told.value, '$[6]')
    )
    FROM json_each(new.orders) AS told
    WHERE budget_id = json_extract(told.value, '$[0]')
      AND scope = json_extract(told.value, '$[1]')
      AND period = json_extract(told.value, '$[2]')
      AND unit = json_extract(told.value, '$[3]')
      AND posted = json_extract(told.value, '$[4]') AND held = 0 AND unresolved = 0
      AND mark = json_extract(told.value, '$[5]')
      AND (json_extract(told.value, '$[6]') > 0
        OR accounts.id < (SELECT max(id) FROM accounts)
           AND accounts.id NOT IN (SELECT account_id FROM holds WHERE amount = 0));
    INSERT INTO accounts (budget_id, scope, period, unit, most, posted)
    SELECT json_extract(told.value, '$[7]'), json_extract(told.value, '$[8]'),
           json_extract(told.value, '$[9]'), unit, 0, posted
    FROM json_each(new.orders) AS told JOIN accounts
      ON budget_id = json_extract(told.value, '$[0]')
     AND scope = json_extract(told.value, '$[1]')
     AND period = json_extract(told.value, '$[2]')
     AND unit = json_extract(told.value, '$[3]')
    WHERE mark = -1 AND json_extract(told.value, '$[7]') IS NOT NULL
    ON CONFLICT (budget_id, scope, period, unit) DO UPDATE SET
        posted = min(posted + min(excluded.posted, (1 << 62) - 1), 1 << 62);
    DELETE FROM milestones WHERE (budget_id, scope, period, unit) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),
               json_extract(value, '$[2]'), json_extract(value, '$[3]')
        FROM json_each(new.orders) WHERE json_extract(value, '$[6]') = -1
    ) AND EXISTS (
        SELECT 1 FROM accounts AS a
        WHERE a.budget_id = milestones.budget_id AND a.scope = milestones.scope
          AND a.period = milestones.period AND a.unit = milestones.unit AND a.mark = -1
    );
    DELETE FROM accounts WHERE mark = -1 AND (budget_id, scope, period, unit) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),
               json_extract(value, '$[2]'), json_extract(value, '$[3]')
        FROM json_each(new.orders)
    );
    UPDATE folding SET orders = NULL;
END
""",
)


def is_there(connection: sqlite3.Connection) -> bool:
    """Say whether the file has the tables.

    Raises:
        sqlite3.DatabaseError: It has those of another tollspan.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found not in (0, VERSION):
        raise sqlite3.DatabaseError(
            f"the ledger has format {found}, this tollspan knows only {VERSION}: use the tollspan "
            "that made it, or have another ledger (TOLLSPAN_HOME)"
        )
    return bool(found == VERSION)


def create(connection: sqlite3.Connection) -> None:
    """Create the tables unless they are there; the caller has the write transaction."""
    if is_there(connection):
        return
    for statement in (*_TABLES.split(";\n"), *_TRIGGERS):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
