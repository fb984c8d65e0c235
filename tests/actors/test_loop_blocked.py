"""A call may block the event loop that it shares, or leave a timer or task there: others must not suffer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from antistrophe import RetryPolicy, SagaOrchestrator, Settings, StepCrashedError, StepTimeoutError
from antistrophe.actors.step.event_loop import EventLoop
from antistrophe.actors.step.loop_watchdog import LOOK_S, LoopWatchdog
from antistrophe.linux.termination import processes_of_home
from tests.actors.planting import plant_in_children
from tests.actors.staging import Stage, seen
from tests.actors.test_async_workers import Play

SETTINGS = Settings(max_async_processes=1, max_step_processes=2, drain_s=0.3, loop_block_s=1.0)


@pytest.fixture
def play(tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    plant_in_children(monkeypatch, "time for stacks")
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as system:
        yield Play(system, stage)
    assert processes_of_home(tmp_path / "home") == []


def test_it_is_ended_and_said_to_be_the_one(play: Play) -> None:
    once = play.start("once", "go")
    again = play.start("again", "go", idempotent=True, retry=RetryPolicy(2, 0.01))
    with pytest.raises(StepCrashedError, match="it blocked the event loop that it shared with others for"):
        play.start("blocker", how="block", timeout_s=600.0).result(30.0)
    with pytest.raises(StepCrashedError, match="another call that ran there did not end in time"):
        once.result(30.0)
    play.open("go")
    again.result(30.0)
    assert [each.attempt for each in play.log.find("again", "begin")] == [1, 2]
    assert play.last_beat_is_before_the_undo("blocker")
    failed = next(each for each in play.system.get_timeline("blocker") if each.kind == "AttemptFailed")
    assert "in _do" in str(failed.data["stack"]), "and where it did"
    assert seen(play.system, "blocker").steps[0].in_doubt


def test_alone_it_may_take_its_own_time(play: Play) -> None:
    with pytest.raises(StepTimeoutError):
        play.start("blocker", how="block", timeout_s=2.0).result(30.0)


def test_a_loop_that_is_slow_but_turns_is_left_alone(play: Play) -> None:
    neighbour = play.start("neighbour", "go")
    play.start("slow", how="slow").result(30.0)
    play.open("go")
    neighbour.result(30.0)
    assert len(play.pids()) == 1


def test_a_timer_that_a_call_has_left_does_not_go_off_beside_the_next(play: Play) -> None:
    play.start("first", how="timer").result(30.0)
    play.start("second", how="slow").result(30.0)
    assert len(play.pids()) == 1, "in the same process, and for longer than the timer"
    assert not play.log.find("first", "beat")


class Loop:
    """An event loop whose state the test sets."""

    def __init__(self) -> None:
        self.turned = True
        self.now: tuple[object, str | None] = (None, None)

    def has_turned(self) -> bool:
        return self.turned

    def running(self) -> tuple[object, str | None]:
        return self.now


def looks(watchdog: LoopWatchdog, times: int) -> list[str | None]:
    return [watchdog.blocker(4 * LOOK_S) for _ in range(times)]


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def watchdog(loop: Loop) -> LoopWatchdog:
    return LoopWatchdog(cast(EventLoop, loop))


def test_it_is_named_after_as_many_looks_at_the_same_task(loop: Loop, watchdog: LoopWatchdog) -> None:
    loop.turned, loop.now = False, (object(), "a")
    assert looks(watchdog, 6) == [None, None, None, "a", "a", "a"]


def test_a_turn_or_another_task_begins_the_count_anew(loop: Loop, watchdog: LoopWatchdog) -> None:
    loop.turned, loop.now = False, (object(), "a")
    assert looks(watchdog, 3) == [None] * 3
    loop.turned = True
    assert looks(watchdog, 1) == [None]
    loop.turned = False
    assert looks(watchdog, 3) == [None] * 3
    loop.now = (object(), "b")
    assert looks(watchdog, 4) == [None, None, None, "b"]


def test_nobody_is_blamed_where_no_task_runs_or_one_of_nobody(loop: Loop, watchdog: LoopWatchdog) -> None:
    loop.turned = False
    assert looks(watchdog, 9) == [None] * 9
    loop.now = (object(), None)
    assert looks(watchdog, 9) == [None] * 9
