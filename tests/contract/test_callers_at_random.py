"""Transactions of applications that end in every way, beside each other and beside a reader in order: what each has
committed is there with its own rows, the reader misses nothing, and no stream has a gap."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

import psycopg
import pytest

from antistrophe.cqrs import ConcurrencyError, EventStore, RecordedEvent, event
from antistrophe.eventstore.postgres import PostgresEvents
from tests.contract.callers_kit import Own
from tests.noticing import noticed

STREAMS = ("a", "b", "c")
ROUNDS = 25
DEADLINE_S = 40.0


@event("callers.drawn")
@dataclass(frozen=True)
class Drawn:
    id: str


class KilledError(Exception):
    """The application has lost its connection."""


def append(store: EventStore, own: Own, draw: random.Random, name: str, stream: str) -> None:
    """Writes a row, and an event of the same name, in one of the ways there are."""
    own.execute("INSERT INTO public.drawn VALUES (%s)", [name])
    way = draw.random()
    if way < 0.3:
        version = store.version(stream, connection=own)
        store.append(stream, [Drawn(name)], expected_version=version, connection=own)
    elif way < 0.6:
        with store.transaction(connection=own) as transaction:
            transaction.append(stream, [Drawn(name)])
    else:
        store.append(stream, [Drawn(name)], connection=own)


def one_transaction(store: EventStore, own: Own, draw: random.Random, name: str) -> None:
    """One transaction of one to three parts, of which some are undone, and which ends in some way."""
    for part, stream in enumerate(draw.sample(STREAMS, draw.randint(1, 3))):
        undone = draw.random() < 0.25
        with suppress(ConcurrencyError), own.transaction(force_rollback=undone):
            append(store, own, draw, f"{name} {part}", stream)
    end = draw.random()
    if end < 0.2:
        own.rollback()
    elif end < 0.3:
        own.pgconn.finish()
        raise KilledError
    else:
        own.commit()


def application(store: EventStore, url: str, number: int, seed: int) -> None:
    draw = random.Random(seed)
    soon = "-c deadlock_timeout=20ms"
    own = psycopg.connect(url, options=soon)
    for each in range(ROUNDS):
        try:
            one_transaction(store, own, draw, f"{number}-{each}")
        except KilledError:
            own = psycopg.connect(url, options=soon)
        except psycopg.errors.DeadlockDetected:
            own.rollback()
    own.close()


@contextmanager
def following(store: EventStore) -> Iterator[list[RecordedEvent]]:
    """Reads in order, all the time; at the end to the end, for which it waits: the server may not have noticed yet that
    the connection of an open transaction is lost."""
    seen: list[RecordedEvent] = []
    over = threading.Event()

    def follow() -> None:
        last, deadline = False, time.monotonic() + DEADLINE_S
        while not last:
            last = over.is_set() and (reached() >= store.head() or time.monotonic() > deadline)
            seen.extend(store.read(reached()))

    def reached() -> int:
        return seen[-1].position if seen else 0

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_whatever_ends_each_is_whole_and_seen_once(empty_postgres: str, run_seed: int) -> None:
    with (
        EventStore(empty_postgres) as store,
        closing(psycopg.connect(empty_postgres, autocommit=True)) as connection,
    ):
        connection.execute("CREATE TABLE public.drawn(id text PRIMARY KEY)")
        try:
            with following(store) as seen:
                threads = [
                    threading.Thread(
                        target=application, args=(store, empty_postgres, number, run_seed + number), daemon=True
                    )
                    for number in range(4)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(DEADLINE_S)
                assert not any(thread.is_alive() for thread in threads)
            rows = {row[0] for row in connection.execute("SELECT id FROM public.drawn").fetchall()}
        finally:
            connection.execute("DROP TABLE public.drawn")
        told = [each.event.id for each in seen if isinstance(each.event, Drawn)]
        assert len(told) > ROUNDS
        assert sorted(told) == sorted(rows), "each row has its event, and each event its row"
        for stream in STREAMS:
            versions = [each.version for each in seen if each.stream == stream]
            assert versions == list(range(1, store.version(stream) + 1))


def test_events_of_another_transaction_are_noticed(
    empty_postgres: str, run_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresEvents, "on", lambda events, _: events)
    with noticed():
        test_whatever_ends_each_is_whole_and_seen_once(empty_postgres, run_seed)
