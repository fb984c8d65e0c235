"""A home whose system died is copied to PostgreSQL, and goes on there as after a crash: what attempts left counts."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import pytest

from antistrophe import AntistropheError, SagaOrchestrator, SagaStatus
from antistrophe.cli import main
from antistrophe.cli.exit_codes import DONE
from tests.actors.staging import Stage, pid_of, seen, wait_for_status
from tests.chaos.killing import written_outcomes
from tests.killing import kill_all, signal_to
from tests.waiting import until


def test_a_copied_home_goes_on_where_its_system_died(tmp_path: Path, stage: Stage, postgres_store_url: str) -> None:
    home = tmp_path / "home"
    with contextlib.suppress(AntistropheError), SagaOrchestrator(home) as before:
        before.execute(stage.saga(stage.act("a"), saga_id="done"))
        before.start(stage.saga(stage.act("a"), stage.act("b", "gate:go"), saga_id="answered"))
        before.start(stage.saga(stage.act("a", "hang"), saga_id="in-doubt"))
        until(lambda: stage.log.find("answered", "begin", "b") and stage.log.find("in-doubt", "begin"), "the steps")
        for role in ("saga", "supervisor"):
            signal_to(pid_of(before, role), signal.SIGSTOP)
        stage.log.open_gate("go")
        until(lambda: written_outcomes(home, "answered"), "the end of the step, which nobody hears of")
        until(lambda: not kill_all(home), "the end of the system")  # its launcher may start others meanwhile
    assert main(["--home", str(home), "copy", "--to", postgres_store_url]) == DONE
    with pytest.raises(AntistropheError, match="name it with journal="):
        SagaOrchestrator(home)
    with SagaOrchestrator(home, journal=postgres_store_url) as after:
        wait_for_status(after, "answered", SagaStatus.COMPLETED)
        wait_for_status(after, "in-doubt", SagaStatus.COMPENSATED)
        assert seen(after, "done").status is SagaStatus.COMPLETED
    assert stage.log.story("answered") == ["begin a", "done a", "begin b", "done b"], "no step ran twice"
