"""The PostgreSQL authority's functions for calls, ends of leases and questions of people.

Their locks are those of `_pg_functions`.
"""

from __future__ import annotations

from typing import Final

CALL_FUNCTIONS: Final = """
CREATE FUNCTION tollspan.settle_v1(q jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
DECLARE
    until timestamptz := tollspan.begin_v1(q);
    current_epoch text;
    fresh uuid[];
    charges jsonb;
BEGIN
    SELECT epoch INTO current_epoch FROM tollspan.authority;
    IF tollspan.older_v1(q, current_epoch) IS NOT NULL THEN
        current_epoch := NULL; -- shut, but what was spent was spent
    END IF;
    WITH counting AS (
        INSERT INTO tollspan.settled (key, at)
        SELECT DISTINCT (said->>'key')::uuid, tollspan.now_v1()
        FROM jsonb_array_elements(q->'calls') AS said ORDER BY 1
        ON CONFLICT DO NOTHING RETURNING key
    )
    SELECT array_agg(key) INTO fresh FROM counting;
    IF fresh IS NULL THEN
        RETURN jsonb_build_object('is', 'done');
    END IF;
    SELECT coalesce(jsonb_agg(to_jsonb(summed)), '[]') INTO charges
    FROM (
        SELECT call.lease, charge.key, min(charge.budget_id) AS budget_id,
               min(charge.scope) AS scope, min(charge.period) AS period, min(charge.unit) AS unit,
               sum(charge.posted) AS posted, sum(charge.unresolved) AS unresolved,
               sum(greatest(0, charge.drawn)) AS drawn
        FROM (
            SELECT DISTINCT ON (said->>'key') said->>'lease' AS lease, said->'charges' AS charges
            FROM jsonb_array_elements(q->'calls') AS said
            WHERE (said->>'key')::uuid = ANY (fresh) ORDER BY said->>'key'
        ) AS call
        CROSS JOIN LATERAL jsonb_to_recordset(call.charges) AS charge (
            key uuid, budget_id text, scope text, period text, unit text,
            posted numeric, unresolved numeric, drawn numeric
        )
        GROUP BY call.lease, charge.key
    ) AS summed;
    PERFORM tollspan.lock_v1(charges, until);
    WITH said AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(charges) AS one (
            lease text, key uuid, posted numeric, unresolved numeric, drawn numeric
        )
    ), drawn AS MATERIALIZED (
        SELECT p.lease_id, p.key, l.state, least(p.amount, said.drawn) AS amount
        FROM said
        JOIN tollspan.parts AS p ON p.lease_id = said.lease AND p.key = said.key
        JOIN tollspan.leases AS l ON l.id = p.lease_id
    ), drawing AS (
        UPDATE tollspan.parts AS p SET amount = p.amount - d.amount
        FROM drawn AS d WHERE p.lease_id = d.lease_id AND p.key = d.key
    ), summed AS (
        SELECT key, sum(posted) AS posted, sum(held) AS held, sum(unresolved) AS unresolved
        FROM (
            SELECT key, posted, 0 AS held, unresolved FROM said
            UNION ALL
            SELECT key,
                   CASE state WHEN 2 THEN -amount ELSE 0 END,
                   CASE state WHEN 0 THEN -amount ELSE 0 END,
                   CASE state WHEN 1 THEN -amount ELSE 0 END
            FROM drawn
        ) AS every GROUP BY key
    )
    UPDATE tollspan.accounts AS a
    SET posted = a.posted + s.posted, held = a.held + s.held,
        unresolved = a.unresolved + s.unresolved, mark = 0
    FROM summed AS s WHERE a.key = s.key;
    DELETE FROM tollspan.parts AS p
    USING jsonb_to_recordset(charges) AS said (lease text, key uuid), tollspan.leases AS l
    WHERE p.lease_id = said.lease AND p.key = said.key AND l.id = p.lease_id
        AND p.amount = 0 AND (p.is_given_up OR l.state > 0);
    RETURN tollspan.stamp_v1(jsonb_build_object('is', 'done'), current_epoch);
END $$;

-- End leases, take for spent what is beyond the horizon, and forget what is older than memory: a
-- bounded part of it all. `has_more` says to ask again.
CREATE FUNCTION tollspan.expire_v1(q jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
DECLARE
    until timestamptz := tollspan.begin_v1(q);
    over text[] := tollspan.due_v1(tollspan.now_v1(), 64);
    ended integer;
    forgotten integer;
BEGIN
    SELECT count(*) INTO ended FROM tollspan.leases WHERE id = ANY (over) AND state = 0;
    PERFORM tollspan.lock_v1(tollspan.keys_v1(over), until);
    PERFORM tollspan.age_v1(over, tollspan.now_v1());
    DELETE FROM tollspan.settled WHERE key IN (
        SELECT key FROM tollspan.settled
        WHERE at < tollspan.now_v1() - interval '35 days'
            - make_interval(secs => (q->>'horizon')::float8)
        ORDER BY at LIMIT 1000 FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN jsonb_build_object(
        'is', 'done', 'ended', ended, 'has_more', cardinality(over) > 0 OR forgotten > 0
    );
END $$;

CREATE FUNCTION tollspan.unresolved_v1(q jsonb) RETURNS jsonb
STABLE LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('is', 'done', 'left', coalesce(jsonb_agg(
        jsonb_build_array(
            p.lease_id, a.budget_id, a.scope, a.period, a.unit, p.amount,
            trunc(extract(epoch FROM l.ended_at)::numeric * 1000000000)
        ) ORDER BY l.ended_at, l.id, a.budget_id, a.scope, a.period
    ), '[]'))
    FROM tollspan.leases AS l
    JOIN tollspan.parts AS p ON p.lease_id = l.id
    JOIN tollspan.accounts AS a ON a.key = p.key
    WHERE l.state = 1
        AND trunc(extract(epoch FROM l.ended_at)::numeric * 1000000000) >= (q->>'since')::numeric
$$;

CREATE FUNCTION tollspan.resolve_v1(q jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
DECLARE
    until timestamptz := tollspan.begin_v1(q);
    amount_left numeric;
BEGIN
    PERFORM 1 FROM tollspan.leases
    WHERE id = q->>'lease' AND state = 1 FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('is', 'nothing');
    END IF;
    PERFORM tollspan.hurry_v1(until);
    PERFORM 1 FROM tollspan.accounts WHERE key = (q->>'key')::uuid FOR NO KEY UPDATE;
    DELETE FROM tollspan.parts
    WHERE lease_id = q->>'lease' AND key = (q->>'key')::uuid RETURNING amount INTO amount_left;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('is', 'nothing');
    END IF;
    UPDATE tollspan.accounts
    SET unresolved = unresolved - amount_left, posted = posted + (q->>'spent')::numeric, mark = 0
    WHERE key = (q->>'key')::uuid;
    RETURN jsonb_build_object('is', 'done');
END $$;

CREATE FUNCTION tollspan.known_leases_v1(q jsonb) RETURNS jsonb
STABLE LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('is', 'done', 'ids', coalesce(jsonb_agg(l.id), '[]'))
    FROM tollspan.leases AS l
    WHERE l.id = ANY (array(SELECT jsonb_array_elements_text(q->'ids')))
$$;

CREATE FUNCTION tollspan.balances_v1(q jsonb) RETURNS jsonb
STABLE LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
    SELECT jsonb_build_object('is', 'done', 'balances', coalesce(
        jsonb_object_agg(a.key, jsonb_build_array(a.posted, a.held, a.unresolved)), '{}'
    ))
    FROM tollspan.accounts AS a
    WHERE a.key = ANY (array(SELECT jsonb_array_elements_text(q->'keys')::uuid))
$$;

-- The first to tell is told so again when the answer was lost: tellers have names.
CREATE FUNCTION tollspan.is_first_v1(q jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first_teller uuid;
BEGIN
    PERFORM tollspan.begin_v1(q);
    INSERT INTO tollspan.told (key, share, teller)
    VALUES ((q->>'key')::uuid, (q->>'share')::numeric, (q->>'teller')::uuid)
    ON CONFLICT DO NOTHING;
    SELECT teller INTO first_teller FROM tollspan.told
    WHERE key = (q->>'key')::uuid AND share = (q->>'share')::numeric;
    RETURN jsonb_build_object('is', 'done', 'is_first', first_teller = (q->>'teller')::uuid);
END $$;

CREATE FUNCTION tollspan.epoch_v1(q jsonb) RETURNS jsonb
STABLE LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('is', 'done', 'epoch', epoch) FROM tollspan.authority
$$;

-- For whoever owns the schema, alone with it: end the leases of older epochs, and name the new one.
CREATE FUNCTION tollspan.open_v1(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    opened text;
BEGIN
    PERFORM tollspan.age_v1(
        array(SELECT id FROM tollspan.leases WHERE state = 0), tollspan.now_v1()
    );
    UPDATE tollspan.authority
    SET epoch = CASE WHEN name COLLATE "C" > last_epoch THEN name ELSE last_epoch || '+' END,
        last_epoch = CASE WHEN name COLLATE "C" > last_epoch THEN name ELSE last_epoch || '+' END,
        closed_why = NULL
    RETURNING epoch INTO opened;
    RETURN opened;
END $$;
"""
