"""A stage for one test: its effect log, its steps, and what became of its sagas."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from antistrophe import SagaDefinition, SagaError, SagaOrchestrator, SagaStatus, SagaStep, Settings
from antistrophe.linux.procfs import all_pids
from antistrophe.linux.termination import processes_of_home
from antistrophe.records import SagaMetadata
from tests.actors.effects import EffectLog
from tests.actors.steps_act import Act, AsyncAct, Verified
from tests.waiting import until

_numbers = itertools.count(1)


class Stage:
    """Makes steps that write to one effect log, and sagas of them with ids that no other test uses."""

    def __init__(self, folder: Path) -> None:
        self.log = EffectLog(folder / "effects")

    def act(self, name: str, *forward: str, back: tuple[str, ...] | str = ("ok",), **options: Any) -> Act:
        return Act(str(self.log), name, forward or ("ok",), _parts(back), **options)

    def verified(self, name: str, *forward: str, back: tuple[str, ...] | str = ("ok",), **options: Any) -> Verified:
        return Verified(str(self.log), name, forward or ("ok",), _parts(back), **options)

    def async_act(self, name: str, *forward: str, back: tuple[str, ...] | str = ("ok",), **options: Any) -> AsyncAct:
        return AsyncAct(str(self.log), name, forward or ("ok",), _parts(back), **options)

    def saga(self, *steps: SagaStep, saga_id: str | None = None, **options: Any) -> SagaDefinition:
        saga = SagaDefinition(saga_id or f"saga-{next(_numbers)}", **options)
        for step in steps:
            saga = saga.add_step(step)
        return saga


def _parts(back: tuple[str, ...] | str) -> tuple[str, ...]:
    return (back,) if isinstance(back, str) else back


def running(home: Path, settings: Settings | None = None) -> Iterator[SagaOrchestrator]:
    """A system for a fixture: it is closed after the test, and leaves no process."""
    with SagaOrchestrator(home, settings=settings) as orchestrator:
        yield orchestrator
    assert processes_of_home(home) == []


def outcome(orchestrator: SagaOrchestrator, saga: SagaDefinition, within_s: float = 30.0) -> SagaError | list[object]:
    """How the saga ends."""
    try:
        return orchestrator.execute(saga, timeout_s=within_s)
    except SagaError as error:
        return error


def seen(orchestrator: SagaOrchestrator, saga_id: str) -> SagaMetadata:
    """The saga as monitoring shows it; it has to be there."""
    found = orchestrator.get_saga(saga_id)
    assert found is not None, f"{saga_id} is not in the registry"
    return found


def wait_for_status(
    orchestrator: SagaOrchestrator, saga_id: str, status: SagaStatus, within_s: float = 20.0
) -> SagaMetadata:
    def reached() -> SagaMetadata | None:
        found = seen(orchestrator, saga_id)
        return found if found.status is status else None

    return until(reached, f"{saga_id} {status}", within_s)


def pid_of(orchestrator: SagaOrchestrator, role: str, saga_id: str | None = None) -> int:
    """The process that has that role (and works for that saga)."""

    def found() -> int | None:
        records = [each for each in orchestrator.processes() if each.role == role and saga_id in (None, each.saga_id)]
        return records[0].pid if records else None

    return until(found, f"a process of role {role}")


def command_lines() -> list[str]:
    """The command line of every process."""
    found = []
    for pid in all_pids():
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return found
