"""What a host has only read is told once a commit has confirmed it, and not before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from antistrophe.actors.membership.elsewhere import Elsewhere
from antistrophe.actors.saga.hosted_sagas import HostedSagas
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.actors.saga.ports import EvidencePort, HostProcessPort, SharedJournalPort
from antistrophe.actors.supervisor.clients import Clients
from antistrophe.actors.supervisor.live_saga import LiveSaga
from antistrophe.actors.supervisor.live_sagas import LiveSagas
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.request_handler import RequestHandler
from antistrophe.errors import CommitUnknownError, SagaNotFoundError
from antistrophe.hosts.stored_holders import StoredHolders
from antistrophe.hosts.stored_orders import StoredOrders
from antistrophe.journal.last_entry import NEW_SAGA, Basis
from antistrophe.messages import (
    Accepted,
    AwaitElsewhere,
    AwaitSaga,
    Configuration,
    Done,
    OrderSaga,
    Rejected,
    ResumeSaga,
    SagaEnded,
    SagaOutcome,
    StartSaga,
    Waiter,
)
from antistrophe.records import SagaStatus
from antistrophe.saga.inputs import CancelAsked
from antistrophe.saga.state import Saga, replay
from antistrophe.scheduling.admission import AdmissionRank
from antistrophe.scheduling.restart_intensity import RestartIntensity
from antistrophe.settings import Settings
from tests.contract.journal_sagas import FORWARD, accepted

SAGA = "s"
ENTRIES = (accepted(SAGA), *(entry for part in FORWARD for entry in part))


class NoneRuns:
    def unfinished(self, _: object) -> set[str]:
        return set()


class Journal(JournalAccess):
    """What is there of one saga that has ended; what is read is not ``confirmed`` at first."""

    def __init__(self) -> None:  # there is no place of it
        self.confirmed = self.gone = False
        self.position = len(ENTRIES)

    def confirm(self) -> None:
        if not self.confirmed:
            raise CommitUnknownError("no standby has it")

    def load(self, _: str) -> Saga:
        if self.gone:
            raise SagaNotFoundError("it is gone")
        return replay(ENTRIES)

    def ownership(self, _: str) -> None:
        return None

    def take(self, saga_id: str) -> tuple[Saga, Basis]:
        return self.load(saga_id), NEW_SAGA

    def knows(self, _: str) -> bool:
        return True

    def holders(self) -> StoredHolders:
        return cast(StoredHolders, NoneRuns())

    def status(self, _: str) -> SagaStatus | None:
        return None if self.gone else SagaStatus.COMPLETED

    def purged(self, _: str) -> None:
        return None

    def request_id(self, _: str) -> str:
        return "r"


class Host:
    """What answers requests, with what it has told."""

    def __init__(self, *live: LiveSaga) -> None:
        self.journal = Journal()
        self.told: list[Any] = []
        self._live = {each.id: each for each in live}
        self.requests = RequestHandler(cast(SupervisorPort, self), cast(LiveSagas, self), self.journal, Clients(0.0))

    def now(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 0.0

    def send(self, _to: Any, message: Any) -> None:
        self.told.append(message)

    def get(self, saga_id: str) -> LiveSaga | None:
        return self._live.get(saga_id)


def started_again(host: Host) -> None:
    host.requests.start(StartSaga("1", "r", "client", replay(ENTRIES).spec), None)


def awaited(host: Host) -> None:
    host.requests.wait(AwaitSaga("1", SAGA, "client"), None)


def cancelled(host: Host) -> None:
    host.requests.order(OrderSaga("1", SAGA, CancelAsked("no", "me")), None)


@pytest.mark.parametrize(
    ("ask", "answer", "lives"),
    [
        (started_again, Accepted, False),
        (started_again, Accepted, True),
        (awaited, SagaOutcome, False),
        (cancelled, Done, False),
    ],
)
def test_an_answer_that_rests_on_a_read_is_given_once_it_is_confirmed(
    ask: Callable[[Host], None], answer: type, lives: bool
) -> None:
    live = [LiveSaga(SAGA, {"r"}, "client", AdmissionRank("n"), RestartIntensity(1, 1.0))] if lives else []
    host = Host(*live)
    try:
        ask(host)
    except CommitUnknownError:  # of which the supervisor makes the rejection
        assert host.told == []
    else:
        assert [(type(each), each.error) for each in host.told] == [(Rejected, "CommitUnknownError")]
    host.told.clear()
    host.journal.confirmed = True
    ask(host)
    assert [type(each) for each in host.told] == [answer]


class NoOrders:
    def answers(self, _: object) -> dict[str, bytes]:
        return {}


def test_the_end_of_a_saga_elsewhere_is_told_once_it_is_confirmed() -> None:
    host, journal = Host(), Journal()
    elsewhere = Elsewhere(journal, cast(StoredOrders, NoOrders()), host.send, host.told.append, host.now)
    elsewhere.await_end(AwaitElsewhere(SAGA, Waiter("client", "1")))
    with pytest.raises(CommitUnknownError):
        elsewhere.look_for_ends()
    assert host.told == []
    assert elsewhere.waits
    journal.confirmed = True
    elsewhere.look_for_ends()
    assert [type(each) for each in host.told] == [SagaOutcome]


def test_who_waits_for_a_saga_that_is_gone_is_told_so() -> None:
    """A server has taken over that lacked it, and nobody had acknowledged it."""
    host, journal = Host(), Journal()
    elsewhere = Elsewhere(journal, cast(StoredOrders, NoOrders()), host.send, host.told.append, host.now)
    elsewhere.await_end(AwaitElsewhere(SAGA, Waiter("client", "1")))
    journal.confirmed = journal.gone = True
    elsewhere.look_for_ends()
    assert [(type(each), each.error) for each in host.told] == [(Rejected, "SagaNotFoundError")]
    assert not elsewhere.waits


def test_an_actor_whose_saga_is_gone_leaves_for_ever() -> None:
    host, journal = Host(), Journal()
    journal.confirmed = journal.gone = True
    process, shared = cast(HostProcessPort, host), cast(SharedJournalPort, journal)
    sagas = HostedSagas(process, shared, cast(EvidencePort, None), "supervisor", Settings())
    sagas._deliver(SAGA, ResumeSaga(SAGA))
    assert [(type(each), each.status, each.error) for each in host.told] == [(SagaEnded, None, "SagaNotFoundError")]
    assert sagas._actors == {}


def test_a_saga_without_entries_is_gone(tmp_path: Path) -> None:
    journal = JournalAccess(Configuration(str(tmp_path), Settings(), 0.0, 1), 0.5)
    with closing(journal._journal), pytest.raises(SagaNotFoundError, match="is not in the journal any more"):
        journal.load(SAGA)
