"""What the server of PostgreSQL does by itself: one append to a saga, several that count together, or one to a stream
of events, in one statement and so in one round trip.

A function keeps its name as long as it does the same. Another one gets the next number, so that hosts of two releases
can work side by side.
"""

from __future__ import annotations

from antistrophe.storage.portable_sql import SCHEMA

EVENT_LOCKS = 0x65766E74
"""The first number of the advisory locks of streams of events ("evnt"). The second is that of a stream's name, or
``SEVERAL_STREAMS``."""

SEVERAL_STREAMS = -1
REFUSED = "AN001"
"""The code of the error by which the server undoes a group of appends."""

# The order matters. The transaction has its number before it draws a position, and a lock on the table of entries: by
# both, readers that go by positions know what may still come. The row of the saga is written, and so locked, under the
# conditions of an append: that it is at that seq, and belongs to that host by that token. A claim by another host
# writes the same row, so one of the two waits for the other, and finds that its condition no longer holds.
_APPEND = f"""
CREATE FUNCTION {SCHEMA}.append_<number>(
    its_id text, expected bigint, own_host text, own_token bigint, wait_ms bigint,
    ats bigint[], kinds text[], packed bytea[], its_state bytea,
    changed boolean, its_status text, is_live boolean, is_final boolean, its_error text, its_waiting text,
    its_request text, its_name text, its_needs text[], its_digest bytea, its_shape bytea, shape_bytes bytea,<its last>
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
        WHERE id = its_id AND seq = expected AND (own_host IS NULL OR (host = own_host AND token = own_token))<is last>;
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

# The rest of the condition: the last entry itself is the one that the append was decided on. A server that has taken
# over may have another one in its place. Entries of a saga that goes on are never changed.
_IS_LAST = f"""
            AND ({{its}} IS NULL OR EXISTS (
                SELECT FROM {SCHEMA}.journal WHERE saga_id = {{id}} AND seq = {{expected}} AND sha256(entry) = {{its}}
            ))"""


def _numbered(text: str, number: int, its_last: str = "", is_last: str = "") -> str:
    return text.replace("<number>", str(number)).replace("<its last>", its_last).replace("<is last>", is_last)


APPEND = _numbered(_APPEND, 1)
APPEND_TO_LAST = _numbered(
    _APPEND, 2, "\n    its_last bytea,", _IS_LAST.format(its="its_last", id="its_id", expected="expected")
)


# What ``append_1`` does, for several appends with their events: all of them are written, or none. A refusal of the
# first is told as ``append_1`` tells it, because nothing is written by then; that of a later one is an error, which
# undoes the ones before. The streams are locked first, and in order, as by everybody who writes events. There is an
# element of each list for each append, for each entry, or for each event.
_APPEND_GROUP = f"""
CREATE FUNCTION {SCHEMA}.append_group_<number>(
    wait_ms bigint, own_host text,
    ids text[], expected bigint[], tokens bigint[], many int[], changed boolean[], statuses text[], are_live boolean[],
    are_final boolean[], errors text[], waits text[], requests text[], names text[], needs text[], digests bytea[],
    shape_names bytea[], shape_bytes bytea[],<its last>
    entry_ids text[], seqs bigint[], ats bigint[], kinds text[], packed bytea[], states bytea[],
    locks int[], streams text[], types text[], type_versions bigint[], datas bytea[], metadatas bytea[],
    event_ids bytea[], recorded bigint,
    OUT outcome text, OUT xid bigint, OUT at_position bigint, OUT at_seq bigint, OUT at_host text, OUT at_token bigint
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    positions bigint[];
    at_first int;
    at_last int := 0;
    at_version bigint;
BEGIN
    IF wait_ms IS NOT NULL THEN
        PERFORM set_config('lock_timeout', wait_ms::text, true);
    END IF;
    xid := pg_current_xact_id()::text::bigint;
    IF cardinality(locks) > 1 THEN
        PERFORM pg_advisory_xact_lock_shared({EVENT_LOCKS}, {SEVERAL_STREAMS});
    END IF;
    FOR n IN 1..cardinality(locks) LOOP
        PERFORM pg_advisory_xact_lock({EVENT_LOCKS}, locks[n]);
    END LOOP;
    LOCK TABLE {SCHEMA}.journal IN ROW EXCLUSIVE MODE;
    FOR n IN 1..cardinality(packed) LOOP
        positions[n] := nextval('{SCHEMA}.journal_positions');
    END LOOP;
    FOR n IN 1..cardinality(ids) LOOP
        at_first := at_last + 1;
        at_last := at_last + many[n];
        at_position := positions[at_last];
        IF expected[n] = 0 THEN
            INSERT INTO {SCHEMA}.sagas(
                accepted, id, request_id, name, status, seq, updated, finished, error, waiting, host, token, needs
            ) VALUES (
                positions[at_first], ids[n], requests[n], names[n], statuses[n], many[n], at_position,
                CASE WHEN NOT are_live[n] THEN at_position END, errors[n], waits[n], own_host,
                CASE WHEN own_host IS NULL THEN 0 ELSE 1 END,
                ARRAY(SELECT jsonb_array_elements_text(needs[n]::jsonb))
            ) ON CONFLICT (id) DO NOTHING;
        ELSE
            UPDATE {SCHEMA}.sagas SET
                seq = expected[n] + many[n],
                updated = CASE WHEN changed[n] THEN at_position ELSE updated END,
                error = CASE WHEN changed[n] THEN errors[n] ELSE error END,
                waiting = CASE WHEN changed[n] THEN waits[n] ELSE waiting END,
                finished = CASE
                    WHEN NOT changed[n] OR (status = statuses[n] AND NOT are_final[n]) THEN finished
                    WHEN NOT are_live[n] THEN at_position
                END,
                status = CASE WHEN changed[n] THEN statuses[n] ELSE status END
            WHERE id = ids[n] AND seq = expected[n]
                AND (own_host IS NULL OR (host = own_host AND token = tokens[n]))<is last>;
        END IF;
        IF NOT FOUND THEN
            IF n > 1 THEN
                RAISE EXCEPTION 'an append of this group is refused' USING ERRCODE = '{REFUSED}';
            END IF;
            SELECT seq, host, token INTO at_seq, at_host, at_token FROM {SCHEMA}.sagas WHERE id = ids[n];
            IF FOUND AND own_host IS NOT NULL AND (at_host IS DISTINCT FROM own_host OR at_token <> tokens[n]) THEN
                outcome := 'taken';
            ELSE
                outcome := 'conflict';
            END IF;
            RETURN;
        END IF;
        IF expected[n] = 0 THEN
            IF EXISTS (SELECT 1 FROM {SCHEMA}.purged WHERE id_digest = digests[n]) THEN
                IF n > 1 THEN
                    RAISE EXCEPTION 'an append of this group is refused' USING ERRCODE = '{REFUSED}';
                END IF;
                DELETE FROM {SCHEMA}.sagas WHERE id = ids[n];
                outcome := 'purged';
                RETURN;
            END IF;
            IF shape_names[n] IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM {SCHEMA}.shapes WHERE hash = shape_names[n] AND shape = shape_bytes[n]
            ) THEN
                INSERT INTO {SCHEMA}.shapes(hash, shape) VALUES (shape_names[n], shape_bytes[n]);
            END IF;
        END IF;
    END LOOP;
    INSERT INTO {SCHEMA}.journal(position, saga_id, seq, at, kind, entry, state)
        SELECT * FROM unnest(positions, entry_ids, seqs, ats, kinds, packed, states);
    FOR n IN 1..cardinality(streams) LOOP
        IF n = 1 OR streams[n] <> streams[n - 1] THEN
            SELECT coalesce(max(version), 0) INTO at_version FROM {SCHEMA}.events WHERE stream = streams[n];
        END IF;
        INSERT INTO {SCHEMA}.events(
            position, stream, version, type, type_version, data, metadata, recorded_at, event_id
        ) VALUES (
            nextval('{SCHEMA}.event_positions'), streams[n], at_version + 1, types[n], type_versions[n], datas[n],
            metadatas[n], recorded, event_ids[n]
        ) ON CONFLICT (event_id) WHERE event_id IS NOT NULL DO NOTHING;
        IF FOUND THEN
            at_version := at_version + 1;
        END IF;
    END LOOP;
    outcome := 'written';
END $$"""


APPEND_GROUP = _numbered(_APPEND_GROUP, 1)
APPEND_GROUP_TO_LAST = _numbered(
    _APPEND_GROUP, 2, "\n    lasts bytea[],", _IS_LAST.format(its="lasts[n]", id="ids[n]", expected="expected[n]")
)


# One append of events to a stream. The stream is locked first, and the transaction has its number before it draws a
# position. Nothing is written for a ``conflict``, and for a ``copy``: the stream ends with the event that is to be the
# last, and a saga has stored it. A transaction that sees the database as it was (REPEATABLE READ) may know an older
# version than the last one. The conflict of the rows tells, as an error by which it is begun anew.
APPEND_EVENTS = f"""
CREATE FUNCTION {SCHEMA}.append_events_1(
    its_stream text, its_lock int, expected bigint, copies boolean,
    types text[], type_versions bigint[], datas bytea[], metadatas bytea[], event_ids bytea[], recorded bigint,
    OUT outcome text, OUT xid bigint, OUT at_position bigint, OUT at_version bigint, OUT last_written int
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    many CONSTANT int := cardinality(types);
    is_copy boolean;
    written int;
    drawn bigint;
BEGIN
    PERFORM pg_advisory_xact_lock({EVENT_LOCKS}, its_lock);
    SELECT version, event_id IS NOT NULL AND data = datas[many] INTO at_version, is_copy
        FROM {SCHEMA}.events WHERE stream = its_stream ORDER BY version DESC LIMIT 1;
    at_version := coalesce(at_version, 0);
    IF expected <> at_version THEN
        outcome := 'conflict';
        RETURN;
    END IF;
    IF is_copy AND NOT copies THEN
        outcome := 'copy';
        RETURN;
    END IF;
    outcome := 'written';
    IF many = 0 THEN
        RETURN;
    END IF;
    xid := pg_current_xact_id()::text::bigint;
    IF event_ids IS NULL THEN
        WITH inserted AS (
            INSERT INTO {SCHEMA}.events(
                position, stream, version, type, type_version, data, metadata, recorded_at
            ) SELECT nextval('{SCHEMA}.event_positions'), its_stream, at_version + n, type, type_version, data,
                metadata, recorded
            FROM unnest(types, type_versions, datas, metadatas) WITH ORDINALITY
                AS new(type, type_version, data, metadata, n)
            ON CONFLICT (stream, version) DO NOTHING RETURNING position
        ) SELECT count(*), max(position) INTO written, at_position FROM inserted;
        IF written < many THEN
            RAISE EXCEPTION 'another transaction has appended to this stream' USING ERRCODE = '40001';
        END IF;
        at_version := at_version + many;
        last_written := many;
        RETURN;
    END IF;
    FOR n IN 1..many LOOP
        INSERT INTO {SCHEMA}.events(
            position, stream, version, type, type_version, data, metadata, recorded_at, event_id
        ) VALUES (
            nextval('{SCHEMA}.event_positions'), its_stream, at_version + 1, types[n], type_versions[n], datas[n],
            metadatas[n], recorded, event_ids[n]
        ) ON CONFLICT (event_id) WHERE event_id IS NOT NULL DO NOTHING RETURNING position INTO drawn;
        IF FOUND THEN
            at_version := at_version + 1;
            at_position := drawn;
            last_written := n;
        END IF;
    END LOOP;
END $$"""
