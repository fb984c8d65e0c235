"""Opening and closing an orchestrator: which home, what goes on, what is left, and what a fork may do."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, Settings, SystemStateError
from antistrophe.linux.termination import processes_of_home
from tests.actors.steps import Noted, WaitFor, notes, one
from tests.killing import await_end


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that sagas wait for."""
    return tmp_path / "gate"


def test_the_home_is_named_by_the_environment_or_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with SagaOrchestrator() as by_default:
        assert by_default.home == tmp_path.resolve() / ".antistrophe"
    monkeypatch.setenv("ANTISTROPHE_HOME", str(tmp_path / "elsewhere"))
    with SagaOrchestrator() as by_environment:
        assert by_environment.home == tmp_path.resolve() / "elsewhere"


def test_a_saga_goes_on_when_its_home_is_opened_again(tmp_path: Path, gate: Path) -> None:
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.0)) as first:
        first.start(one("resumed", WaitFor(str(gate))))
    assert processes_of_home(tmp_path / "home") == []
    gate.touch()
    with SagaOrchestrator(tmp_path / "home") as second:
        assert second.handle("resumed").result(timeout_s=30.0)


def test_a_system_that_stops_says_once_what_it_leaves_undone(tmp_path: Path, gate: Path) -> None:
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.0)) as first:
        first.execute(notes("done", "a"))
    log = tmp_path / "home" / "log" / "system.log"
    assert "not finished" not in log.read_text()
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.0)) as second:
        for number in range(7):
            second.start(one(f"left-{number}", WaitFor(str(gate))))
    lines = [line for line in log.read_text().splitlines() if "not finished" in line]
    assert len(lines) == 1
    assert "7 sagas that are not finished, of which 0 have turned back" in lines[0]
    assert "left-0, left-1, left-2, left-3, left-4, …" in lines[0]
    assert "WARNING" in lines[0]


def test_closing_ends_every_call_that_waits(tmp_path: Path, gate: Path) -> None:
    orchestrator = SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.0))
    handle = orchestrator.start(one("waited-for", WaitFor(str(gate))))
    errors: list[BaseException] = []

    def wait(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    waits: list[Callable[[], object]] = [handle.result, lambda: orchestrator.wait_idle(60.0)]
    threads = [threading.Thread(target=wait, args=(call,)) for call in waits]
    for thread in threads:
        thread.start()
    orchestrator.close()
    for thread in threads:
        thread.join(10.0)
    assert [type(error) for error in errors] == [SystemStateError, SystemStateError]
    with pytest.raises(SystemStateError, match="closed"):
        orchestrator.running_count()
    orchestrator.close()


def test_one_that_is_never_closed_is_complained_about_and_leaves_nothing(tmp_path: Path) -> None:
    orchestrator: SagaOrchestrator | None = SagaOrchestrator(tmp_path / "home")
    with pytest.warns(ResourceWarning, match="never closed"):
        orchestrator = None  # noqa: F841 - nobody holds it any more
    gc.collect()
    await_end(tmp_path / "home")


def test_a_fork_is_told_to_open_its_own(tmp_path: Path) -> None:
    with SagaOrchestrator(tmp_path / "home") as orchestrator:
        orchestrator.execute(notes("before", "a"))
        handle = orchestrator.handle("before")
        calls: list[Callable[[], object]] = [
            lambda: orchestrator.execute(notes("in-the-fork", "a")),
            lambda: orchestrator.start(notes("in-the-fork", "a")),
            lambda: orchestrator.cancel("before"),
            lambda: orchestrator.retry_compensation("before"),
            lambda: orchestrator.get_saga("before"),
            orchestrator.list_sagas,
            lambda: orchestrator.subscribe(0),
            lambda: orchestrator.wait_idle(1.0),
            lambda: orchestrator.event_store,
            orchestrator.running_count,
            orchestrator.processes,
            handle.result,
            handle.metadata,
        ]
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            for call in calls:
                try:
                    call()
                except SystemStateError as error:
                    os.write(writer, f"{error}\n".encode())
            orchestrator.close()
            os._exit(0)
        os.close(writer)
        with open(reader) as answers:
            refusals = answers.read().splitlines()
        assert len(refusals) == len(calls)
        assert all("can't be used in its fork" in refusal for refusal in refusals)
        os.waitpid(child, 0)
        assert orchestrator.execute(notes("after", "a")) == [Noted("a")]
