"""What is wrong is refused with a clear error before anything runs, and no file is touched that can't be used."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from antistrophe import (
    AntistropheError,
    InvalidDefinitionError,
    InvalidStepError,
    JournalError,
    NotSerializableError,
    PayloadTooLargeError,
    RetryPolicy,
    SagaDefinition,
    SagaOrchestrator,
    SagaStep,
    Settings,
)
from tests.actors.staging import Stage, outcome
from tests.killing import await_end


@dataclass(frozen=True)
class Holds(SagaStep):
    """Has one field, which may hold anything."""

    value: Any

    def execute(self) -> None:
        raise AssertionError("this must not run")

    def compensate(self) -> None:
        raise AssertionError("nor this")


def in_a_function() -> SagaStep:
    class Local(SagaStep):
        def execute(self) -> None: ...

        def compensate(self) -> None: ...

    return Local()


def in_no_file() -> SagaStep:
    module = ModuleType("antistrophe_test_nowhere")
    sys.modules[module.__name__] = module
    source = (
        "from antistrophe import SagaStep\n"
        "class Nowhere(SagaStep):\n"
        "    def execute(self): pass\n"
        "    def compensate(self): pass\n"
    )
    exec(source, module.__dict__)
    step: SagaStep = module.Nowhere()
    return step


BAD: dict[str, tuple[type[AntistropheError], str, Callable[[Stage], object]]] = {
    "two of one name": (InvalidStepError, "'x'", lambda s: s.saga(s.act("x"), s.act("x"))),
    "no time": (InvalidStepError, "timeout_s", lambda s: s.saga(s.act("x", timeout_s=0.0))),
    "less than no time": (InvalidStepError, "timeout_s", lambda s: s.saga(s.act("x", timeout_s=-1.0))),
    "no number": (InvalidStepError, "timeout_s", lambda s: s.saga(s.act("x", timeout_s=float("nan")))),
    "a lambda": (NotSerializableError, "value", lambda s: s.saga(Holds(lambda: 1))),
    "an open file": (NotSerializableError, "value", lambda s: s.saga(Holds(sys.stderr))),
    "deep inside": (NotSerializableError, "value", lambda s: s.saga(Holds([{"a": (1, {object()})}]))),
    "a local class": (InvalidStepError, "top level", lambda s: s.saga(in_a_function())),
    "a class without a file": (InvalidStepError, "import", lambda s: s.saga(in_no_file())),
    "no attempts": (InvalidStepError, "max_attempts", lambda s: s.act("x", retry=RetryPolicy(max_attempts=0))),
    "no step": (InvalidStepError, "SagaStep", lambda s: s.saga("pay")),  # type: ignore[arg-type]
    "no id": (InvalidDefinitionError, "id", lambda s: SagaDefinition("")),
    "no deadline": (InvalidDefinitionError, "deadline_s", lambda s: SagaDefinition("x", deadline_s=0)),
    "a strange wish": (InvalidDefinitionError, "park", lambda s: SagaDefinition("x", on_compensation_failure="hope")),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", BAD)
def test_a_definition_that_can_not_run_is_refused_where_it_is_written(what: str, stage: Stage) -> None:
    error, words, make = BAD[what]
    with pytest.raises(error) as caught:
        make(stage)
    assert words in str(caught.value), "it says what is wrong"


def test_a_payload_over_the_limit_is_refused_and_nothing_is_known_of_it(tmp_path: Path) -> None:
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.2, max_payload_bytes=4096)) as orchestrator:
        for _ in range(2):
            with pytest.raises(PayloadTooLargeError, match="4096"):
                orchestrator.start(SagaDefinition("large").add_step(Holds("x" * 5000)))
        assert orchestrator.get_saga("large") is None
        assert orchestrator.running_count() == orchestrator.history_count() == 0
        stage = Stage(tmp_path)
        assert isinstance(outcome(orchestrator, stage.saga(stage.act("fits"))), list)


# --- homes that can't be used -------------------------------------------------------------------------------------


def not_writable(folder: Path) -> Path:
    if os.geteuid() == 0:
        return Path("/proc/antistrophe-home")
    folder.mkdir()
    folder.chmod(0o500)
    return folder / "home"


def newer(folder: Path) -> Path:
    journal = with_a_saga(folder)
    with sqlite3.connect(journal) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    return journal


def damaged(folder: Path) -> Path:
    journal = with_a_saga(folder)
    data = bytearray(journal.read_bytes())
    data[2048:] = b"\xa5" * (len(data) - 2048)
    journal.write_bytes(data)
    return journal


def no_database(folder: Path) -> Path:
    folder.mkdir()
    journal = folder / "journal.db"
    journal.write_bytes(b"these are my notes, and nobody may write over them\n" * 100)
    return journal


def of_another_program(folder: Path) -> Path:
    folder.mkdir()
    with sqlite3.connect(folder / "journal.db") as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()
    return folder / "journal.db"


def with_a_saga(folder: Path) -> Path:
    with SagaOrchestrator(folder, settings=Settings(drain_s=0.2)) as orchestrator:
        orchestrator.execute(SagaDefinition("empty"))
    return folder / "journal.db"


def test_a_home_that_can_not_be_written_to(tmp_path: Path) -> None:
    home = not_writable(tmp_path / "place")
    with pytest.raises(JournalError, match=str(home)):
        SagaOrchestrator(home)
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="file"):
        SagaOrchestrator(tmp_path / "file")


@pytest.mark.parametrize(
    ("make", "words"),
    [(newer, "newer"), (damaged, "corrupt"), (no_database, "not a SQLite"), (of_another_program, "another program")],
)
def test_a_journal_that_can_not_be_used_is_named_and_left_as_it_is(
    make: Callable[[Path], Path], words: str, tmp_path: Path
) -> None:
    journal = make(tmp_path / "home")
    before = journal.read_bytes()
    for _ in range(2):
        with pytest.raises(JournalError) as caught:
            SagaOrchestrator(tmp_path / "home")
        assert str(journal) in str(caught.value)
        assert words in str(caught.value)
    assert journal.read_bytes() == before
    await_end(tmp_path / "home")
