"""Sagas whose code is gone for good: what an operator orders ends them."""

from __future__ import annotations

from pathlib import Path

import pytest

from antistrophe import RequestError, SagaOrchestrator, SagaStatus, Settings, StepStatus
from tests.actors.staging import seen, wait_for_status
from tests.actors.test_user_code import module, run, written
from tests.waiting import until

START = """
if __name__ == "__main__":
    import sys, time
    from pathlib import Path
    from antistrophe import SagaDefinition, SagaOrchestrator, Settings
    from shop import Write
    folder = sys.argv[1]
    saga = SagaDefinition("saga")
    for name in ("first", "second", "third"):
        saga = saga.add_step(Write(folder, name, name))
    with SagaOrchestrator(folder + "/home", settings=Settings(drain_s=0.0)) as orchestrator:
        orchestrator.start(saga)
        until = time.monotonic() + 30
        while "third" not in (Path(folder, "log").read_text() if Path(folder, "log").exists() else ""):
            assert time.monotonic() < until
            time.sleep(0.005)
"""

THIRD_HANGS = """Path(self.folder, "log").open("a").write("do " + self.text + "\\n")
        while self.text == "third":
            time.sleep(0.005)"""

OTHER_FIELDS = module().replace("text: str\n    name", "words: str\n    name").replace("self.text", "self.words")

LOST = {"the module is gone": None, "the input no longer fits": OTHER_FIELDS}


@pytest.fixture(params=LOST)
def home(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A home with a saga in its third step, which may be made again; its code is not what it was."""
    shop = tmp_path / "shop.py"
    shop.write_text(module(execute=THIRD_HANGS, field="idempotent = True"))
    (tmp_path / "script.py").write_text(START)
    run("script.py", str(tmp_path), cwd=tmp_path)
    assert written(tmp_path) == ["do first", "do second", "do third"]
    broken = LOST[request.param]
    if broken is None:
        shop.unlink()
    else:
        shop.write_text(broken)
    return tmp_path / "home"


def resolve(system: SagaOrchestrator, name: str) -> None:
    """Resolve a step as soon as no attempt to load its code is under way."""

    def done() -> bool:
        try:
            return system.resolve("saga", name, note=f"{name} was settled by hand")
        except RequestError as error:
            if "may run" not in str(error):
                raise
            return False

    until(done, f"the resolve of {name}", 30.0)


def waits_for_code(system: SagaOrchestrator) -> bool:
    reason = seen(system, "saga").waiting or ""
    return "shop" in reason or "no longer fits" in reason


@pytest.mark.timeout(120)  # a whole life of a system, and what can't be loaded
def test_it_is_cancelled_and_what_it_owes_is_resolved_step_by_step(home: Path) -> None:
    with SagaOrchestrator(home, settings=Settings(drain_s=0.3)) as system:
        until(lambda: waits_for_code(system), "the saga waits for its code", 40.0)
        with pytest.raises(RequestError, match="cancel the saga first"):
            system.resolve("saga", "third", note="too early")
        assert system.cancel("saga", "its code is gone") is True
        wait_for_status(system, "saga", SagaStatus.COMPENSATING)
        with pytest.raises(RequestError, match=r"'third' comes first|may run"):
            system.resolve("saga", "first", note="not in its turn")
        for name in ("third", "second", "first"):
            resolve(system, name)
        wait_for_status(system, "saga", SagaStatus.COMPENSATED)
        assert [step.status for step in seen(system, "saga").steps] == [StepStatus.RESOLVED] * 3
        notes = [each.data["note"] for each in system.get_timeline("saga") if each.kind == "StepResolved"]
        assert notes == [f"{name} was settled by hand" for name in ("third", "second", "first")]
        with pytest.raises(RequestError, match="compensated"):
            system.resolve("saga", "first", note="again")
    assert written(home.parent) == ["do first", "do second", "do third"], "nothing has run"


@pytest.mark.timeout(120)  # two lives of a system
def test_what_is_resolved_stays_so_and_the_rest_is_undone_once_the_code_is_back(home: Path) -> None:
    with SagaOrchestrator(home, settings=Settings(drain_s=0.3)) as system:
        assert system.cancel("saga", "its code is gone") is True
        resolve(system, "third")
        assert seen(system, "saga").status is SagaStatus.COMPENSATING
    (home.parent / "shop.py").write_text(module())
    with SagaOrchestrator(home, settings=Settings(drain_s=0.3)) as system:
        wait_for_status(system, "saga", SagaStatus.COMPENSATED, 40.0)
        statuses = [step.status for step in seen(system, "saga").steps]
        assert statuses == [StepStatus.COMPENSATED, StepStatus.COMPENSATED, StepStatus.RESOLVED]
    assert written(home.parent)[3:] == ["undo second", "undo first"]
