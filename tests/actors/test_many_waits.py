"""Many calls that wait at once, where a process may have few files open: one connection carries them all."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from antistrophe import OverloadedError, SagaDefinition, SagaOrchestrator, SagaStep, Settings, StepContext, StepResult
from antistrophe.client import request_reply
from antistrophe.client.connection import Connection
from antistrophe.launcher.system import System
from tests.actors.many_waits import PATIENCE_S
from tests.actors.steps import Noted, WaitFor, one
from tests.waiting import until

LIMIT = 1024
WITH_LIMIT = f'ulimit -n {LIMIT}; exec "$@"'


def start(home: Path, name: str, calls: int, kind: str) -> subprocess.Popen[str]:
    """An application that may have 1,024 files open, as may the system that it starts."""
    arguments = [sys.executable, "-m", "tests.actors.many_waits", str(home), name, str(calls), kind]
    command = ["bash", "-c", WITH_LIMIT, "bash", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ended(application: subprocess.Popen[str]) -> dict[str, int]:
    said, _ = application.communicate(timeout=PATIENCE_S)
    return dict(json.loads(said))


@pytest.mark.timeout(400)  # more than a thousand sagas, on a machine that may be busy
@pytest.mark.parametrize(("applications", "calls", "kind"), [(1, 900, "tasks"), (6, 190, "threads")])
def test_calls_that_wait_need_no_descriptors(tmp_path: Path, applications: int, calls: int, kind: str) -> None:
    home = tmp_path / "home"
    with SagaOrchestrator(home, settings=Settings(drain_s=0.5)) as onlooker:
        resource.prlimit(supervisor_of(onlooker), resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        running = [start(home, f"a{number}", calls, kind) for number in range(applications)]
        until(lambda: onlooker.running_count() == applications * calls, "all calls wait", within_s=PATIENCE_S)
        Path(f"{home}.gate").touch()
        assert [ended(application) for application in running] == [{"[]": calls}] * applications
        assert onlooker.execute(one("after", WaitFor(f"{home}.gate")), timeout_s=30.0) == [Noted("attempt 1")]


def supervisor_of(orchestrator: SagaOrchestrator) -> int:
    return next(each.pid for each in orchestrator.processes() if each.role == "supervisor")


def test_a_client_that_waits_holds_one_connection(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as orchestrator:
        handle = orchestrator.start(one("many-wait", WaitFor(str(gate))))
        orchestrator.running_count()
        mine, theirs = descriptors(os.getpid()), descriptors(supervisor_of(orchestrator))
        results: list[object] = []
        callers = [threading.Thread(target=lambda: results.append(handle.result(timeout_s=40.0))) for _ in range(60)]
        for caller in callers:
            caller.start()
        until(lambda: orchestrator._session.requests.waiting == 60, "all of them wait")
        assert descriptors(os.getpid()) <= mine + 3, "one for each process of the system that answers"
        assert descriptors(supervisor_of(orchestrator)) <= theirs + 10, "what it opens for other reasons"
        gate.touch()
        for caller in callers:
            caller.join(40.0)
        assert results == [[Noted("attempt 1")]] * 60
    assert "antistrophe-answers" not in [thread.name for thread in threading.enumerate()]


def test_a_signal_handler_may_make_calls_while_the_main_thread_waits(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    told: list[object] = []
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as orchestrator:
        handle = orchestrator.start(one("a", WaitFor(str(gate))))
        requests = orchestrator._session.requests

        def tell(_signal: int, _frame: object) -> None:
            told.append(orchestrator.running_count())
            gate.touch()

        def interrupt() -> None:
            until(lambda: requests.waiting == 1, "it waits")
            os.kill(os.getpid(), signal.SIGUSR2)

        before = signal.signal(signal.SIGUSR2, tell)
        try:
            threading.Thread(target=interrupt).start()
            assert handle.result(timeout_s=40.0) == [Noted("attempt 1")]
        finally:
            signal.signal(signal.SIGUSR2, before)
        assert told == [1]


def test_a_wait_that_is_interrupted_leaves_the_other_waits_as_they_were(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    results: list[object] = []
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as orchestrator:
        handle = orchestrator.start(one("a", WaitFor(str(gate))))
        requests = orchestrator._session.requests
        others = [threading.Thread(target=lambda: results.append(handle.result(timeout_s=40.0))) for _ in range(5)]

        def interrupt() -> None:
            until(lambda: requests.waiting == 1, "it waits")
            for other in others:
                other.start()
            until(lambda: requests.waiting == 6, "all of them wait")
            signal.raise_signal(signal.SIGINT)

        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            handle.result(timeout_s=40.0)
        interrupter.join(40.0)
        gate.touch()
        for other in others:
            other.join(40.0)
        assert results == [[Noted("attempt 1")]] * 5
        assert handle.result(timeout_s=40.0) == [Noted("attempt 1")]


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


class Tell(SagaStep):
    """Tells how many files it may have open, softly and at the most."""

    requires_compensation = False

    def execute(self, ctx: StepContext) -> StepResult[list[int]]:
        return StepResult(list(resource.getrlimit(resource.RLIMIT_NOFILE)))


def test_the_system_uses_the_hard_limit_and_users_code_keeps_its_soft_limit(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = min(before[0], 300), before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as orchestrator:
            orchestrator.execute(SagaDefinition("limits").add_step(Tell()), timeout_s=30.0)
            assert orchestrator.get_outputs("limits") == {"Tell": [soft, hard]}
            for each in orchestrator.processes():
                limits = resource.prlimit(each.pid, resource.RLIMIT_NOFILE)
                assert limits == ((soft if each.role in ("step", "idle") else hard), hard), each.role
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_call_that_waits_outlasts_a_lack_of_descriptors_and_a_new_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    refused: list[int] = []

    def no_room(_system: System) -> Connection:
        refused.append(threading.get_ident())
        raise OverloadedError("this process has no room for a connection to the actor system")

    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as orchestrator:
        handle = orchestrator.start(one("a", WaitFor(str(gate))))
        results: list[object] = []
        caller = threading.Thread(target=lambda: results.append(handle.result(timeout_s=40.0)))
        caller.start()
        until(lambda: orchestrator._session.requests.waiting == 1, "it waits")
        with monkeypatch.context() as patch:
            patch.setattr(request_reply, "Connection", no_room)
            connection = orchestrator._session.requests._connection
            assert connection is not None
            connection.close()
            until(lambda: refused.count(caller.ident or 0) >= 2, "it tries again")
            for call in (orchestrator.running_count, handle.result):
                with pytest.raises(OverloadedError, match="no room"):
                    call()
        gate.touch()
        caller.join(40.0)
        assert results == [[Noted("attempt 1")]]


def test_calls_go_on_where_their_connection_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = tmp_path / "gate"
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as orchestrator:
        results: list[object] = []
        call: Callable[[], None] = lambda: results.append(orchestrator.execute(one("a", WaitFor(str(gate)))))  # noqa: E731
        caller = threading.Thread(target=call)
        caller.start()
        until(lambda: orchestrator._session.requests.waiting == 1 and orchestrator.get_saga("a"), "it waits")
        connection = orchestrator._session.requests._connection
        assert isinstance(connection, Connection)
        connection.close()
        gate.touch()
        caller.join(30.0)
        assert results == [[Noted("attempt 1")]]
        assert orchestrator._session.requests._connection is not connection


def test_a_fork_lets_go_of_a_connection_that_is_at_work(tmp_path: Path) -> None:
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as orchestrator:
        orchestrator.running_count()
        connection = orchestrator._session.requests._connection
        assert connection is not None
        transport = connection._mailbox._transport
        held, forked = threading.Event(), threading.Event()

        def work() -> None:
            with transport._loop.lock:
                held.set()
                forked.wait(30.0)

        worker = threading.Thread(target=work)
        worker.start()
        held.wait(30.0)
        child = os.fork()
        if child == 0:
            transport.close()
            os._exit(17 if connection.closed else 18)
        forked.set()
        worker.join(30.0)
        status = until(lambda: ended_child(child), "the fork ends")
        assert os.waitstatus_to_exitcode(status) == 17
        assert orchestrator.running_count() == 0


def ended_child(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return status if found else None
