"""What the steps of one saga return together is larger than a message may be: it goes on, and all of it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe import SagaDefinition, SagaOrchestrator, SagaStatus, SagaStep, StepFailedError, StepStatus
from antistrophe.actors.saga.run_step import NAMED_AT_EACH_END
from antistrophe.records import SagaMetadata
from tests.actors.planting import SMALL_FRAME_BYTES, plant_in_children
from tests.actors.staging import running
from tests.actors.steps_large import AsyncTake, Give, Given, SpoilFirstResult, Take
from tests.waiting import until

MB = 1_000_000
MANY = SMALL_FRAME_BYTES // MB + 4


@pytest.fixture(scope="module")
def system(shared_home: Path) -> Iterator[SagaOrchestrator]:
    """A system whose messages may hold little, so that a test need not make so much."""
    with pytest.MonkeyPatch.context() as patch:
        plant_in_children(patch, "frames are small")
        yield from running(shared_home)


def saga_of(saga_id: str, *steps: tuple[str, SagaStep]) -> SagaDefinition:
    saga = SagaDefinition(saga_id)
    for name, step in steps:
        saga = saga.add_step(step, name)
    return saga


def gives(size: int, number: int = MANY, event_bytes: int = 0, folder: str = "") -> list[tuple[str, SagaStep]]:
    return [(f"give-{each}", Give(each, size, event_bytes, folder)) for each in range(number)]


@pytest.mark.parametrize("kind", [Take, AsyncTake])
def test_each_output_is_read_when_it_is_asked_for(system: SagaOrchestrator, kind: type[Take]) -> None:
    wanted = ("give-0", f"give-{MANY - 1}", "give-3", "give-0")
    saga = saga_of(f"outputs-{kind.__name__}", *gives(MB), ("take", kind(wanted)))
    handle = system.start(saga)
    assert handle.result(30.0) == []
    outputs = handle.outputs()
    assert {name: output[:4] for name, output in outputs.items() if name != "take"} == {
        f"give-{number}": number.to_bytes(4, "big") for number in range(MANY)
    }
    told = {name: int(name.removeprefix("give-")) for name in wanted}
    assert outputs["take"] == told | {"there": MANY, "first": "give-0", "nowhere": False}


def test_a_saga_whose_outputs_are_large_is_undone_with_them(system: SagaOrchestrator, tmp_path: Path) -> None:
    saga = saga_of("undone", *gives(MB, folder=str(tmp_path)), ("take", Take(("give-1",), fails=True)))
    with pytest.raises(StepFailedError, match="give-1"):
        system.execute(saga, timeout_s=30.0)
    notes = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert notes == {f"undone-{number}": f"True {number}" for number in range(MANY)}
    assert set(system.get_outputs(saga.id)) == {f"give-{number}" for number in range(MANY)}


def test_outputs_that_are_many_are_all_there(system: SagaOrchestrator) -> None:
    number = 3 * NAMED_AT_EACH_END
    middle = f"give-{number // 2}"
    saga = saga_of("many", *gives(8, number), ("take", Take((middle, "give-0"))), ("again", Take((middle,))))
    system.execute(saga, timeout_s=30.0)
    outputs = system.get_outputs(saga.id)
    common = {"first": "give-0", "nowhere": False}
    assert outputs["take"] == {middle: number // 2, "give-0": 0, "there": number} | common
    assert outputs["again"] == {middle: number // 2, "there": number + 1} | common


def test_events_that_fit_into_no_message_come_all(system: SagaOrchestrator) -> None:
    saga = saga_of("events", *gives(4, event_bytes=MB))
    beside = [system.start(saga_of(f"beside-{number}", *gives(8, 3, event_bytes=8))) for number in range(8)]
    events = system.execute(saga, timeout_s=30.0)
    assert [each.number for each in events if isinstance(each, Given)] == list(range(MANY))
    assert system.handle(saga.id).result(30.0) == events, "and again"
    for handle in beside:
        assert [each.number for each in handle.result(30.0) if isinstance(each, Given)] == [0, 1, 2]
    stored = system.event_store.get_events(saga.id)
    assert stored == events


def test_a_timeline_that_fits_into_no_message_comes_all(system: SagaOrchestrator) -> None:
    saga = saga_of("timeline", *gives(MB, event_bytes=MB // 2))
    system.execute(saga, timeout_s=30.0)
    timeline = system.get_timeline(saga.id)
    assert [entry.seq for entry in timeline] == list(range(1, 2 * MANY + 3))
    results = [entry.data["output"] for entry in timeline if entry.kind == "AttemptSucceeded"]
    assert [int.from_bytes(each[:4], "big") for each in results if isinstance(each, bytes)] == list(range(MANY))


def test_an_output_that_can_not_be_read_leaves_doubt_and_is_told(system: SagaOrchestrator, shared_home: Path) -> None:
    spoil = SpoilFirstResult(str(shared_home / "journal.db"))
    saga = saga_of("unreadable", *gives(MB, 2), ("spoil", spoil), ("take", Take(("give-0",))))
    system.start(saga)

    def waits() -> SagaMetadata | None:
        """Its undo needs the same output."""
        found = system.get_saga(saga.id)
        return found if found is not None and "give-0 can't be read" in (found.waiting or "") else None

    shown = until(waits, "the reason why it waits")
    assert shown.status is SagaStatus.COMPENSATING
    assert shown.steps[3].error is not None
    assert shown.steps[3].error.startswith("InDoubtError: the output of step 'give-0' can't be read: ")
    assert [step.status for step in shown.steps[1:]] == [StepStatus.COMPENSATED] * 3, "the one in doubt included"
