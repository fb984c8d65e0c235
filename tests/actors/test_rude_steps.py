"""Steps that spoil their process or leave something behind: nothing of it reaches the next attempt."""

from __future__ import annotations

from pathlib import Path

from antistrophe import SagaDefinition, SagaOrchestrator, SagaStatus
from tests.actors.staging import Stage, outcome, seen
from tests.actors.steps_rude import FILES, CloseAll, Pid, StopTheLoop


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
    outcome(system, saga, within_s=10.0)
    assert {path.read_bytes() for path in tmp_path.glob("own-*")} == {b""}
    assert seen(system, "close-all-shared").status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)
