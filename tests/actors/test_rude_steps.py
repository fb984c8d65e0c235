"""Steps that spoil their process or leave something behind: nothing of it reaches the next attempt."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from antistrophe import (
    ResourceLimits,
    SagaDefinition,
    SagaError,
    SagaHandle,
    SagaOrchestrator,
    SagaStatus,
    Settings,
)
from antistrophe.linux.termination import processes_of_home
from tests.actors.staging import Stage, outcome, seen
from tests.actors.steps import Fail
from tests.actors.steps_rude import (
    FILES,
    LEAVES,
    LEAVES_SHARED,
    AsyncOpenFiles,
    CloseAll,
    ForkOn,
    HangWithThread,
    Leave,
    LeaveAJob,
    LeaveShared,
    NoteBegin,
    OpenFiles,
    Pid,
    StopTheLoop,
    Tidy,
    TidyShared,
)
from tests.waiting import until


def own_files(folder: Path) -> list[bytes]:
    return [Path(folder, f"own-{number}").read_bytes() for number in range(FILES)]


def test_a_step_that_closes_all_descriptors_keeps_its_files_and_its_outcome(
    system: SagaOrchestrator, stage: Stage, tmp_path: Path
) -> None:
    folder = str(tmp_path)
    saga = SagaDefinition("close-all").add_step(CloseAll(folder)).add_step(Pid(folder))
    assert outcome(system, saga) == []
    assert own_files(tmp_path) == [b""] * FILES, "the runtime writes into no file of the user's"
    assert (tmp_path / "Pid").read_text() != (tmp_path / "pid").read_text(), "the process is not lent again"


def test_what_such_a_step_raised_is_known_too(system: SagaOrchestrator, stage: Stage, tmp_path: Path) -> None:
    saga = SagaDefinition("close-all-raise").add_step(Pid(str(tmp_path))).add_step(CloseAll(str(tmp_path), fails=True))
    assert "no such account" in str(outcome(system, saga))
    assert own_files(tmp_path) == [b""] * FILES
    assert seen(system, "close-all-raise").status is SagaStatus.COMPENSATED


def test_a_shared_process_without_its_descriptors_ends_at_once(system: SagaOrchestrator, tmp_path: Path) -> None:
    saga = SagaDefinition("close-all-shared").add_step(StopTheLoop(str(tmp_path)))
    outcome(system, saga)
    assert {path.read_bytes() for path in tmp_path.glob("own-*")} == {b""}
    assert seen(system, "close-all-shared").status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)


def last_beat(folder: Path, attempt: int = 1) -> float:
    """When what that attempt has left wrote for the last time."""
    return float(Path(folder, f"beats-{attempt}").read_text().splitlines()[-1])


def begin_of(folder: Path, what: str) -> float:
    return float(Path(folder, what).read_text())


@pytest.mark.parametrize("what", LEAVES)
def test_what_a_call_has_left_is_dead_before_its_compensation(
    system: SagaOrchestrator, tmp_path: Path, what: str
) -> None:
    saga = SagaDefinition(f"left-{what}").add_step(Leave(str(tmp_path), what)).add_step(Fail())
    assert "no such account" in str(outcome(system, saga))
    assert seen(system, saga.id).status is SagaStatus.COMPENSATED
    assert last_beat(tmp_path) < begin_of(tmp_path, "undo")
    assert any("it left 1 " in str(entry) for entry in system.get_timeline(saga.id)), "the timeline says so"


@pytest.mark.parametrize("what", LEAVES)
def test_what_a_failed_call_has_left_is_dead_before_its_next_attempt(
    system: SagaOrchestrator, tmp_path: Path, what: str
) -> None:
    saga = SagaDefinition(f"left-failed-{what}").add_step(Leave(str(tmp_path), what, fails=True))
    assert outcome(system, saga) == []
    assert last_beat(tmp_path) < begin_of(tmp_path, "begin-2")


def test_the_process_of_a_fresh_step_is_dead_before_its_compensation(system: SagaOrchestrator, tmp_path: Path) -> None:
    saga = SagaDefinition("left-fresh").add_step(Leave(str(tmp_path), "daemon", isolation="fresh")).add_step(Fail())
    assert "no such account" in str(outcome(system, saga))
    assert last_beat(tmp_path) < begin_of(tmp_path, "undo")


@pytest.mark.parametrize("limits", [None, ResourceLimits(open_files=512)], ids=["shared", "own process"])
def test_a_job_that_a_coroutine_leaves_is_over_before_the_saga_goes_on(
    system: SagaOrchestrator, tmp_path: Path, limits: ResourceLimits | None
) -> None:
    folder, name = str(tmp_path), "left-job-own" if limits else "left-job-shared"
    assert (
        outcome(system, SagaDefinition(name).add_step(LeaveAJob(folder, limits)).add_step(NoteBegin(folder, "next")))
        == []
    )
    job_over = Path(folder, "job-over")
    assert not job_over.exists() or begin_of(tmp_path, "job-over") < begin_of(tmp_path, "next")


def test_a_native_thread_of_a_coroutine_that_timed_out_is_dead_before_the_compensation(
    system: SagaOrchestrator, tmp_path: Path
) -> None:
    outcome(system, SagaDefinition("left-by-timeout").add_step(HangWithThread(str(tmp_path))))
    assert last_beat(tmp_path) < begin_of(tmp_path, "undo")


def test_a_step_that_waits_for_what_it_starts_keeps_its_process(system: SagaOrchestrator, tmp_path: Path) -> None:
    saga = SagaDefinition("tidy")
    for number in range(4):
        saga = saga.add_step(Tidy(str(tmp_path), f"tidy-{number}"))
    assert outcome(system, saga) == []
    assert len({Path(tmp_path, f"tidy-{number}").read_text() for number in range(4)}) == 1


@pytest.mark.parametrize("step_class", [OpenFiles, AsyncOpenFiles])
def test_a_step_has_no_descriptor_of_the_journal(
    system: SagaOrchestrator, shared_home: Path, step_class: type[OpenFiles | AsyncOpenFiles]
) -> None:
    saga = SagaDefinition(step_class.__name__).add_step(step_class("files"))
    outcome(system, saga)
    files = system.get_outputs(saga.id)["files"]
    assert any("attempts/" in file for file in files), "it does look at its own process"
    assert [file for file in files if "journal.db" in file] == []


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "returns"])
def test_chains_of_forks_are_dead_before_the_compensation(tmp_path: Path, hangs: bool) -> None:
    saga = SagaDefinition("chain").add_step(ForkOn(str(tmp_path), hangs)).add_step(Fail())
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as system:
        outcome(system, saga)
        assert seen(system, "chain").status is SagaStatus.COMPENSATED
    assert processes_of_home(tmp_path / "home") == []
    assert max(last_beat(tmp_path, chain) for chain in (1, 2, 3)) < begin_of(tmp_path, "undo")


@pytest.mark.parametrize("what", LEAVES_SHARED)
def test_what_a_call_has_left_in_a_shared_process_is_dead_before_its_compensation(
    system: SagaOrchestrator, tmp_path: Path, what: str
) -> None:
    saga = SagaDefinition(f"left-shared-{what}").add_step(LeaveShared(str(tmp_path), what)).add_step(Fail())
    assert "no such account" in str(outcome(system, saga))
    assert seen(system, saga.id).status is SagaStatus.COMPENSATED
    assert seen(system, saga.id).steps[0].attempts == 1
    assert last_beat(tmp_path) < begin_of(tmp_path, "undo")
    assert any("it left 1 " in str(entry) for entry in system.get_timeline(saga.id)), "the timeline says so"


def test_calls_that_run_beside_one_that_leaves_something_come_to_their_end(
    system: SagaOrchestrator, tmp_path: Path
) -> None:
    folder = str(tmp_path)
    beside = system.start(SagaDefinition("beside").add_step(TidyShared(folder, "neighbour", "gate")))
    until((tmp_path / "neighbour-began").exists, "the neighbour")
    leaver = system.start(SagaDefinition("leaver").add_step(LeaveShared(folder, "thread")).add_step(Fail()))
    until((tmp_path / "beats-1").exists, "what it leaves")
    numbers = itertools.count()

    def runs_elsewhere() -> bool:
        name = f"later-{next(numbers)}"
        assert outcome(system, SagaDefinition(name).add_step(TidyShared(folder, name))) == []
        return (tmp_path / name).read_text() != (tmp_path / "neighbour-began").read_text()

    until(runs_elsewhere, "another process for new calls")
    assert not (tmp_path / "undo").exists(), "it waits for its neighbour"
    (tmp_path / "gate").write_text("open")
    assert beside.result(20.0) == []
    assert "no such account" in str(end_of(leaver))
    assert last_beat(tmp_path) < begin_of(tmp_path, "undo")
    assert seen(system, "beside").steps[0].attempts == 1


def end_of(handle: SagaHandle) -> object:
    try:
        return handle.result(20.0)
    except SagaError as error:
        return error


def test_a_coroutine_that_waits_for_what_it_starts_keeps_its_process(system: SagaOrchestrator, tmp_path: Path) -> None:
    saga = SagaDefinition("tidy-shared")
    for number in range(4):
        saga = saga.add_step(TidyShared(str(tmp_path), f"tidy-{number}"))
    assert outcome(system, saga) == []
    assert len({Path(tmp_path, f"tidy-{number}").read_text() for number in range(4)}) == 1
