"""What the server of PostgreSQL does by itself: one append to a saga, in one statement and so in one round trip.

A function keeps its name as long as it does the same. Another one gets the next number, so that hosts of two releases
can work side by side.
"""

from __future__ import annotations

from antistrophe.storage.portable_sql import SCHEMA

# The order matters. The transaction has its number before it draws a position, and a lock on the table of entries: by
# both, readers that go by positions know what may still come. The row of the saga is written, and so locked, under the
# conditions of an append: that it is at that seq, and belongs to that host by that token. A claim by another host
# writes the same row, so one of the two waits for the other, and finds that its condition no longer holds.
APPEND = f"""
CREATE FUNCTION {SCHEMA}.append_1(
    its_id text, expected bigint, own_host text, own_token bigint, wait_ms bigint,
    ats bigint[], kinds text[], packed bytea[], its_state bytea,
    changed boolean, its_status text, is_live boolean, is_final boolean, its_error text, its_waiting text,
    its_request text, its_name text, its_needs text[], its_digest bytea, its_shape bytea, shape_bytes bytea,
    OUT outcome text, OUT xid bigint, OUT at_position bigint, OUT at_seq bigint, OUT at_host text, OUT at_token bigint
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    many CONSTANT int := cardinality(packed);
    positions bigint[];
BEGIN
    IF wait_ms IS NOT NULL THEN
        PERFORM set_config('lock_timeout', wait_ms::text, true);
    END IF;
    xid := pg_current_xact_id()::text::bigint;
    LOCK TABLE {SCHEMA}.journal IN ROW EXCLUSIVE MODE;
    FOR n IN 1..many LOOP
        positions[n] := nextval('{SCHEMA}.journal_positions');
    END LOOP;
    at_position := positions[many];
    IF expected = 0 THEN
        INSERT INTO {SCHEMA}.sagas(
            accepted, id, request_id, name, status, seq, updated, finished, error, waiting, host, token, needs
        ) VALUES (
            positions[1], its_id, its_request, its_name, its_status, many, at_position,
            CASE WHEN NOT is_live THEN at_position END, its_error, its_waiting, own_host,
            CASE WHEN own_host IS NULL THEN 0 ELSE 1 END, its_needs
        ) ON CONFLICT (id) DO NOTHING;
    ELSE
        UPDATE {SCHEMA}.sagas SET
            seq = expected + many,
            updated = CASE WHEN changed THEN at_position ELSE updated END,
            error = CASE WHEN changed THEN its_error ELSE error END,
            waiting = CASE WHEN changed THEN its_waiting ELSE waiting END,
            finished = CASE
                WHEN NOT changed OR (status = its_status AND NOT is_final) THEN finished
                WHEN NOT is_live THEN at_position
            END,
            status = CASE WHEN changed THEN its_status ELSE status END
        WHERE id = its_id AND seq = expected AND (own_host IS NULL OR (host = own_host AND token = own_token));
    END IF;
    IF NOT FOUND THEN
        SELECT seq, host, token INTO at_seq, at_host, at_token FROM {SCHEMA}.sagas WHERE id = its_id;
        IF FOUND AND own_host IS NOT NULL AND (at_host IS DISTINCT FROM own_host OR at_token <> own_token) THEN
            outcome := 'taken';
        ELSE
            outcome := 'conflict';
        END IF;
        RETURN;
    END IF;
    IF expected = 0 THEN
        IF EXISTS (SELECT 1 FROM {SCHEMA}.purged WHERE id_digest = its_digest) THEN
            DELETE FROM {SCHEMA}.sagas WHERE id = its_id;
            outcome := 'purged';
            RETURN;
        END IF;
        IF its_shape IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM {SCHEMA}.shapes WHERE hash = its_shape AND shape = shape_bytes)
        THEN
            INSERT INTO {SCHEMA}.shapes(hash, shape) VALUES (its_shape, shape_bytes);
        END IF;
    END IF;
    FOR n IN 1..many LOOP
        INSERT INTO {SCHEMA}.journal(position, saga_id, seq, at, kind, entry, state) VALUES (
            positions[n], its_id, expected + n, ats[n], kinds[n], packed[n], CASE WHEN n = many THEN its_state END
        );
    END LOOP;
    outcome := 'written';
END $$"""
