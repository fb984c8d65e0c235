"""A home for the tests of the dashboard's pages: its journal is written by hand, and no system runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from antistrophe.dashboard import app
from antistrophe.journal import SqliteJournal, journal_path
from antistrophe.saga.entries import Action, CompensationGivenUp, Entry, SagaAccepted, SagaParked
from antistrophe.serialization.payload import pack_payload
from tests.contract import journal_sagas as sagas
from tests.contract.journal_sagas import ActorsJournal

HOSTILE = "<script>alert('x')</script>&\"'>\u202e\x1b[31m\n\r\x00data: x"
"""A text that is a script, a header, a terminal's command and an event at once."""


@contextmanager
def journal_of(home: Path) -> Iterator[SqliteJournal]:
    """The journal of a home, to be written."""
    home.mkdir(mode=0o700, exist_ok=True)
    with closing(ActorsJournal(journal_path(home))) as journal:
        yield journal


def fill(home: Path) -> None:
    """One saga of each status, accepted in this order."""
    with journal_of(home) as journal:
        sagas.run(journal, "done", *sagas.FORWARD, name="order")
        sagas.run(journal, "undone", *sagas.TURN_BACK, sagas.UNDONE)
        sagas.run(journal, "stuck", *sagas.TURN_BACK, sagas.PARK)
        sagas.run(journal, "back", *sagas.TURN_BACK)
        sagas.run(journal, "runs", *sagas.FORWARD[:2])
        sagas.run(journal, "waits", (sagas.waits("module shop can't be imported: no such file"),))


def viewer(home: Path, **options: Any) -> TestClient:
    """Somebody who looks at the dashboard of a home."""
    return TestClient(app(home, **options), base_url="http://127.0.0.1")


def hostile_entries(saga_id: str) -> tuple[Entry, ...]:
    """A saga with a hostile text in every field that has one."""
    first = sagas.accepted(saga_id, HOSTILE, (HOSTILE, "Credit"))
    steps = tuple(replace(each, input=pack_payload({"field": HOSTILE}), class_ref=HOSTILE) for each in first.spec.steps)
    failure = replace(sagas.NO, error=HOSTILE, error_type=HOSTILE)
    accepted = SagaAccepted(first.at, first.request_id, replace(first.spec, steps=steps))
    return (
        accepted,
        sagas.started(0),
        replace(sagas.succeeded(0), output=pack_payload(HOSTILE), warning=HOSTILE),
        sagas.started(1),
        replace(sagas.failed(1), failure=failure, traceback=HOSTILE, no_stack=HOSTILE),
        replace(sagas.turned_back(), cause=replace(sagas.turned_back().cause, failure=failure, note=HOSTILE)),
        sagas.started(0, Action.COMPENSATE),
        replace(sagas.failed(0, Action.COMPENSATE), failure=failure, stack=HOSTILE),
        CompensationGivenUp(sagas.START + 4, 0, failure),
        SagaParked(sagas.START + 4),
    )
