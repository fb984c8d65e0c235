"""The schema of a PostgreSQL database: what ``schema`` says of the SQLite file, and what several hosts need beside it.

All of it is in a schema of its own, ``antistrophe``. Positions come from sequences, drawn within transactions that
commit in another order: they have gaps, and a position may be seen before a smaller one is. Each transaction takes its
number (``pg_current_xact_id``) before it draws a position, which is how readers that go by positions know what may
still come. Texts that are keys are compared byte by byte (``COLLATE "C"``), so that no upgrade of a library changes an
index.
"""

from __future__ import annotations

from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres_functions import (
    APPEND,
    APPEND_EVENTS,
    APPEND_GROUP,
    APPEND_GROUP_TO_LAST,
    APPEND_TO_LAST,
)
from antistrophe.storage.postgres_limits import LIMITS, SETTLE
from antistrophe.storage.schema import SchemaMigration

LOCK = 0x616E7469
"""The number of the transaction's advisory lock under which the schema is changed ("anti")."""

_JOURNAL = (
    f"CREATE SEQUENCE {SCHEMA}.journal_positions AS bigint",
    f"""CREATE TABLE {SCHEMA}.journal(
        position bigint PRIMARY KEY,
        saga_id  text COLLATE "C" NOT NULL,
        seq      bigint NOT NULL,
        at       bigint NOT NULL,
        kind     text COLLATE "C" NOT NULL,
        entry    bytea NOT NULL,
        state    bytea,
        UNIQUE(saga_id, seq)
    )""",
    # ``seq``: of the saga's last entry. ``host``: the host that owns the saga; NULL: nobody does. ``token`` grows each
    # time that a host becomes the owner. An append is conditional on all three, by an update of this row: whoever wants
    # to take the saga waits for its end. There is room in a page for the next versions of its rows.
    f"""CREATE TABLE {SCHEMA}.sagas(
        accepted   bigint PRIMARY KEY,
        id         text COLLATE "C" NOT NULL UNIQUE,
        request_id text COLLATE "C" NOT NULL,
        name       text COLLATE "C" NOT NULL,
        status     text COLLATE "C" NOT NULL,
        seq        bigint NOT NULL,
        updated    bigint NOT NULL,
        finished   bigint,
        error      text,
        waiting    text,
        host       text COLLATE "C",
        token      bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 60)""",
    f"CREATE INDEX sagas_by_status ON {SCHEMA}.sagas(status, accepted)",
    f"CREATE INDEX sagas_by_name ON {SCHEMA}.sagas(name, accepted)",
    f"CREATE INDEX sagas_by_finish ON {SCHEMA}.sagas(finished, status) WHERE finished IS NOT NULL",
    f"CREATE INDEX sagas_by_host ON {SCHEMA}.sagas(host, accepted) WHERE finished IS NULL",
    # Two hosts that meet a new shape at once both store it, and neither waits for the other: the key is not unique.
    f"CREATE TABLE {SCHEMA}.shapes(hash bytea NOT NULL, shape bytea NOT NULL)",
    f"CREATE INDEX shapes_by_hash ON {SCHEMA}.shapes(hash)",
    f"""CREATE TABLE {SCHEMA}.purged(
        id_digest   bytea PRIMARY KEY,
        status      text COLLATE "C" NOT NULL,
        finished_at bigint NOT NULL
    )""",
    f"""CREATE TABLE {SCHEMA}.purges(
        what     text COLLATE "C" PRIMARY KEY,
        number   bigint NOT NULL,
        position bigint NOT NULL
    )""",
)

_EVENTS = (
    f"CREATE SEQUENCE {SCHEMA}.event_positions AS bigint",
    f"""CREATE TABLE {SCHEMA}.events(
        position     bigint PRIMARY KEY,
        stream       text COLLATE "C" NOT NULL,
        version      bigint NOT NULL,
        type         text COLLATE "C" NOT NULL,
        type_version bigint NOT NULL,
        data         bytea NOT NULL,
        metadata     bytea,
        recorded_at  bigint NOT NULL,
        event_id     bytea,
        UNIQUE(stream, version)
    )""",
    f"CREATE UNIQUE INDEX events_by_id ON {SCHEMA}.events(event_id) WHERE event_id IS NOT NULL",
    f"""CREATE TABLE {SCHEMA}.snapshots(
        stream      text COLLATE "C" NOT NULL,
        version     bigint NOT NULL,
        state       bytea NOT NULL,
        recorded_at bigint NOT NULL,
        PRIMARY KEY(stream, version)
    )""",
)

_HOSTS = (
    # A row is one registration of a host. ``counter`` grows with each renewal of its lease. Once ``ended`` is set the
    # lease is never renewed again, and its sagas may be claimed: "handed over" by the host itself, or "lapsed".
    # ``seen_at`` is for people: no rule compares clocks. ``is_full``: the host starts no more sagas.
    f"""CREATE TABLE {SCHEMA}.hosts(
        id            text COLLATE "C" PRIMARY KEY,
        name          text COLLATE "C" NOT NULL,
        labels        text[] COLLATE "C" NOT NULL,
        release       text NOT NULL,
        lease_s       double precision NOT NULL CHECK (lease_s > 0 AND lease_s < 'Infinity'),
        counter       bigint NOT NULL DEFAULT 1,
        registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        seen_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended         text,
        ended_by      text COLLATE "C",
        draining      boolean NOT NULL DEFAULT false,
        is_full       boolean NOT NULL DEFAULT false,
        attempts      bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 50)""",
    # ``needs``: the labels that its next owner must have. ``unfit``: the registrations that could not load its
    # code. ``owned_since``: when its owner got it, by the database's clock.
    f"""ALTER TABLE {SCHEMA}.sagas
        ADD COLUMN needs text[] COLLATE "C" NOT NULL DEFAULT '{{}}',
        ADD COLUMN unfit text[] COLLATE "C" NOT NULL DEFAULT '{{}}',
        ADD COLUMN owned_since timestamptz NOT NULL DEFAULT now()""",
    # The default of rows to come; for those that are there it would have the whole table written anew.
    f"ALTER TABLE {SCHEMA}.sagas ALTER COLUMN owned_since SET DEFAULT clock_timestamp()",
)

PROJECTIONS = f"{SCHEMA}_projections"
"""The schema with the tables that projections of applications keep."""

_AROUND = (
    # See the same tables in ``schema``. Times of claims are the database's: hosts may not agree on theirs.
    f"""CREATE TABLE {SCHEMA}.projections(
        name            text COLLATE "C" PRIMARY KEY,
        generation      bigint NOT NULL,
        last_generation bigint NOT NULL,
        position        bigint NOT NULL,
        updated_at      bigint NOT NULL,
        state           bytea
    ) WITH (fillfactor = 50)""",
    f"""CREATE TABLE {SCHEMA}.claims(
        key               text COLLATE "C" PRIMARY KEY,
        command_hash      bytea NOT NULL,
        command_type      text COLLATE "C" NOT NULL,
        token             text COLLATE "C" NOT NULL,
        owner_pid         bigint NOT NULL,
        owner_start_ticks bigint NOT NULL,
        owner_boot_id     text COLLATE "C" NOT NULL,
        renewals          bigint NOT NULL DEFAULT 0,
        answer            bytea,
        updated_at        bigint NOT NULL,
        command           bytea
    )""",
    f"CREATE INDEX claims_by_age ON {SCHEMA}.claims(updated_at)",
    f"CREATE INDEX claims_held ON {SCHEMA}.claims(token) WHERE answer IS NULL",
    f"CREATE SCHEMA IF NOT EXISTS {PROJECTIONS}",
)

_ORDERS = (
    # What hosts ask of others about their sagas. ``at``: by the database's clock.
    # ``answer``: NULL until the owner of the saga has given one.
    f"""CREATE TABLE {SCHEMA}.orders(
        id      text COLLATE "C" PRIMARY KEY,
        saga_id text COLLATE "C" NOT NULL,
        "order" bytea NOT NULL,
        answer  bytea,
        at      timestamptz NOT NULL DEFAULT clock_timestamp()
    )""",
    f"CREATE INDEX orders_to_do ON {SCHEMA}.orders(saga_id) WHERE answer IS NULL",
)

_COPIES = (
    # The copies of SQLite files into this database (see ``moving``). ``done_at`` is NULL until all of a file is here.
    # ``journal_grown``, ``events_grown``: so much larger its positions are here. ``projections``: those that keep no
    # tables go on here.
    f"""CREATE TABLE {SCHEMA}.copies(
        id            text COLLATE "C" PRIMARY KEY,
        source        text NOT NULL,
        begun_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
        done_at       timestamptz,
        sagas         bigint,
        entries       bigint,
        events        bigint,
        journal_grown bigint,
        events_grown  bigint,
        projections   boolean
    )""",
)

_RETAINED = (
    # The settings of that name, by which a host says how much of the finished sagas it keeps; NULL: all.
    f"""ALTER TABLE {SCHEMA}.hosts
        ADD COLUMN retain_finished_s double precision,
        ADD COLUMN retain_finished bigint""",
)

_HELD_BY = (
    # The hosts whose clients hold the saga; NULL: the one that owns it.
    f'ALTER TABLE {SCHEMA}.sagas ADD COLUMN held_by text[] COLLATE "C"',
)

_SIDE_BY_SIDE = (
    # ``serves``: the oldest version whose programs may go on in this one. Whoever brings an older schema to any version
    # adds it, too.
    f"ALTER TABLE {SCHEMA}.schema_version ADD COLUMN IF NOT EXISTS serves bigint NOT NULL DEFAULT 0",
)

_RESTORES = (
    # How often a home has renewed a lease, all in all. It is never removed: where it is less than the home remembers,
    # the database is of an earlier state.
    f"""CREATE TABLE {SCHEMA}.homes(
        id   text COLLATE "C" PRIMARY KEY,
        mark bigint NOT NULL
    ) WITH (fillfactor = 50)""",
    # The restores that people have acknowledged. ``done``: each saga that went on then has an entry of it.
    f"""CREATE TABLE {SCHEMA}.restores(
        id   text COLLATE "C" PRIMARY KEY,
        by   text NOT NULL,
        at   timestamptz NOT NULL DEFAULT clock_timestamp(),
        done boolean NOT NULL DEFAULT false
    )""",
)

POSTGRES_MIGRATIONS: tuple[SchemaMigration, ...] = (
    _JOURNAL + _EVENTS,
    _HOSTS,
    (APPEND,),
    _AROUND,
    _ORDERS,
    _COPIES,
    _RETAINED,
    _HELD_BY,
    (APPEND_GROUP,),
    (*LIMITS, SETTLE),
    _SIDE_BY_SIDE,
    _RESTORES,
    (APPEND_EVENTS,),
    (APPEND_TO_LAST, APPEND_GROUP_TO_LAST),
)
"""The migration at index n leads from version n to n + 1; version 0 is a database without the schema. A released
migration is never edited.

A migration only adds, and what it adds is no business of older programs: hosts of two releases work side by side while
all are upgraded. Where that can't be, ``SERVES`` becomes the version that it leads to."""

SERVES = 1
"""The oldest version of the schema whose programs may go on in the newest one. Before hosts of older ones are stopped,
nobody can make the newest one."""
