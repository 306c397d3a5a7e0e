"""The PostgreSQL authority's functions: each question is one call of one of them.

Locks are taken in one order everywhere, so that nobody ever waits in a circle: the opening lock
(shared, only `open` has it alone), the calls that are settled by digest, one lease, the accounts by
key. Leases of others are taken only where that needs no waiting. While an account is locked, what
leases have in it stands still too.

Rows are found by their keys. PostgreSQL takes any list in JSON for a hundred rows long, and would
rather read and hash a table of some ten thousand accounts than look for so many: so what calls use
may neither hash, merge, nor read tables through. Where it has to, in a table of one row, it takes
that for so dear that it would compile the query: it may not either.

Answers are facts that were committed. What refuses a holder for good (`lost`) is an answer as well,
not an error: what it changed is to stay.
"""

from __future__ import annotations

from typing import Final

from tollspan.budget import ROOM_SHARE

from ._pg_calls import CALL_FUNCTIONS
from ._pg_folding import FOLD_FUNCTIONS
from ._pg_idle import IDLE_FUNCTIONS

OPENING_LOCK: Final = "1953459315, 1"
"""The advisory lock that keeps questions out while the authority is opened."""

_COMMON: Final = """
-- The clock by which leases end.
CREATE FUNCTION tollspan.now_v1() RETURNS timestamptz LANGUAGE sql AS $$
    SELECT clock_timestamp()
$$;

-- Let no lock be waited for longer than until then.
CREATE FUNCTION tollspan.hurry_v1(until timestamptz) RETURNS void LANGUAGE sql AS $$
    SELECT set_config('lock_timeout', greatest(
        1, ceil(extract(epoch FROM until - clock_timestamp()) * 1000)
    )::bigint::text, true)
$$;

-- Begin a question: return until when it may wait.
CREATE FUNCTION tollspan.begin_v1(q jsonb) RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    until timestamptz := clock_timestamp() + make_interval(secs => (q->>'wait')::float8);
BEGIN
    PERFORM tollspan.hurry_v1(until);
    PERFORM pg_advisory_xact_lock_shared({OPENING_LOCK});
    RETURN until;
END $$;

-- Grant nothing any more; the next epoch sorts behind all that was ever seen.
CREATE FUNCTION tollspan.shut_v1(why text, seen text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tollspan.authority
    SET epoch = NULL, closed_why = why,
        last_epoch = greatest(last_epoch, epoch, seen COLLATE "C");
    RETURN jsonb_build_object('is', 'lost', 'why', why);
END $$;

-- What has changed here counts up, so that a client can tell an older state: it says what it saw
-- last, and in which epoch. The count of our own goes with a dump; the server's count of
-- transactions goes with the server's files, and is exact for a standby that took over too early.
CREATE FUNCTION tollspan.older_v1(q jsonb, current_epoch text) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    seen text := q->>'seen_epoch';
    has_counted bigint := nextval('tollspan.serial');
BEGIN
    IF current_epoch IS NULL OR seen IS NULL OR seen COLLATE "C" < current_epoch THEN
        RETURN NULL;
    END IF;
    IF seen = current_epoch AND has_counted > (q->>'serial')::bigint
        AND pg_current_xact_id()::text::bigint > (q->>'xact')::bigint THEN
        RETURN NULL;
    END IF;
    RETURN tollspan.shut_v1('its state is older than what its holders were told', seen);
END $$;

-- Say with an answer how far it has counted: only where something was written, which a commit makes
-- last. What else was counted a crash may take back.
CREATE FUNCTION tollspan.stamp_v1(answer jsonb, current_epoch text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT answer || jsonb_build_object(
        'seen_epoch', current_epoch, 'serial', currval('tollspan.serial'),
        'xact', pg_current_xact_id()::text::bigint
    )
$$;

-- Lock accounts in the order of their keys; make those that are not there, if they are named. One
-- that is told by its key alone, of a lease that has something there, was folded: it has nothing.
CREATE FUNCTION tollspan.lock_v1(named jsonb, until timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT DISTINCT ON (key) * FROM jsonb_to_recordset(named)
            AS names (key uuid, budget_id text, scope text, period text, unit text)
        ORDER BY key, budget_id
    LOOP
        PERFORM tollspan.hurry_v1(until);
        PERFORM 1 FROM tollspan.accounts WHERE key = one.key FOR NO KEY UPDATE;
        CONTINUE WHEN FOUND OR one.budget_id IS NULL;
        INSERT INTO tollspan.accounts (key, budget_id, scope, period, unit)
        VALUES (one.key, one.budget_id, one.scope, one.period, one.unit)
        ON CONFLICT DO NOTHING;
        CONTINUE WHEN FOUND;
        PERFORM 1 FROM tollspan.accounts WHERE key = one.key FOR NO KEY UPDATE;
    END LOOP;
END $$;

-- Name the accounts in which leases have something.
CREATE FUNCTION tollspan.keys_v1(ids text[]) RETURNS jsonb LANGUAGE sql AS $$
    SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object('key', key)), '[]')
    FROM tollspan.parts WHERE lease_id = ANY (ids)
$$;

-- Find leases that are due, and lock those that nobody has locked.
CREATE FUNCTION tollspan.due_v1(at timestamptz, most integer) RETURNS text[] LANGUAGE sql AS $$
    SELECT array(
        SELECT id FROM tollspan.leases WHERE due_at <= at ORDER BY due_at LIMIT most
        FOR NO KEY UPDATE SKIP LOCKED
    )
$$;

-- Lead leases to their next state: what an open one holds becomes unresolved, what is unresolved is
-- taken for spent, and in the end nothing is known of it; and so on, while they are due for more.
-- They and their accounts are locked.
CREATE FUNCTION tollspan.age_v1(ids text[], at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    due text[] := ids;
BEGIN
    LOOP
        UPDATE tollspan.accounts AS a
        SET held = a.held - had.was_held,
            unresolved = a.unresolved + had.was_held - had.was_unresolved,
            posted = a.posted + had.was_unresolved,
            mark = 0
        FROM (
            SELECT p.key,
                   coalesce(sum(p.amount) FILTER (WHERE l.state = 0), 0) AS was_held,
                   coalesce(sum(p.amount) FILTER (WHERE l.state = 1), 0) AS was_unresolved
            FROM tollspan.parts AS p JOIN tollspan.leases AS l ON l.id = p.lease_id
            WHERE p.lease_id = ANY (due) AND l.state < 2 AND p.amount > 0 GROUP BY p.key
        ) AS had
        WHERE a.key = had.key;
        DELETE FROM tollspan.parts AS p USING tollspan.leases AS l
        WHERE p.lease_id = ANY (due) AND l.id = p.lease_id AND (p.amount = 0 OR l.state = 2);
        DELETE FROM tollspan.leases WHERE id = ANY (due) AND state = 2;
        UPDATE tollspan.leases
        SET state = state + 1,
            ended_at = coalesce(ended_at, least(due_at, at)),
            due_at = coalesce(ended_at, least(due_at, at)) + horizon
                + CASE state WHEN 1 THEN interval '35 days' ELSE interval '0' END
        WHERE id = ANY (due);
        due := array(SELECT id FROM tollspan.leases WHERE id = ANY (due) AND due_at <= at);
        EXIT WHEN due = '{}';
    END LOOP;
END $$;
""".replace("{OPENING_LOCK}", OPENING_LOCK)

# What a holder says of a lease is compared with what is known. `q` has lease, epoch, heard, and in
# `parts` what it knows of each part.
_LEASES: Final = """
-- Say why a lease is lost; null when it is not. Locked: the lease.
CREATE FUNCTION tollspan.lost_v1(
    q jsonb, has tollspan.leases, current_epoch text, is_stale_lost boolean
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    seen text := q->>'epoch';
    heard bigint := (q->>'heard')::bigint;
    some_stale boolean;
    some_unknown boolean;
BEGIN
    IF seen COLLATE "C" < current_epoch THEN
        RETURN jsonb_build_object('is', 'lost', 'why', 'it is of an older epoch');
    END IF;
    IF heard > coalesce(has.grants, 0) OR seen COLLATE "C" > current_epoch THEN
        RETURN tollspan.shut_v1('a holder knows of grants that are not known here', seen);
    END IF;
    IF has.state > 0 OR has.due_at <= tollspan.now_v1() THEN
        RETURN jsonb_build_object('is', 'lost', 'why', 'it is over');
    END IF;
    SELECT bool_or(w.is_stale), bool_or(NOT w.is_stale AND w.known > w.granted)
    INTO some_stale, some_unknown
    FROM (
        SELECT said.known,
               CASE WHEN p.number = said.part THEN p.granted ELSE 0 END AS granted,
               CASE WHEN p.key IS NULL
                   THEN said.known > 0 AND said.part <= coalesce(has.given_up, 0)
                   ELSE p.number > said.part OR p.number = said.part AND p.is_given_up
               END AS is_stale
        FROM jsonb_to_recordset(q->'parts') AS said (key uuid, part bigint, known numeric)
        LEFT JOIN tollspan.parts AS p ON p.lease_id = q->>'lease' AND p.key = said.key
    ) AS w;
    IF some_unknown THEN
        RETURN tollspan.shut_v1('a holder knows of grants that are not known here', seen);
    END IF;
    IF some_stale AND is_stale_lost THEN
        RETURN jsonb_build_object('is', 'lost', 'why', 'a part of it was given up');
    END IF;
    RETURN NULL;
END $$;

-- How accounts stand against what is wanted; `gives` is what would be granted. What an answer that
-- got lost has granted counts.
CREATE FUNCTION tollspan.standing_v1(q jsonb) RETURNS TABLE (
    nth integer, key uuid, part bigint, is_soft boolean, fits boolean, gives numeric,
    posted numeric, held numeric, unresolved numeric
) STABLE LANGUAGE sql AS $$
    SELECT w.nth, w.key, w.part, w.is_soft,
           w.most > 0 AND (more.is_told_again OR more.need <= more.room),
           CASE WHEN more.is_told_again THEN 0 ELSE greatest(
               more.need, least(w.wish - (w.need - more.need), div(more.room, {share}))
           ) END,
           a.posted, a.held, a.unresolved
    FROM jsonb_to_recordset(q->'parts') AS w (
        nth integer, key uuid, part bigint, is_soft boolean,
        known numeric, need numeric, wish numeric, most numeric
    )
    JOIN tollspan.accounts AS a ON a.key = w.key
    LEFT JOIN tollspan.parts AS p
        ON p.lease_id = q->>'lease' AND p.key = w.key AND p.number = w.part
    CROSS JOIN LATERAL (
        SELECT coalesce(p.granted, 0) - w.known AS surplus
    ) AS had
    CROSS JOIN LATERAL (
        SELECT greatest(0, w.need - had.surplus) AS need,
               had.surplus > 0 AND had.surplus >= w.need AS is_told_again,
               w.most - a.posted - a.held - a.unresolved AS room
    ) AS more
$$;

CREATE FUNCTION tollspan.grant_v1(q jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
DECLARE
    until timestamptz := tollspan.begin_v1(q);
    here tollspan.authority;
    has tollspan.leases;
    over text[];
    at timestamptz;
    answer jsonb;
    hard jsonb;
    short jsonb;
BEGIN
    SELECT * INTO here FROM tollspan.authority;
    IF here.epoch IS NULL THEN
        RETURN jsonb_build_object('is', 'closed', 'why', here.closed_why);
    END IF;
    answer := tollspan.older_v1(q, here.epoch);
    IF answer IS NOT NULL THEN
        RETURN answer;
    END IF;
    LOOP
        PERFORM tollspan.hurry_v1(until);
        SELECT * INTO has FROM tollspan.leases WHERE id = q->>'lease' FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO tollspan.leases (id, due_at, horizon)
        VALUES (q->>'lease', 'infinity', make_interval(secs => (q->>'horizon')::float8))
        ON CONFLICT DO NOTHING RETURNING * INTO has;
        EXIT WHEN FOUND;
    END LOOP;
    at := tollspan.now_v1();
    over := tollspan.due_v1(at, 16);
    IF has.due_at <= at AND has.state = 0 AND has.id <> ALL (over) THEN
        over := over || has.id;
    END IF;
    answer := tollspan.lost_v1(q, has, here.epoch, true);
    PERFORM tollspan.lock_v1(
        CASE WHEN answer IS NULL THEN q->'parts' ELSE '[]' END || tollspan.keys_v1(over), until
    );
    IF over <> '{}' THEN
        PERFORM tollspan.age_v1(over, at);
    END IF;
    IF answer IS NULL THEN
        SELECT jsonb_agg(said ORDER BY nth) FILTER (WHERE NOT fits AND NOT is_soft),
               jsonb_agg(said ORDER BY nth) FILTER (WHERE NOT fits AND is_soft)
        INTO hard, short
        FROM (
            SELECT *, jsonb_build_array(nth, posted, held, unresolved) AS said
            FROM tollspan.standing_v1(q)
        ) AS standing;
    END IF;
    IF answer IS NOT NULL OR hard IS NOT NULL THEN
        DELETE FROM tollspan.leases WHERE id = has.id AND due_at = 'infinity';
        RETURN coalesce(answer, jsonb_build_object('is', 'refused', 'short', hard));
    END IF;
    WITH standing AS MATERIALIZED (
        SELECT * FROM tollspan.standing_v1(q)
    ), holding AS (
        UPDATE tollspan.accounts AS a SET held = a.held + s.gives, mark = 0
        FROM standing AS s WHERE a.key = s.key
    ), granting AS (
        INSERT INTO tollspan.parts AS p (lease_id, key, number, amount, granted)
        SELECT has.id, s.key, s.part, s.gives, s.gives FROM standing AS s
        ON CONFLICT (lease_id, key) DO UPDATE SET
            number = excluded.number,
            amount = p.amount + excluded.amount,
            granted = excluded.granted
                + CASE WHEN p.number = excluded.number THEN p.granted ELSE 0 END,
            returned = CASE WHEN p.number = excluded.number THEN p.returned ELSE 0 END,
            is_given_up = false
        RETURNING p.key, p.granted
    )
    SELECT jsonb_agg(g.granted ORDER BY s.nth) INTO answer
    FROM granting AS g JOIN standing AS s ON s.key = g.key;
    UPDATE tollspan.leases
    SET grants = grants + 1,
        due_at = tollspan.now_v1() + make_interval(secs => (q->>'life')::float8),
        horizon = make_interval(secs => (q->>'horizon')::float8)
    WHERE id = has.id;
    RETURN tollspan.stamp_v1(jsonb_build_object(
        'is', 'granted', 'totals', coalesce(answer, '[]'), 'short', coalesce(short, '[]'),
        'number', has.grants + 1
    ), here.epoch);
END $$;

CREATE FUNCTION tollspan.give_back_v1(q jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
DECLARE
    until timestamptz := tollspan.begin_v1(q);
    here tollspan.authority;
    has tollspan.leases;
    is_over boolean;
    answer jsonb;
BEGIN
    SELECT * INTO here FROM tollspan.authority;
    IF here.epoch IS NULL THEN
        RETURN jsonb_build_object('is', 'closed', 'why', here.closed_why);
    END IF;
    answer := tollspan.older_v1(q, here.epoch);
    IF answer IS NOT NULL THEN
        RETURN answer;
    END IF;
    PERFORM tollspan.hurry_v1(until);
    SELECT * INTO has FROM tollspan.leases WHERE id = q->>'lease' FOR NO KEY UPDATE;
    is_over := has.state = 0 AND has.due_at <= tollspan.now_v1();
    answer := tollspan.lost_v1(q, has, here.epoch, false);
    IF is_over THEN
        PERFORM tollspan.lock_v1(tollspan.keys_v1(array[has.id]), until);
        PERFORM tollspan.age_v1(array[has.id], has.due_at);
    END IF;
    IF answer IS NOT NULL OR has.id IS NULL THEN
        RETURN coalesce(answer, jsonb_build_object('is', 'done'));
    END IF;
    -- Accounts that are not there have no part either.
    PERFORM tollspan.lock_v1(
        (SELECT coalesce(jsonb_agg(said), '[]') FROM jsonb_array_elements(q->'parts') AS said
         JOIN tollspan.parts AS p ON p.lease_id = has.id AND p.key = (said->>'key')::uuid),
        until
    );
    WITH gave AS MATERIALIZED (
        SELECT p.key, p.number, said.is_last, greatest(0, said.total - p.returned) AS returned,
               least(p.amount, greatest(0, said.total - p.returned) + CASE
                   WHEN said.is_last AND said.told IS NOT NULL THEN p.granted - said.told ELSE 0
               END) AS taken
        FROM jsonb_to_recordset(q->'parts') AS said (
            key uuid, part bigint, total numeric, told numeric, is_last boolean
        )
        JOIN tollspan.parts AS p
            ON p.lease_id = has.id AND p.key = said.key AND p.number = said.part
        WHERE NOT p.is_given_up
    ), freeing AS (
        UPDATE tollspan.accounts AS a SET held = a.held - g.taken, mark = 0
        FROM gave AS g WHERE a.key = g.key AND g.taken > 0
    ), taking AS (
        UPDATE tollspan.parts AS p
        SET amount = p.amount - g.taken, returned = p.returned + g.returned,
            is_given_up = g.is_last
        FROM gave AS g WHERE p.lease_id = has.id AND p.key = g.key
    )
    UPDATE tollspan.leases AS l
    SET due_at = tollspan.now_v1() + make_interval(secs => (q->>'life')::float8),
        given_up = greatest(l.given_up, (SELECT max(g.number) FROM gave AS g WHERE g.is_last))
    WHERE l.id = has.id;
    DELETE FROM tollspan.parts AS p
    USING jsonb_to_recordset(q->'parts') AS said (key uuid)
    WHERE p.lease_id = has.id AND p.key = said.key AND p.is_given_up AND p.amount = 0;
    RETURN tollspan.stamp_v1(jsonb_build_object('is', 'done'), here.epoch);
END $$;
""".replace("{share}", str(ROOM_SHARE))

ENTRANCES: Final = (
    "grant",
    "give_back",
    "settle",
    "expire",
    "unresolved",
    "resolve",
    "known_leases",
    "accounts",
    "balances",
    "is_first",
    "touch",
    "epoch",
    "look",
    "fold",
)
"""What clients call; the rest is called by these, or by whoever owns the schema."""

# Some databases take from everybody what PostgreSQL gives: the right to the schema is the door.
_RIGHTS: Final = "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA tollspan FROM PUBLIC;\n" + "\n".join(
    f"GRANT EXECUTE ON FUNCTION tollspan.{name}_v1(jsonb) TO PUBLIC;" for name in ENTRANCES
)

FUNCTIONS: Final = _COMMON + _LEASES + CALL_FUNCTIONS + IDLE_FUNCTIONS + FOLD_FUNCTIONS + _RIGHTS
