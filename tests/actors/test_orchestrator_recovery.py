"""Calls that wait while parts of the system die: they get their answer all the same, and one answer only."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antistrophe import SagaOrchestrator, SagaStatus, Settings, SystemUnavailableError
from antistrophe.client import connection
from antistrophe.transport.mailbox import Mailbox
from tests.actors.staging import running
from tests.actors.steps import Noted, WaitFor, notes, one
from tests.killing import kill
from tests.waiting import until


@pytest.fixture
def orchestrator(tmp_path: Path) -> Iterator[SagaOrchestrator]:
    yield from running(tmp_path / "home")


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


class Call:
    """A call made in a thread, and its result."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._result: object = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except Exception as error:
            self._result = error

    def result(self) -> object:
        self._thread.join(50.0)
        assert not self._thread.is_alive(), "the call never ends"
        return self._result


def kill_roles(orchestrator: SagaOrchestrator, *roles: str) -> None:
    targets = [record for record in orchestrator.processes() if record.role in roles or not roles]
    assert targets
    for record in targets:
        assert kill(record.pid) or not roles, "of all, one may have died of another's death"


def started(orchestrator: SagaOrchestrator, saga_id: str) -> None:
    """Wait until the step of that saga has begun."""

    def began() -> bool:
        found = orchestrator.get_saga(saga_id)
        return found is not None and found.steps[0].pid is not None

    until(began, f"the start of {saga_id}")


@pytest.mark.parametrize(
    "roles",
    [("launcher",), ("admin",), ("logger",), ("supervisor",), ("registry",), ("saga",), ("step",), ()],
    ids=lambda roles: roles[0] if roles else "all",
)
def test_a_call_survives_the_death_of(orchestrator: SagaOrchestrator, gate: Path, roles: tuple[str, ...]) -> None:
    call = Call(lambda: orchestrator.execute(one("survivor", WaitFor(str(gate)))))
    started(orchestrator, "survivor")
    kill_roles(orchestrator, *roles)
    gate.touch()
    result = call.result()
    assert isinstance(result, list), result
    assert [type(each) for each in result] == [Noted]
    assert orchestrator.handle("survivor").status() is SagaStatus.COMPLETED
    assert orchestrator.event_store.version("survivor") == 1
    assert orchestrator.execute(notes("next", "a"), timeout_s=30.0) == [Noted("a")]


def test_a_call_that_finds_no_system_says_so_and_that_its_saga_goes_on(
    tmp_path: Path, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(reattach_s=1.0)
    with SagaOrchestrator(tmp_path / "home", settings=settings) as orchestrator:
        call = Call(lambda: orchestrator.execute(one("accepted", WaitFor(str(gate)))))
        started(orchestrator, "accepted")
        monkeypatch.setattr("sys.executable", "/bin/false")
        kill_roles(orchestrator, "launcher")
        error = call.result()
        assert isinstance(error, SystemUnavailableError), error
        assert "no actor system" in str(error)
        with pytest.raises(SystemUnavailableError):
            orchestrator.running_count()
        monkeypatch.undo()
        gate.touch()
        assert until(lambda: result_or_none(orchestrator), "the system that is started again")


def result_or_none(orchestrator: SagaOrchestrator) -> object:
    try:
        return orchestrator.handle("accepted").result(timeout_s=30.0)
    except SystemUnavailableError:
        return None


class LossyMailbox:
    """Loses a third of all messages, in both directions, and doubles another third."""

    draws = random.Random()

    def __init__(self, supervisor: str) -> None:
        self._inner = Mailbox(supervisor)
        self._again: Any = None

    def send(self, message: Any) -> None:
        for _ in range(self.draws.randrange(3)):
            self._inner.send(message)

    @property
    def closed(self) -> bool:
        return self._inner.closed

    def receive(self, timeout_s: float | None) -> Any:
        message, self._again = (
            (self._again, None) if self._again is not None else (self._inner.receive(timeout_s), None)
        )
        fate = self.draws.randrange(3)
        if message is not None and fate == 0:
            return None
        if fate == 1:
            self._again = message
        return message

    def close(self) -> None:
        self._inner.close()


def test_messages_that_are_lost_or_come_twice_change_no_answer(
    orchestrator: SagaOrchestrator, monkeypatch: pytest.MonkeyPatch, run_seed: int
) -> None:
    monkeypatch.setattr(connection, "Mailbox", LossyMailbox)
    monkeypatch.setattr(orchestrator._session.requests, "_resend_s", 0.1)
    monkeypatch.setattr(LossyMailbox, "draws", random.Random(run_seed))

    def work(number: int) -> list[object]:
        handles = [orchestrator.start(notes(f"{number}-{turn}", f"{number}-{turn}")) for turn in range(5)]
        return [event for handle in handles for event in handle.result(timeout_s=40.0)]

    calls = [Call(lambda number=number: work(number)) for number in range(6)]  # type: ignore[misc]
    assert [call.result() for call in calls] == [[Noted(f"{n}-{t}") for t in range(5)] for n in range(6)]
    for number in range(10):
        saga_id = f"executed-{number}"
        assert orchestrator.execute(notes(saga_id, saga_id), timeout_s=40.0) == [Noted(saga_id)]
    assert (orchestrator.running_count(), orchestrator.history_count()) == (0, 40)
    assert orchestrator.event_store.head() == 40


def test_connections_do_not_add_up(orchestrator: SagaOrchestrator, gate: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    handle = orchestrator.start(one("many-wait", WaitFor(str(gate))))
    orchestrator.running_count()
    before = descriptors()
    calls = [Call(lambda: handle.result(timeout_s=40.0)) for _ in range(40)]
    until(lambda: orchestrator._session.requests.waiting == 40, "the calls that wait")
    assert descriptors() <= before + 3, "one for each process of the system that answers"
    gate.touch()
    assert [call.result() for call in calls] == [[Noted("attempt 1")]] * 40
    for _ in range(50):
        with pytest.raises(TimeoutError):
            orchestrator.start(one("later", WaitFor(str(gate) + "-no")), if_live="join").result(timeout_s=0.0)
    assert descriptors() <= before + 3
    orchestrator.cancel("later")
