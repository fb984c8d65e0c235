"""Steps whose methods are all ``async def`` share a process: many at a time, each with its own time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antistrophe import (
    RetryPolicy,
    SagaHandle,
    SagaOrchestrator,
    SagaStatus,
    Settings,
    StepCrashedError,
    StepFailedError,
    StepTimeoutError,
)
from antistrophe.linux.termination import processes_of_home
from tests.actors.planting import plant_in_children
from tests.actors.staging import Stage, outcome, pid_of, running, seen
from tests.actors.steps_waiter import Alone, Limited, Waiter
from tests.killing import kill
from tests.waiting import until

SETTINGS = Settings(max_running_sagas=600, max_async_processes=1, max_step_processes=2, drain_s=0.3)
MANY = 200


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SagaOrchestrator]:
    plant_in_children(monkeypatch, "time for stacks")
    yield from running(tmp_path / "home", SETTINGS)


class Play:
    """Starts sagas of one step that waits at a gate."""

    def __init__(self, system: SagaOrchestrator, stage: Stage) -> None:
        self.system, self.stage, self.log = system, stage, stage.log

    def step(self, name: str, gate: str = "", cls: type[Waiter] = Waiter, **options: Any) -> Waiter:
        return cls(str(self.log), name, gate, **options)

    def start(self, name: str, gate: str = "", **options: Any) -> SagaHandle:
        handle = self.system.start(self.stage.saga(self.step(name, gate, **options), saga_id=name))
        until(lambda: self.log.find(name, "begin"), f"{name} to begin")
        return handle

    def open(self, gate: str) -> None:
        Path(f"{self.log}.{gate}").touch()

    def pids(self, what: str = "begin") -> set[int]:
        return {each.pid for each in self.log.read() if each.what == what}

    def last_beat_is_before_the_undo(self, name: str) -> bool:
        beats = [each.at for each in self.log.find(name, "beat")]
        assert beats
        return max(beats) < self.log.find(name, "undo")[0].at


@pytest.fixture
def play(shared: SagaOrchestrator, stage: Stage) -> Play:
    return Play(shared, stage)


def test_hundreds_run_in_one_process_each_with_its_own_time(play: Play) -> None:
    handles = [play.system.start(play.stage.saga(play.step(f"s{n}", "all"), saga_id=f"s{n}")) for n in range(MANY)]
    one = play.step("late", "never", timeout_s=3.0, kill_grace_s=20.0)  # so long that nobody has to be killed for it
    late = play.system.start(play.stage.saga(one, saga_id="late"))
    until(lambda: len([each for each in play.log.read() if each.what == "begin"]) == MANY + 1, "all to begin", 40.0)
    assert len(play.pids()) == 1
    with pytest.raises(StepTimeoutError):
        late.result(20.0)
    assert late.status() is SagaStatus.COMPENSATED
    play.open("all")
    assert [handle.result(40.0) for handle in handles] == [[] for _ in handles]
    assert len(play.pids("done")) == 1
    assert play.pids("done") == play.pids(), "nobody was disturbed by the one that was late"
    rows = [each for each in play.system.processes() if each.role == "idle"]
    assert {each.pid for each in rows} == play.pids()


def test_monitoring_shows_the_process_of_each_call(play: Play) -> None:
    one, two = play.start("one", "go"), play.start("two", "go")
    rows = {each.saga_id: each.pid for each in play.system.processes() if each.role == "step"}
    assert set(rows) == {"one", "two"}
    assert set(rows.values()) == play.pids()
    play.open("go")
    one.result(20.0)
    two.result(20.0)


def test_one_that_blocks_the_loop_is_killed_and_its_neighbours_go_by_the_rules(play: Play) -> None:
    once = play.start("once", "go")
    again = play.start("again", "go", idempotent=True, retry=RetryPolicy(2, 0.01))
    blocker = play.start("blocker", how="block", timeout_s=0.5)
    with pytest.raises(StepTimeoutError):
        blocker.result(30.0)
    with pytest.raises(StepCrashedError, match="another call that ran there did not end in time"):
        once.result(30.0)
    assert seen(play.system, "once").steps[0].in_doubt
    play.open("go")
    again.result(30.0)
    assert play.log.story("once") == ["begin once", "undo once", "undone once"]
    assert [each.attempt for each in play.log.find("again", "begin")] == [1, 2]
    assert play.last_beat_is_before_the_undo("blocker")
    failed = next(each for each in play.system.get_timeline("blocker") if each.kind == "AttemptFailed")
    assert "in _do" in str(failed.data["stack"])


@pytest.mark.parametrize("how", ["thread", "own thread"])
def test_what_goes_on_in_a_thread_is_not_taken_for_ended(play: Play, how: str) -> None:
    handle = play.start("x", how=how, timeout_s=1.0)
    with pytest.raises(StepTimeoutError):
        handle.result(30.0)
    assert play.last_beat_is_before_the_undo("x")
    assert play.pids("undo") != play.pids("begin"), "its process was killed"


def test_a_compensation_that_a_neighbour_took_along_is_made_again_and_does_not_count(play: Play) -> None:
    step = play.step("x", "never", undo="later", timeout_s=0.3)
    undoing = play.system.start(play.stage.saga(step, saga_id="undoing"))
    until(lambda: play.log.find("undoing", "undo"), "the undo")
    with pytest.raises(StepTimeoutError):
        play.start("blocker", how="block", timeout_s=0.3).result(30.0)
    play.open("later")
    with pytest.raises(StepTimeoutError):
        undoing.result(30.0)
    assert play.log.story("undoing")[-3:] == ["undo x", "undo x", "undone x"]
    failed = [each for each in play.system.get_timeline("undoing") if each.kind == "AttemptFailed"]
    assert [each.data["counts"] for each in failed if each.data["action"] == "compensate"] == [False]


def test_an_exit_is_doubt_and_harms_no_neighbour(play: Play) -> None:
    neighbour = play.start("neighbour", "go")
    ended = outcome(play.system, play.stage.saga(play.step("x", how="exit"), saga_id="leaves"))
    assert isinstance(ended, StepFailedError)
    assert play.log.story("leaves") == ["begin x", "undo x", "undone x"]
    play.open("go")
    neighbour.result(20.0)


def test_a_call_is_adopted_when_its_saga_loses_its_actor(play: Play) -> None:
    handle = play.start("x", "go")
    host = pid_of(play.system, "saga")
    assert kill(host)
    until(lambda: pid_of(play.system, "saga") != host, "another host")
    play.open("go")
    handle.result(30.0)
    assert play.log.story("x") == ["begin x", "done x"]


def test_a_process_that_is_killed_leaves_all_its_calls_in_doubt(play: Play) -> None:
    handles = [play.start(f"s{n}", "go") for n in range(3)]
    (pid,) = play.pids()
    assert kill(pid)
    play.open("go")
    for number, handle in enumerate(handles):
        with pytest.raises(StepCrashedError):
            handle.result(30.0)
        assert play.log.story(f"s{number}") == [f"begin s{number}", f"undo s{number}", f"undone s{number}"]


def test_what_only_a_process_of_its_own_can_give_is_given(play: Play) -> None:
    saga = play.stage.saga(
        play.step("shared"),
        play.step("alone", cls=Alone),
        play.step("limited", cls=Limited),
        play.stage.act("sync"),
        play.step("again"),
        saga_id="x",
    )
    outcome(play.system, saga)
    pids = {each.step: each.pid for each in play.log.find("x", "begin")}
    assert pids["shared"] == pids["again"]
    assert pids["alone"] not in {pids[each] for each in ("shared", "limited", "sync")}
    assert pids["shared"] not in {pids["limited"], pids["sync"]}


def test_a_stop_ends_what_waits_and_the_next_start_goes_on(tmp_path: Path, stage: Stage) -> None:
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as system:
        Play(system, stage).start("x", "go", idempotent=True)
    assert processes_of_home(tmp_path / "home") == []
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as system:
        play = Play(system, stage)
        until(lambda: len(play.log.find("x", "begin")) == 2, "the next attempt")
        play.open("go")
        system.handle("x").result(20.0)
