"""Steps that run on some hosts only, on a system of one host: they run where it has the labels, and wait where not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from antistrophe import SagaOrchestrator, Settings
from tests.actors.staging import Stage, seen
from tests.actors.steps_act import Act
from tests.waiting import until


@dataclass(frozen=True)
class Render(Act):
    """A step for hosts with a graphics card."""

    runs_on = {"gpu"}  # noqa: RUF012 - as users write it


def test_a_step_waits_for_a_host_with_its_labels_and_runs_on_one(tmp_path: Path, stage: Stage) -> None:
    render = Render(str(stage.log.path), "render")
    first, later = stage.saga(render, stage.act("send")), stage.saga(stage.act("pay"), render)
    home = tmp_path / "home"
    with SagaOrchestrator(home, settings=Settings(drain_s=0.2, host_name="a1", labels=("eu",))) as system:
        for saga in (first, later):
            system.start(saga)
            until(lambda saga=saga: seen(system, saga.id).waiting == WAITS, f"{saga.id} waits")  # type: ignore[misc]
        assert seen(system, later.id).steps_executed == 1
        system.execute(stage.saga(stage.act("other")), timeout_s=30.0)
        assert not stage.log.find(first.id, "begin")
    with SagaOrchestrator(home, settings=Settings(drain_s=0.2, labels=("eu", "gpu"))) as system:
        system.wait_idle(30.0)
        done = seen(system, later.id)
        assert [step.attempts for step in done.steps] == [1, 1]
        assert {step.host for step in done.steps} == {None}, "hosts are told where there are several"


WAITS = "a host with gpu, on which its next step runs; a1 has the labels eu (the setting `labels`)"
