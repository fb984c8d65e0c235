"""The orchestrator's calls, each against a running system."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from statistics import median

import pytest

from antistrophe import (
    AlreadyExecutingError,
    CompensationFailedError,
    NotSerializableError,
    PayloadTooLargeError,
    RequestError,
    SagaCancelledError,
    SagaDefinition,
    SagaExistsError,
    SagaNotFoundError,
    SagaOrchestrator,
    SagaStatus,
    Settings,
    StepFailedError,
)
from antistrophe.client import subscription
from antistrophe.client.subscription import ChangeSubscription
from antistrophe.journal.stored_entries import PART_BYTES
from antistrophe.linux.termination import processes_of_home
from tests.actors.staging import running
from tests.actors.steps import Fail, Note, Noted, OpenAnOrchestrator, Return, Stay, WaitFor, notes, one
from tests.waiting import until

A_BUSY_MACHINE_S = 1.0
"""What a bound is given beyond what it says."""


@pytest.fixture(scope="module")
def orchestrator(shared_home: Path) -> Iterator[SagaOrchestrator]:
    yield from running(shared_home, Settings(reattach_s=10.0))


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that sagas wait for."""
    return tmp_path / "gate"


# --- running sagas ------------------------------------------------------------------------------------------------


def test_execute_answers_with_the_events_in_step_order(orchestrator: SagaOrchestrator) -> None:
    assert orchestrator.execute(notes("in-order", "a", "b", "c")) == [Noted("a"), Noted("b"), Noted("c")]


def test_ps_shows_what_each_process_is_and_whose(orchestrator: SagaOrchestrator) -> None:
    orchestrator.execute(notes("for-ps", "a"))
    homes = {
        f"antistrophe {role} {orchestrator.home}" for role in ("launcher", "supervisor", "registry", "saga", "step")
    }
    shown = {Path(f"/proc/{each.pid}/cmdline").read_bytes().rstrip(b"\0").decode() for each in orchestrator.processes()}
    assert homes <= shown


def test_what_a_saga_has_stored_is_not_appended_by_hand(orchestrator: SagaOrchestrator) -> None:
    events = orchestrator.execute(notes("by-itself", "a", "b"))
    with pytest.raises(RequestError, match="saga 'by-itself' has stored what its steps returned"):
        orchestrator.event_store.append("by-itself", events)
    assert orchestrator.event_store.get_events("by-itself") == events


def test_a_saga_without_steps_completes_with_nothing(orchestrator: SagaOrchestrator) -> None:
    assert orchestrator.execute(SagaDefinition("no-steps")) == []


def test_execute_raises_how_the_saga_ended(orchestrator: SagaOrchestrator) -> None:
    with pytest.raises(StepFailedError) as caught:
        orchestrator.execute(one("fails", Fail()))
    error = caught.value
    assert (error.saga_id, error.step_index, error.step_name) == ("fails", 0, "Fail")
    assert (error.error, error.error_type) == ("no such account", "LookupError")


def test_a_finished_id_gives_its_recorded_outcome_and_another_definition_is_refused(
    orchestrator: SagaOrchestrator,
) -> None:
    first = orchestrator.execute(notes("twice", "a"))
    before = orchestrator.event_store.version("twice")
    assert orchestrator.execute(notes("twice", "a")) == first
    assert orchestrator.start(notes("twice", "a")).result() == first
    assert orchestrator.event_store.version("twice") == before
    with pytest.raises(SagaExistsError):
        orchestrator.execute(notes("twice", "b"))
    with pytest.raises(StepFailedError):
        orchestrator.execute(one("fails", Fail()))


def test_a_live_id_is_refused_or_joined(orchestrator: SagaOrchestrator, gate: Path) -> None:
    handle = orchestrator.start(one("live", WaitFor(str(gate))))
    with pytest.raises(AlreadyExecutingError):
        orchestrator.execute(one("live", WaitFor(str(gate))))
    joined = orchestrator.start(one("live", WaitFor(str(gate))), if_live="join")
    with pytest.raises(TimeoutError):
        orchestrator.execute(one("live", WaitFor(str(gate))), if_live="join", timeout_s=0.1)
    with pytest.raises(ValueError, match="if_live"):
        orchestrator.execute(one("live", WaitFor(str(gate))), if_live="maybe")  # type: ignore[arg-type]
    gate.touch()
    assert handle.result() == joined.result() == orchestrator.handle("live").result() == [Noted("attempt 1")]


def test_a_timeout_leaves_the_saga_running(orchestrator: SagaOrchestrator, gate: Path) -> None:
    with pytest.raises(TimeoutError, match=r"'patient' has not ended within 0\.2 s"):
        orchestrator.execute(one("patient", WaitFor(str(gate))), timeout_s=0.2)
    until(lambda: orchestrator.get_saga("patient"), "it is accepted, which may take longer than the timeout")
    handle = orchestrator.handle("patient")
    assert handle.status() is SagaStatus.EXECUTING
    with pytest.raises(TimeoutError):
        handle.result(timeout_s=0.1)
    gate.touch()
    assert handle.result(timeout_s=20.0) == [Noted("attempt 1")]


def test_the_handle_of_an_unknown_saga(orchestrator: SagaOrchestrator) -> None:
    with pytest.raises(SagaNotFoundError, match="'nobody'"):
        orchestrator.handle("nobody")


def test_what_can_not_travel_is_refused_before_anything_is_sent(orchestrator: SagaOrchestrator) -> None:
    with pytest.raises(NotSerializableError):
        one("lambda", Note(lambda: None))  # type: ignore[arg-type]
    with pytest.raises(PayloadTooLargeError):
        orchestrator.execute(notes("large", "x" * (1 << 20)))
    assert orchestrator.get_saga("large") is None


def test_many_threads_share_one_orchestrator(orchestrator: SagaOrchestrator) -> None:
    results: dict[str, list[object]] = {}

    def work(number: int) -> None:
        for turn in range(5):
            saga_id = f"thread-{number}-{turn}"
            results[saga_id] = orchestrator.execute(notes(saga_id, saga_id))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {f"thread-{n}-{t}": [Noted(f"thread-{n}-{t}")] for n in range(8) for t in range(5)}


def test_of_many_who_start_one_id_one_wins(orchestrator: SagaOrchestrator, gate: Path) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(8)

    def race() -> None:
        barrier.wait()
        try:
            orchestrator.start(one("contested", WaitFor(str(gate))))
        except AlreadyExecutingError:
            outcomes.append("refused")
        else:
            outcomes.append("won")

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gate.touch()
    assert sorted(outcomes) == ["refused"] * 7 + ["won"]
    assert orchestrator.handle("contested").result() == [Noted("attempt 1")]


# --- orders -------------------------------------------------------------------------------------------------------


def test_cancel(orchestrator: SagaOrchestrator, gate: Path) -> None:
    handle = orchestrator.start(one("cancelled", WaitFor(str(gate))))
    assert handle.cancel(reason="not needed any more") is True
    with pytest.raises(SagaCancelledError, match="not needed any more"):
        handle.result()
    assert handle.cancel() is False
    orchestrator.execute(notes("done", "a"))
    assert orchestrator.cancel("done") is False
    with pytest.raises(SagaNotFoundError):
        orchestrator.cancel("nobody")


def test_a_parked_saga_is_retried_by_an_operator(orchestrator: SagaOrchestrator, gate: Path) -> None:
    saga = SagaDefinition("parked").add_step(Stay(str(gate))).add_step(Fail())
    with pytest.raises(CompensationFailedError) as caught:
        orchestrator.execute(saga)
    assert isinstance(caught.value.__cause__, StepFailedError)
    assert orchestrator.handle("parked").status() is SagaStatus.FAILED
    with pytest.raises(CompensationFailedError):
        orchestrator.handle("parked").result()
    with pytest.raises(RequestError):
        orchestrator.retry_compensation("done")
    gate.touch()
    assert orchestrator.retry_compensation("parked") is True
    until(lambda: orchestrator.handle("parked").status() is SagaStatus.COMPENSATED, "the end of the parked saga")
    with pytest.raises(StepFailedError):
        orchestrator.handle("parked").result()


def test_a_parked_saga_is_resolved_by_an_operator(orchestrator: SagaOrchestrator, gate: Path) -> None:
    saga = SagaDefinition("resolved").add_step(Stay(str(gate))).add_step(Fail())
    with pytest.raises(CompensationFailedError):
        orchestrator.execute(saga)
    with pytest.raises(RequestError):
        orchestrator.resolve("resolved", "Nothing", note="no such step")
    assert orchestrator.resolve("resolved", "Stay", note="moved by hand") is True
    until(lambda: orchestrator.handle("resolved").status() is SagaStatus.COMPENSATED, "the end of the resolved saga")
    assert any("moved by hand" in str(entry.data) for entry in orchestrator.get_timeline("resolved"))


# --- looking ------------------------------------------------------------------------------------------------------


def test_who_has_an_answer_sees_at_least_that_much(orchestrator: SagaOrchestrator) -> None:
    for turn in range(20):
        before = orchestrator.history_count()
        orchestrator.execute(notes(f"seen-{turn}", "a"))
        found = orchestrator.get_saga(f"seen-{turn}")
        assert found is not None
        assert found.status is SagaStatus.COMPLETED
        assert orchestrator.history_count() == before + 1
        handle = orchestrator.start(notes(f"seen-started-{turn}", "a"))
        assert orchestrator.get_saga(handle.id) is not None
        handle.result()


def test_metadata_of_a_finished_saga(orchestrator: SagaOrchestrator) -> None:
    orchestrator.execute(notes("described", "a", "b"))
    found = orchestrator.get_saga("described")
    assert found is not None
    assert (found.id, found.name, found.steps_executed, found.total_steps) == ("described", "notes", 2, 2)
    assert found.created_at.tzinfo is UTC
    assert found.created_at <= found.updated_at
    assert [step.name for step in found.steps] == ["note-0", "note-1"]
    assert orchestrator.get_saga("nobody") is None


def test_running_sagas_history_and_idleness(orchestrator: SagaOrchestrator, gate: Path) -> None:
    orchestrator.wait_idle(timeout_s=20.0)
    assert orchestrator.running_count() == 0
    handle = orchestrator.start(one("running", WaitFor(str(gate))))
    assert orchestrator.running_count() == 1
    assert [saga.id for saga in orchestrator.get_running_sagas()] == ["running"]
    with pytest.raises(TimeoutError, match="1 saga"):
        orchestrator.wait_idle(timeout_s=0.1)
    gate.touch()
    orchestrator.wait_idle(timeout_s=20.0)
    assert handle.status() is SagaStatus.COMPLETED
    assert [saga.id for saga in orchestrator.get_history()][-1] == "running"
    assert len(orchestrator.get_history(limit=1)) == 1
    with pytest.raises(ValueError, match="limit"):
        orchestrator.get_history(limit=0)


def test_pages_of_sagas(orchestrator: SagaOrchestrator) -> None:
    for number in range(5):
        orchestrator.execute(one(f"page-{number}", Note("a")))
    page = orchestrator.list_sagas(text="page-", limit=2)
    seen = [saga.id for saga in page]
    assert len(page) == 2
    assert page[0].id == seen[0]
    while page.cursor is not None:
        page = orchestrator.list_sagas(text="page-", limit=2, cursor=page.cursor)
        seen += [saga.id for saga in page]
    assert seen == [f"page-{number}" for number in reversed(range(5))]
    assert {saga.status for saga in orchestrator.list_sagas(status=SagaStatus.COMPLETED)} == {SagaStatus.COMPLETED}
    assert len(orchestrator.list_sagas(name="page-3")) == 1
    with pytest.raises(RequestError, match="cursor"):
        orchestrator.list_sagas(cursor="garbage")
    assert orchestrator.running_count() == 0, "a wrong question hurts nobody"


def test_the_timeline_tells_every_entry(orchestrator: SagaOrchestrator) -> None:
    orchestrator.execute(notes("told", "a"))
    timeline = orchestrator.get_timeline("told")
    assert [entry.seq for entry in timeline] == list(range(1, len(timeline) + 1))
    assert [entry.position for entry in timeline] == sorted(entry.position for entry in timeline)
    with pytest.raises(SagaNotFoundError):
        orchestrator.get_timeline("nobody")


def test_outputs_come_by_step_name_in_step_order(orchestrator: SagaOrchestrator) -> None:
    values: dict[str, object] = {"number": 17, "map": {"a": (1, 2)}, "empty": "", "no": False}
    saga = SagaDefinition("returns").add_step(Note("an event"))
    for name, value in values.items():
        saga = saga.add_step(Return(value, name))
    outputs = orchestrator.start(saga).outputs(timeout_s=30.0)
    assert outputs == orchestrator.get_outputs("returns") == values
    assert list(outputs) == list(values), "a step without an output is not there"
    assert orchestrator.handle("returns").outputs() == values
    with pytest.raises(SagaNotFoundError):
        orchestrator.get_outputs("nobody")


def test_one_step_stands_in_a_saga_twice_under_two_names(orchestrator: SagaOrchestrator) -> None:
    again = Return("same")
    saga = SagaDefinition("one-step-twice").add_step(again, name="first").add_step(again, name="second")
    assert orchestrator.start(saga).outputs(timeout_s=30.0) == {"first": "same", "second": "same"}
    found = orchestrator.get_saga(saga.id)
    assert found is not None
    assert [step.name for step in found.steps] == ["first", "second"]


def test_outputs_of_a_saga_that_runs_or_turned_back(orchestrator: SagaOrchestrator, gate: Path) -> None:
    saga = SagaDefinition("returns-and-fails").add_step(Return(1)).add_step(WaitFor(str(gate))).add_step(Fail())
    handle = orchestrator.start(saga)
    until(lambda: orchestrator.get_outputs(saga.id) == {"Return": 1}, "the first step's output")
    with pytest.raises(TimeoutError):
        handle.outputs(timeout_s=0.05)
    gate.touch()
    with pytest.raises(StepFailedError):
        handle.outputs()
    assert orchestrator.get_outputs(saga.id) == {"Return": 1}, "it was compensated, and had returned it"


def test_outputs_that_do_not_fit_into_one_message_come_all(orchestrator: SagaOrchestrator) -> None:
    values = {f"step-{number}": bytes([number]) * 1_000_000 for number in range(PART_BYTES // 1_000_000 + 2)}
    saga = SagaDefinition("returns-much")
    for name, value in values.items():
        saga = saga.add_step(Return(value, name))
    assert orchestrator.start(saga).outputs() == values


def test_a_subscription_from_now_on_and_one_from_the_beginning(orchestrator: SagaOrchestrator) -> None:
    orchestrator.execute(notes("earlier", "a"))
    with orchestrator.subscribe() as changes:
        orchestrator.execute(notes("followed", "a"))
        seen = []
        for change in changes:
            seen.append(change)
            if change.saga.id == "followed" and change.saga.status is SagaStatus.COMPLETED:
                break
    assert {change.saga.id for change in seen} == {"followed"}
    positions = [change.position for change in seen]
    assert positions == sorted(set(positions))
    with orchestrator.subscribe(from_position=0) as again:
        first = next(again)
    assert first.position < positions[0]
    with orchestrator.subscribe(from_position=positions[0]) as rest:
        assert next(rest).position > positions[0]


def test_what_another_has_changed_is_told_within_the_bound(
    orchestrator: SagaOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "_POLL_S", 50.0)  # who is told only when the wait is over is told too late
    bound_s = Settings().report_s + A_BUSY_MACHINE_S
    told: list[float] = []
    late: list[float] = []

    def read(changes: ChangeSubscription) -> None:
        told.extend(
            time.monotonic()
            for change in changes
            if change.saga.id.startswith("of-another") and change.saga.status is SagaStatus.COMPLETED
        )

    with orchestrator.subscribe() as changes, SagaOrchestrator(orchestrator.home) as other:
        reader = threading.Thread(target=read, args=(changes,))
        reader.start()
        while len(late) < 3 or (median(late) >= bound_s and len(late) < 9):
            other.execute(notes(f"of-another-{len(late)}", "a"))
            ended = time.monotonic()
            until(lambda: len(told) > len(late), "the news")
            late.append(told[-1] - ended)
        changes.close()
        reader.join(10.0)
    assert median(late) < bound_s, late


def test_closing_a_subscription_ends_who_waits_for_it(orchestrator: SagaOrchestrator) -> None:
    changes = orchestrator.subscribe()
    seen: list[object] = []
    reader = threading.Thread(target=lambda: seen.extend(changes))
    reader.start()
    changes.close()
    reader.join(10.0)
    assert not reader.is_alive()
    assert seen == []


def test_processes(orchestrator: SagaOrchestrator, gate: Path) -> None:
    handle = orchestrator.start(one("seen-working", WaitFor(str(gate))))
    until(
        lambda: {"saga", "step"} <= {each.role for each in orchestrator.processes() if each.saga_id == "seen-working"},
        "the saga's processes",
    )
    roles = {record.role for record in orchestrator.processes()}
    gate.touch()
    handle.result()
    assert {"launcher", "admin", "logger", "supervisor", "registry", "step"} <= roles
    assert roles <= {"launcher", "admin", "logger", "supervisor", "registry", "saga", "step", "idle"}


def test_every_process_of_the_home_is_listed(orchestrator: SagaOrchestrator) -> None:
    orchestrator.wait_idle(20.0)

    def agrees() -> bool:
        return {record.pid for record in orchestrator.processes()} == set(processes_of_home(orchestrator.home))

    until(agrees, "a list of all processes")


def test_the_event_store_holds_the_sagas_events(orchestrator: SagaOrchestrator) -> None:
    before = len(orchestrator.event_store.get_all_events())
    orchestrator.execute(notes("stored", "a", "b"))
    assert orchestrator.event_store.get_all_events()[before:] == [Noted("a"), Noted("b")]


def test_a_step_that_opens_an_orchestrator_is_told_what_is_wrong(orchestrator: SagaOrchestrator) -> None:
    with pytest.raises(StepFailedError, match='if __name__ == "__main__":'):
        orchestrator.execute(one("nested", OpenAnOrchestrator(str(orchestrator.home))))
