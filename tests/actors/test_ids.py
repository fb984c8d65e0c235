"""One id, one saga: whoever starts it, however often, and from how many threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from antistrophe import (
    AlreadyExecutingError,
    SagaDefinition,
    SagaExistsError,
    SagaOrchestrator,
    SagaStatus,
    StepFailedError,
)
from tests.actors.staging import Stage, outcome, seen
from tests.actors.steps_act import Played
from tests.waiting import until

THREADS = 12


def at_once(work: Callable[[], None]) -> None:
    barrier = threading.Barrier(THREADS)

    def run() -> None:
        barrier.wait()
        work()

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_of_many_threads_exactly_one_runs_it(system: SagaOrchestrator, stage: Stage) -> None:
    for turn in range(5):
        saga = stage.saga(stage.act("x", f"gate:{turn}"))
        ends: list[str] = []

        def start(saga: SagaDefinition = saga, ends: list[str] = ends) -> None:
            try:
                system.start(saga)
                ends.append("won")
            except AlreadyExecutingError:
                ends.append("refused")

        at_once(start)
        assert sorted(ends) == ["refused"] * (THREADS - 1) + ["won"]
        stage.log.open_gate(str(turn))
        assert system.handle(saga.id).result(20.0) == [Played("x", 1)]
        assert len(stage.log.find(saga.id, "begin")) == 1


def test_of_many_threads_all_join_it(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("x", "pause:0.05"))
    ends: list[object] = []
    at_once(lambda: ends.append(system.execute(saga, if_live="join", timeout_s=30.0)))
    assert ends == [[Played("x", 1)]] * THREADS
    assert stage.log.story(saga.id) == ["begin x", "done x"]


def test_executing_short_ones_at_once_never_runs_one_twice(system: SagaOrchestrator, stage: Stage) -> None:
    """Who comes while it runs is refused, who comes later gets its outcome."""
    for _ in range(5):
        saga = stage.saga(stage.act("x"), stage.act("y"))
        ends: list[object] = []

        def run(saga: SagaDefinition = saga, ends: list[object] = ends) -> None:
            try:
                ends.append(system.execute(saga, timeout_s=30.0))
            except AlreadyExecutingError:
                ends.append(None)

        at_once(run)
        told = [each for each in ends if each is not None]
        assert told
        assert all(each == [Played("x", 1), Played("y", 1)] for each in told)
        assert stage.log.story(saga.id) == ["begin x", "done x", "begin y", "done y"]


def test_an_id_that_has_finished_gives_its_outcome_and_nothing_runs(system: SagaOrchestrator, stage: Stage) -> None:
    done, failed = stage.saga(stage.act("x")), stage.saga(stage.act("x"), stage.act("y", "raise:why"))
    for saga in (done, failed):
        first = outcome(system, saga)
        lines = len(stage.log.read(saga.id))
        again = outcome(system, saga)
        assert str(again) == str(first)
        assert type(again) is type(first)
        assert len(stage.log.read(saga.id)) == lines
    assert isinstance(outcome(system, failed), StepFailedError)


def test_another_definition_under_a_used_id_is_refused(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("x", "gate:used"))
    system.start(saga)
    others = [
        stage.saga(stage.act("x", "gate:other"), saga_id=saga.id),
        stage.saga(stage.act("y", "gate:used"), saga_id=saga.id),
        stage.saga(stage.verified("x", "gate:used"), saga_id=saga.id),
        stage.saga(stage.act("x", "gate:used"), stage.act("y"), saga_id=saga.id),
        stage.saga(stage.act("x", "gate:used"), saga_id=saga.id, name="another"),
    ]
    for other in others:
        with pytest.raises(AlreadyExecutingError):
            system.start(other)
        with pytest.raises(SagaExistsError):
            system.start(other, if_live="join")
    stage.log.open_gate("used")
    assert system.handle(saga.id).result(20.0) == [Played("x", 1)]
    for other in others:
        with pytest.raises(SagaExistsError):
            system.execute(other)
    policies = stage.saga(stage.act("x", "gate:used"), saga_id=saga.id, deadline_s=5.0)
    assert system.execute(policies) == [Played("x", 1)], "policies are those at acceptance"


def test_a_saga_that_is_live_in_another_life_is_still_one(system: SagaOrchestrator, stage: Stage) -> None:
    with SagaOrchestrator(system.home) as other:
        saga = stage.saga(stage.act("x", "gate:two"))
        handle = system.start(saga)
        with pytest.raises(AlreadyExecutingError):
            other.start(saga)
        joined = other.start(saga, if_live="join")
        until(lambda: seen(other, saga.id).status is SagaStatus.EXECUTING, "the saga in the other's eyes")
        stage.log.open_gate("two")
        assert joined.result(20.0) == handle.result(20.0) == [Played("x", 1)]
