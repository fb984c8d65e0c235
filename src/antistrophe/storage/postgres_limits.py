"""Limits over all hosts: the rows of who holds how many permits, and the one statement by which a host settles them.

A permit is the right to have one attempt, or one saga, at work under a limit. Of one limit at most ``most`` permits are
out: those of hosts whose lease has not ended. So what a dead host held is free at the moment at which its attempts are
known to be dead, and nobody has to give it back.
"""

from __future__ import annotations

from typing import Final

from antistrophe.storage.portable_sql import SCHEMA

AHEAD_S: Final = 0.5
"""How long before its moment the start of an attempt is reserved at most."""

BATCH_S: Final = 0.25
"""Starts for that long are reserved at once; at least one."""

ASKS_WITHIN_S: Final = 2.0
"""A host that wants something, and has not asked again for that long, keeps no other waiting."""

_WAITS: Final = "until > at AND (wanted > 0 OR starts > 0)"
_BEFORE_ME: Final = "(since, host) < (my_since, me)"

# ``held``: permits that the host may use. ``wanted`` and ``starts``: what it asked for in vain; ``since`` when, and
# ``until`` when it is thought to want it no more. ``serial`` grows with each statement of a host, so one that was
# held up on its way changes nothing after a later one.
LIMITS = (
    f"""CREATE TABLE {SCHEMA}.limits(
        key        text COLLATE "C" PRIMARY KEY,
        next_start timestamptz NOT NULL
    ) WITH (fillfactor = 50)""",
    f"""CREATE TABLE {SCHEMA}.permits(
        key        text COLLATE "C" NOT NULL,
        host       text COLLATE "C" NOT NULL,
        serial     bigint NOT NULL,
        held       bigint NOT NULL,
        wanted     bigint NOT NULL,
        starts     bigint NOT NULL,
        most       bigint,
        per_second double precision,
        since      timestamptz,
        until      timestamptz NOT NULL,
        PRIMARY KEY(key, host)
    ) WITH (fillfactor = 50)""",
)

# A host that only says again what is so locks nothing and writes nothing. All others write the row of the limit first,
# one after the other: what they read after that is what the last one has committed. The keys come sorted, so no two
# hosts wait for each other.
#
# The host that has waited longest goes first. While a host waits that holds less than its share, no other gets more
# than its own, and those that hold more give some back. Where there are more hosts than permits, every holder gives one
# back.
SETTLE = f"""
CREATE FUNCTION {SCHEMA}.settle_limits_1(
    me text, its_serial bigint, keys text[], keeps bigint[], wants bigint[], mosts bigint[], starts_wanted bigint[],
    rates double precision[]
) RETURNS TABLE(
    of_key text, now_held bigint, gives_back bigint, many bigint, first_s double precision, apart_s double precision,
    again_s double precision
) LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz;
    mine {SCHEMA}.permits;
    changes boolean;
    my_since timestamptz;
    next timestamptz;
    elsewhere bigint;
    most bigint;
    rate double precision;
    many_hosts bigint;
    share bigint;
    owed bigint;
    ahead bigint;
    starts_ahead boolean;
    got bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM {SCHEMA}.hosts WHERE id = me AND ended IS NULL) THEN
        RETURN;
    END IF;
    FOR n IN 1..cardinality(keys) LOOP
        SELECT * INTO mine FROM {SCHEMA}.permits WHERE key = keys[n] AND host = me;
        changes := wants[n] > 0 OR starts_wanted[n] > 0
            OR (coalesce(mine.held, 0), coalesce(mine.wanted, 0), coalesce(mine.starts, 0)) <> (keeps[n], 0, 0);
        IF changes THEN
            INSERT INTO {SCHEMA}.limits(key, next_start) VALUES (keys[n], 'epoch') ON CONFLICT (key) DO NOTHING;
            UPDATE {SCHEMA}.limits SET next_start = next_start WHERE key = keys[n] RETURNING next_start INTO next;
            CONTINUE WHEN NOT FOUND;
            SELECT * INTO mine FROM {SCHEMA}.permits WHERE key = keys[n] AND host = me;
            CONTINUE WHEN mine.serial >= its_serial;
        END IF;
        at := clock_timestamp();
        my_since := CASE WHEN mine.wanted > 0 OR mine.starts > 0 THEN mine.since ELSE at END;
        SELECT coalesce(sum(held), 0), least(min(p.most), mosts[n]), least(min(per_second), rates[n]),
            count(*) FILTER (WHERE held > 0 OR wanted > 0)
            INTO elsewhere, most, rate, many_hosts
            FROM {SCHEMA}.permits p JOIN {SCHEMA}.hosts h ON h.id = p.host AND h.ended IS NULL
            WHERE key = keys[n] AND host <> me AND (held > 0 OR ({_WAITS}));
        share := greatest(most / (many_hosts + 1), 1);
        SELECT coalesce(sum(least(wanted, share - held)) FILTER (WHERE held < share), 0),
            coalesce(sum(least(wanted, share - held)) FILTER (WHERE held < share AND {_BEFORE_ME}), 0),
            coalesce(bool_or(starts > 0 AND {_BEFORE_ME}), false)
            INTO owed, ahead, starts_ahead
            FROM {SCHEMA}.permits p JOIN {SCHEMA}.hosts h ON h.id = p.host AND h.ended IS NULL
            WHERE key = keys[n] AND host <> me AND {_WAITS};
        got := least(wants[n], most - elsewhere - keeps[n] - ahead);
        IF owed > 0 THEN
            got := least(got, share - keeps[n]);
        END IF;
        got := greatest(got, 0);
        of_key := keys[n];
        now_held := keeps[n] + got;
        gives_back := CASE
            WHEN owed > 0 AND now_held > share THEN least(now_held - share, owed)
            WHEN owed > 0 AND many_hosts >= most THEN least(now_held, 1)
            ELSE 0
        END;
        gives_back := greatest(gives_back, least(now_held, elsewhere + now_held - most), 0);
        first_s := 0;
        many := 0;
        apart_s := coalesce(1 / rate, 0);
        again_s := 0;
        IF starts_wanted[n] > 0 THEN
            next := greatest(
                least(next, at + make_interval(secs => {AHEAD_S} + greatest(apart_s, {BATCH_S}))), at
            );
            first_s := extract(epoch FROM next - at);
            IF first_s <= {AHEAD_S} AND NOT starts_ahead THEN
                many := least(starts_wanted[n], greatest(floor(rate * {BATCH_S}), 1));
                UPDATE {SCHEMA}.limits SET next_start = next + make_interval(secs => many * apart_s)
                    WHERE key = keys[n];
            ELSE
                again_s := greatest(first_s - {AHEAD_S}, 0.1);
            END IF;
        END IF;
        IF changes THEN
            INSERT INTO {SCHEMA}.permits AS p VALUES (
                keys[n], me, its_serial, now_held, wants[n] - got, starts_wanted[n] - many, mosts[n], rates[n],
                CASE WHEN got > 0 OR many > 0 THEN at ELSE my_since END,
                at + make_interval(secs => {ASKS_WITHIN_S} + again_s)
            ) ON CONFLICT (key, host) DO UPDATE SET serial = its_serial, held = excluded.held,
                wanted = excluded.wanted, starts = excluded.starts, most = excluded.most,
                per_second = excluded.per_second, since = excluded.since, until = excluded.until;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$"""
