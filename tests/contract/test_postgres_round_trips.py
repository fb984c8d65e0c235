"""What a saga host asks the server for its sagas: once for each change, however many sagas change at once; and again
where an answer was lost."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from antistrophe.actors.saga.attempt_evidence import AttemptEvidence
from antistrophe.actors.saga.hosted_sagas import HostedSagas
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.actors.saga.saga import JOURNAL_AGAIN_S
from antistrophe.actors.supervisor.clients import Clients
from antistrophe.actors.supervisor.live_sagas import LiveSagas
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.request_handler import RequestHandler
from antistrophe.definition.events import EncodedEvent
from antistrophe.journal.postgres import PostgresJournal
from antistrophe.messages import (
    Accepted,
    BeginSaga,
    Configuration,
    ProcessGrant,
    RequestLease,
    RunStep,
    SagaOutcome,
    StartSaga,
    StepAnswer,
    Waiter,
)
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import Action, Lease
from antistrophe.saga.inputs import Returned
from antistrophe.settings import Settings
from tests.contract.journal_sagas import DEBITED, accepted
from tests.lossy_relay import LossyRelay
from tests.waiting import until

STEPS = ("Debit", "Credit", "Tell")
NAMES = ("a", "b", "c", "d")


class Process:
    """A saga host's process in which all messages of a turn are there at once."""

    def __init__(self, url: str, home: Path) -> None:
        self.sent: list[Any] = []
        self.time = 1000.0
        settings = Settings(journal=url)
        self.journal = JournalAccess(Configuration(str(home), settings, 0.0, 1), 10.0)
        self.journal._database().answer_s = 0.5  # so long it tries while the server is away
        self.journal.host_is("a1")
        self.sagas = HostedSagas(self, self.journal, AttemptEvidence(str(home)), "supervisor", settings)

    def now(self) -> float:
        return self.time

    wall = now

    def send(self, to: Any, message: Any) -> None:
        self.sent.append(message)

    def wake_in(self, seconds: float) -> None:
        """Nothing here comes due."""

    def turn(self, *messages: Any) -> None:
        for each in messages:
            self.sagas.take(each.spec.id if isinstance(each, BeginSaga) else each.saga_id, each)
        self.sagas.settle()

    def later(self) -> set[str]:
        """So much later that each saga tries again what the journal has refused. Returns of which something was
        sent."""
        self.time += 2 * JOURNAL_AGAIN_S
        self.sagas.wake_due()
        self.sagas.settle()
        return {each.saga_id for each in self.sent}

    def told(self, kind: type) -> list[Any]:
        return [each for each in self.sent if type(each) is kind]


@pytest.fixture
def relay(empty_postgres: str) -> Iterator[LossyRelay]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, LossyRelay(empty_postgres, Path(folder)) as relay:
        yield relay


def _begin(saga_id: str) -> BeginSaga:
    grant = ProcessGrant(saga_id, Lease(f"lease of {saga_id}", 1, 1, "boot"), f"process of {saga_id}")
    waiter = Waiter("client", f"end of {saga_id}")
    return BeginSaga("request", accepted(saga_id, steps=STEPS).spec, grant, None, (waiter,))


def _answer(saga_id: str, index: int, events: tuple[EncodedEvent, ...]) -> StepAnswer:
    return StepAnswer(saga_id, index, Action.EXECUTE, 1, f"lease of {saga_id}", Returned(None, events))


@pytest.mark.parametrize("names", [NAMES[:1], NAMES])
@pytest.mark.parametrize("events", [(), (DEBITED,)])
def test_sagas_of_three_steps_take_four_round_trips(
    relay: LossyRelay, empty_postgres: str, tmp_path: Path, names: tuple[str, ...], events: tuple[EncodedEvent, ...]
) -> None:
    process = Process(relay.url, tmp_path)
    with closing(process.journal._journal):
        before = relay.questions
        process.turn(*map(_begin, names))
        for index in range(len(STEPS)):
            process.turn(*(_answer(name, index, events) for name in names))
    assert relay.questions - before == 1 + len(STEPS)
    assert [each.saga_id for each in process.told(RunStep)] == [*names] * len(STEPS)
    with closing(PostgresJournal(empty_postgres)) as journal:
        assert {each.position for each in process.told(SagaOutcome)} == {journal.head()}
        assert [journal.status(name) for name in names] == [SagaStatus.COMPLETED] * len(names)
        assert journal._server.row("SELECT count(*) FROM events") == (len(STEPS) * len(names) * len(events),)


@pytest.mark.parametrize("names", [NAMES[:1], NAMES])
@pytest.mark.parametrize("part", ["question", "answer"])
def test_a_saga_goes_on_when_the_server_is_away_with_its_answer(
    relay: LossyRelay, empty_postgres: str, tmp_path: Path, names: tuple[str, ...], part: str
) -> None:
    """What is decided anew has another time than what the journal may have already: it reads what it has."""
    process = Process(relay.url, tmp_path)
    with closing(process.journal._journal), closing(PostgresJournal(empty_postgres)) as journal:
        process.turn(*map(_begin, names))
        process.sent.clear()
        (relay.lose_answer if part == "answer" else relay.lose_question)(b"append_")
        relay.refuses = True
        process.time += 1.0
        process.turn(*(_answer(name, 0, (DEBITED,)) for name in names))
        assert (relay.lost, process.sent) == (1, [])
        assert [len(journal.load(name)) for name in names] == [4 if part == "answer" else 2] * len(names)
        relay.refuses = False
        until(lambda: process.later() == set(names), "all go on")
        if part == "answer":
            assert sorted(each.saga_id for each in process.told(RunStep)) == sorted(names)
            assert {each.step for each in process.told(RunStep)} == {1}
        else:  # no attempt starts from an answer that was kept: each asks for a process
            assert sorted(each.saga_id for each in process.told(RequestLease)) == sorted(names)
        assert journal._server.row("SELECT count(*) FROM events") == (len(names),)


class Supervisor:
    """Answers requests about sagas of which none is live."""

    def __init__(self, journal: JournalAccess) -> None:
        self.sent: list[Any] = []
        self.requests = RequestHandler(cast(SupervisorPort, self), cast(LiveSagas, self), journal, Clients(0.0))

    def send(self, _to: Any, message: Any) -> None:
        self.sent.append(message)

    def get(self, _saga_id: str) -> None:
        return None


def test_a_start_that_is_made_again_asks_for_the_saga_once(
    relay: LossyRelay, empty_postgres: str, tmp_path: Path
) -> None:
    """Its request, how far the journal is read in order (three questions), its entries and their shape, and a
    confirmation of what was read."""
    process = Process(relay.url, tmp_path)
    with closing(process.journal._journal):
        process.turn(_begin("a"))
        supervisor = Supervisor(process.journal)
        before = relay.questions
        supervisor.requests.start(StartSaga("1", "request", "client", accepted("a", steps=STEPS).spec), None)
        assert [type(each) for each in supervisor.sent] == [Accepted]
        assert relay.questions - before == 7
