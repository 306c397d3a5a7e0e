"""The PostgreSQL authority's functions for folding accounts.

They wait for no account that somebody has locked, so they are in nobody's way; sums that accounts
are folded into are locked by those who fold alone, in the order of their keys.
"""

from __future__ import annotations

from typing import Final

FOLD_FUNCTIONS: Final = """
CREATE FUNCTION tollspan.look_v1(q jsonb) RETURNS jsonb
STABLE LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
    WITH page AS MATERIALIZED (
        SELECT a.* FROM tollspan.accounts AS a, tollspan.folding AS f
        WHERE a.key > coalesce(f.cursor, '00000000-0000-0000-0000-000000000000')
        ORDER BY a.key LIMIT (q->>'most')::integer
    )
    SELECT jsonb_build_object(
        'is', 'done', 'state', f.state,
        'now', trunc(extract(epoch FROM tollspan.now_v1())::numeric * 1000000000),
        'cursor', CASE WHEN (SELECT count(*) FROM page) = (q->>'most')::integer
            THEN (SELECT key FROM page ORDER BY key DESC LIMIT 1) END,
        'rows', (
            SELECT coalesce(jsonb_agg(jsonb_build_array(
                budget_id, scope, period, unit, posted, mark
            )), '[]')
            FROM page WHERE held = 0 AND unresolved = 0
        )
    )
    FROM tollspan.folding AS f
$$;

CREATE FUNCTION tollspan.accounts_v1(q jsonb) RETURNS jsonb
STABLE LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
    WITH page AS MATERIALIZED (
        SELECT * FROM tollspan.accounts
        WHERE key > coalesce(q->>'after', '00000000-0000-0000-0000-000000000000')::uuid
        ORDER BY key LIMIT (q->>'most')::integer
    )
    SELECT jsonb_build_object(
        'is', 'done',
        'cursor', CASE WHEN (SELECT count(*) FROM page) = (q->>'most')::integer
            THEN (SELECT key FROM page ORDER BY key DESC LIMIT 1) END,
        'rows', (
            SELECT coalesce(jsonb_agg(jsonb_build_array(
                budget_id, scope, period, unit, posted, held, unresolved
            ) ORDER BY key), '[]')
            FROM page
        )
    )
$$;

CREATE FUNCTION tollspan.fold_v1(q jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    free uuid[];
    running uuid[];
BEGIN
    PERFORM tollspan.begin_v1(q);
    UPDATE tollspan.folding SET state = q->>'state', cursor = (q->>'cursor')::uuid
    WHERE state = q->>'was';
    IF NOT FOUND THEN
        RETURN jsonb_build_object('is', 'done', 'is_done', false);
    END IF;
    free := array(
        SELECT a.key FROM tollspan.accounts AS a
        JOIN jsonb_to_recordset(q->'orders') AS told (key uuid, posted numeric, mark bigint)
            ON a.key = told.key AND a.posted = told.posted AND a.mark = told.mark
        WHERE a.held = 0 AND a.unresolved = 0
        FOR UPDATE OF a SKIP LOCKED
    );
    -- Of idle windows: in these periods their owners are.
    running := array(
        SELECT told.key
        FROM jsonb_to_recordset(q->'orders') AS told (key uuid, owner uuid, owned text)
        JOIN tollspan.idle_periods AS i ON i.key = told.owner AND i.period = told.owned
    );
    UPDATE tollspan.accounts AS a SET mark = 0
    WHERE a.key = ANY (free) AND a.key = ANY (running) AND a.mark <> 0;
    free := array(SELECT unnest(free) EXCEPT SELECT unnest(running));
    UPDATE tollspan.accounts AS a SET mark = told.next_mark
    FROM jsonb_to_recordset(q->'orders') AS told (key uuid, next_mark bigint)
    WHERE a.key = told.key AND a.key = ANY (free) AND told.next_mark IS NOT NULL;
    INSERT INTO tollspan.accounts AS sums (key, budget_id, scope, period, unit, posted)
    SELECT told.into_key, min(told.budget_id), min(told.scope), min(told.period), min(told.unit),
           sum(a.posted)
    FROM jsonb_to_recordset(q->'orders') AS told (
        key uuid, next_mark bigint,
        into_key uuid, budget_id text, scope text, period text, unit text
    )
    JOIN tollspan.accounts AS a ON a.key = told.key
    WHERE a.key = ANY (free) AND told.next_mark IS NULL AND told.into_key IS NOT NULL
    GROUP BY told.into_key ORDER BY told.into_key
    ON CONFLICT (key) DO UPDATE SET posted = sums.posted + excluded.posted;
    free := array(
        SELECT told.key
        FROM jsonb_to_recordset(q->'orders') AS told (key uuid, next_mark bigint)
        WHERE told.key = ANY (free) AND told.next_mark IS NULL
    );
    DELETE FROM tollspan.told WHERE key = ANY (free);
    DELETE FROM tollspan.accounts WHERE key = ANY (free);
    PERFORM tollspan.forget_idle_v1(
        tollspan.now_v1() - make_interval(secs => (q->>'memory')::float8), (q->>'owners')::integer
    );
    RETURN jsonb_build_object('is', 'done', 'is_done', true);
END $$;
"""
