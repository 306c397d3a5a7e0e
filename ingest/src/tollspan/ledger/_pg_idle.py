"""The PostgreSQL authority's function for idle windows. Its lock comes before those of leases."""

from __future__ import annotations

from typing import Final

IDLE_FUNCTIONS: Final = """
-- Forget owners that are silent for long, but none in whose period anything is held. It waits for
-- nobody.
CREATE FUNCTION tollspan.forget_idle_v1(before timestamptz, most integer) RETURNS void
LANGUAGE sql AS $$
    DELETE FROM tollspan.idle_periods WHERE key IN (
        SELECT key FROM tollspan.idle_periods AS owners
        WHERE ends_at < before AND NOT EXISTS (
            SELECT FROM tollspan.accounts AS a WHERE a.key = owners.account AND a.held > 0
        )
        ORDER BY ends_at LIMIT most FOR UPDATE SKIP LOCKED
    )
$$;

-- Note that an owner is active, and name its period. Which account is that period's is known from
-- holders who go by it: they say so with their questions.
CREATE FUNCTION tollspan.touch_v1(q jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    until timestamptz := tollspan.begin_v1(q);
    here tollspan.authority;
    has tollspan.idle_periods;
    said text COLLATE "C" := q->>'period';
    is_known boolean := (q->>'is_known')::boolean;
    is_look boolean := (q->>'is_look')::boolean;
    over text[];
    at timestamptz;
    answer jsonb;
    current text COLLATE "C";
    latest timestamptz;
BEGIN
    SELECT * INTO here FROM tollspan.authority;
    IF NOT is_look THEN
        IF here.epoch IS NULL THEN
            RETURN jsonb_build_object('is', 'closed', 'why', here.closed_why);
        END IF;
        answer := tollspan.older_v1(q, here.epoch);
        IF answer IS NOT NULL THEN
            RETURN answer;
        END IF;
    END IF;
    LOOP
        PERFORM tollspan.hurry_v1(until);
        SELECT * INTO has FROM tollspan.idle_periods
        WHERE key = (q->>'key')::uuid FOR NO KEY UPDATE;
        EXIT WHEN FOUND OR is_look;
        INSERT INTO tollspan.idle_periods (key, period, ends_at)
        VALUES ((q->>'key')::uuid, said, '-infinity') ON CONFLICT DO NOTHING RETURNING * INTO has;
        EXIT WHEN FOUND;
    END LOOP;
    at := tollspan.now_v1();
    latest := at + make_interval(secs => (q->>'lasts')::float8);
    IF NOT is_look THEN
        over := tollspan.due_v1(at, 16);
        PERFORM tollspan.lock_v1(tollspan.keys_v1(over), until);
        PERFORM tollspan.age_v1(over, at);
    END IF;
    IF has.period IS NULL OR has.ends_at = '-infinity'
        OR is_known AND right(said, 16) > right(has.period, 16) THEN
        current := said;
    ELSIF is_known OR at < has.ends_at OR EXISTS (
        SELECT FROM tollspan.accounts WHERE key = has.account AND held > 0
    ) THEN
        current := has.period;
    ELSIF right(said, 16) > right(has.period, 16) THEN
        current := said;
    ELSE
        current := left(said, -16) || lpad((right(has.period, 16)::bigint + 1)::text, 16, '0');
    END IF;
    IF is_look THEN
        RETURN jsonb_build_object('is', 'done', 'period', current);
    END IF;
    UPDATE tollspan.idle_periods
    SET period = current, ends_at = greatest(
            latest - make_interval(secs => (q->>'ago')::float8), least(ends_at, latest)
        ),
        account = CASE
            WHEN current = said THEN (q->>'account')::uuid WHEN current = period THEN account
        END
    WHERE key = has.key;
    PERFORM tollspan.forget_idle_v1(at - make_interval(secs => (q->>'memory')::float8), 4);
    RETURN tollspan.stamp_v1(
        jsonb_build_object('is', 'done', 'period', current), here.epoch
    );
END $$;
"""
