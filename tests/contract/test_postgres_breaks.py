"""Connections that break at random under several writers: each append is done once, with its events, or not yet.

``ANTISTROPHE_BREAKS_S=60`` takes longer than the moment of a run of everything; the seed repeats what is drawn.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from antistrophe.errors import AntistropheError, JournalError
from antistrophe.journal.group import Group
from antistrophe.journal.postgres import PostgresJournal
from antistrophe.storage.postgres import open_postgres
from tests.benchmarks.made_sagas import Append, appends
from tests.lossy_relay import LossyRelay

LASTS_S = float(os.environ.get("ANTISTROPHE_BREAKS_S", "2"))
PATIENCE_S, RETRIES_S = 10.0, 0.5
"""How long a writer waits for an answer, and how long it goes on trying where the server is away."""
WORDS = (b"append_2", b"append_group_2", b"BEGIN", b"COMMIT\0")
ENDED = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = ?"


@dataclass(frozen=True)
class Host:
    """A host that has accepted all its sagas itself."""

    host: str

    def token_of(self, saga_id: str) -> int:
        return 1

    def last_of(self, saga_id: str) -> bytes | None:
        return None

    def appends(self, saga_id: str, last: bytes) -> None:
        """Its seq alone is the condition here."""


class Writer:
    """A host that writes sagas, alone and in groups, and makes each append again until it is told that it is done."""

    def __init__(self, number: int, relay: LossyRelay, seed: int, over: threading.Event) -> None:
        self.written: list[list[Append]] = []
        self.refused = 0
        self.opened = threading.Event()
        self.wrong: list[AntistropheError] = []
        self._name = f"host-{number}"
        self._relay = relay
        self._random = random.Random(f"{seed} {number}")
        self._over = over

    def work(self) -> None:
        """Write until the end of the time."""
        with contextlib.closing(
            PostgresJournal(self._relay.url, owner=Host(self._name), patience_s=PATIENCE_S)
        ) as journal:
            journal._server.answer_s = RETRIES_S
            self.opened.set()
            while not self._over.is_set():
                names = [f"{self._name} {len(self.written)} {number}" for number in range(self._random.randrange(1, 5))]
                sagas = [list(appends(name, time.time())) for name in names]
                grouped = self._random.random() < 0.5
                for together in zip(*sagas, strict=True):
                    if not (grouped and self._group(journal, together)):
                        for each in together:
                            self._one(journal, each)
                self.written += sagas

    def _group(self, journal: PostgresJournal, together: Sequence[Append]) -> bool:
        group: Group = journal.group() if self._random.random() < 0.5 else journal.gathering_group()
        group.open()
        try:
            for each in together:
                each.write(journal)
            group.commit()
        except JournalError:
            self.refused += 1
            group.roll_back()
            return False
        return True

    def _one(self, journal: PostgresJournal, append: Append) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                append.write(journal)
            except JournalError:
                self.refused += 1
                time.sleep(0.02)
            except AntistropheError as error:  # another host's, or another append's: both are wrong here
                self.wrong.append(error)
                return
            else:
                return


@pytest.mark.timeout(max(60, 3 * LASTS_S + 120))
def test_every_append_is_done_once_whatever_breaks(empty_postgres: str, run_seed: int) -> None:
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contextlib.closing(open_postgres(empty_postgres)))
        relays = [
            stack.enter_context(
                LossyRelay(empty_postgres, Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))))
            )
            for _ in range(3)
        ]
        writers = [Writer(number, relay, run_seed, over) for number, relay in enumerate(relays)]
        threads = [threading.Thread(target=writer.work) for writer in writers]
        stack.callback(over.set)
        for thread in threads:
            thread.start()
        assert all(writer.opened.wait(60) for writer in writers)
        _break(relays, empty_postgres, random.Random(run_seed), lambda: sum(writer.refused for writer in writers) > 0)
        over.set()
        for thread in threads:
            thread.join()
        written = [saga for writer in writers for saga in writer.written]
        assert not [error for writer in writers for error in writer.wrong]
        assert sum(writer.refused for writer in writers) > 0, "nothing was broken"
        entries = dict(server.rows("SELECT saga_id, count(*) FROM journal GROUP BY saga_id"))
        assert entries == {saga[0].after.id: sum(len(each.entries) for each in saga) for saga in written}
        events = {row[0]: row[1:] for row in server.rows(_EVENTS)}
        assert events == {saga[0].after.id: (number, number) for saga in written if (number := _events(saga))}


_EVENTS = "SELECT stream, count(DISTINCT event_id), max(version) FROM events GROUP BY stream"


def _events(saga: Sequence[Append]) -> int:
    return sum(len(each.events) for each in saga)


def _break(relays: Sequence[LossyRelay], url: str, draw: random.Random, is_felt: Callable[[], bool]) -> None:
    """Lose questions and answers, cut connections, take the server away for a while, and end its processes: for as long
    as it is to last, and until somebody has felt it."""
    with contextlib.closing(open_postgres(url)) as admin:
        (name,) = admin.row("SELECT current_database()")
        until = time.monotonic() + LASTS_S
        while time.monotonic() < until or (time.monotonic() < until + 30.0 and not is_felt()):
            relay, kind = draw.choice(relays), draw.random()
            if kind < 0.4:
                relay.lose_answer(draw.choice(WORDS))
            elif kind < 0.8:
                relay.lose_question(draw.choice(WORDS))
            elif kind < 0.9:
                relay.cut()
            elif kind < 0.97:
                relay.refuses = True
                relay.cut()
                time.sleep(draw.random() * 0.5)
                relay.refuses = False
            else:
                admin.row(ENDED, (name,))
            time.sleep(draw.random() * 0.1)
