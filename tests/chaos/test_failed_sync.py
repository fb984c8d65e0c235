"""A disk that fails a sync: the commit stands in the log, and nobody may be told that it was not written."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from antistrophe import CommitUnknownError, JournalError, SagaOrchestrator, SagaStatus, Settings
from antistrophe.journal import SqliteJournal, journal_path
from tests.actors.staging import Stage, pid_of, seen
from tests.contract.journal_sagas import accepted, append
from tests.killing import kill, kill_all
from tests.waiting import until

PROGRAM = """
import os, signal, sys
from pathlib import Path
from antistrophe.errors import JournalError
from antistrophe.journal import SqliteJournal, journal_path
from tests.contract.journal_sagas import accepted, append

journal, flag, then = SqliteJournal(journal_path(Path(sys.argv[1]))), Path(sys.argv[2]), sys.argv[3]
append(journal, "before", accepted("before"))
flag.touch()
try:
    append(journal, "s", accepted("s"))
except JournalError as error:
    print(type(error).__name__, "seen" if journal.load("s") else "not seen", flush=True)
if then == "none yet":
    os.kill(os.getpid(), signal.SIGKILL)
flag.unlink()
if then:
    append(journal, then, accepted(then))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that makes syncs fail in every process that is started from now on."""
    library, flag = tmp_path / "failed_syncs.so", tmp_path / "flag"
    source = Path(__file__).with_name("failed_syncs.c")
    # Where there is no compiler the test fails: without it nobody knows.
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("ANTISTROPHE_TEST_FAILED_SYNCS", str(flag))
    return flag


@pytest.mark.parametrize(("then", "there"), [("", True), ("s", True), ("another", False)])
def test_a_commit_that_was_not_synced_is_told_as_unknown(tmp_path: Path, flag: Path, then: str, there: bool) -> None:
    """It does not count, and after the death of all it does; unless it was made again, or another one came over it."""
    home = tmp_path / "home"
    home.mkdir()
    words = [sys.executable, "-c", PROGRAM, str(home), str(flag), then]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("CommitUnknownError not seen\n", "")
    with closing(SqliteJournal(journal_path(home))) as journal:
        assert bool(journal.load("s")) == there
        assert journal.head() == 1 + there + (then == "another")
        journal.check()
        append(journal, "after", accepted("after"))


def test_a_start_that_was_not_synced_may_be_made_again_after_a_crash(tmp_path: Path, flag: Path) -> None:
    stage, home = Stage(tmp_path), tmp_path / "home"
    saga = stage.saga(stage.act("a"), saga_id="s")
    with SagaOrchestrator(home, settings=Settings(drain_s=0.3)) as orchestrator:
        orchestrator.execute(stage.saga(stage.act("a"), saga_id="before"))
        flag.touch()
        with pytest.raises(CommitUnknownError, match="the disk failed a commit"):
            orchestrator.start(saga)
        kill_all(home, signal.SIGSTOP)  # so that nothing is started anew before the disk is well
        flag.unlink()
        kill_all(home)
        orchestrator.start(saga)
        orchestrator.handle("s").result()
        assert seen(orchestrator, "s").status is SagaStatus.COMPLETED
    assert stage.log.story("s") == ["begin a", "done a"]


def log_of(home: Path) -> Path:
    return Path(f"{journal_path(home)}-wal")


def salts(home: Path) -> bytes:
    """What each log of the journal has of its own."""
    return log_of(home).read_bytes()[16:24]


def test_who_comes_first_after_a_death_begins_the_log_anew_or_is_refused(tmp_path: Path, flag: Path) -> None:
    """A sync that has failed is not made up for by the next one: the kernel takes what it has failed to write for
    written. So whoever comes after a death has all of it written anew, into the file."""
    home = tmp_path / "home"
    home.mkdir()
    words = [sys.executable, "-c", PROGRAM, str(home), str(flag), "none yet"]
    assert subprocess.run(words, capture_output=True, timeout=60, check=False).returncode == -signal.SIGKILL
    for _ in range(2):
        done = opened_elsewhere(home)
        assert "JournalError" in done.stderr
        assert "the disk or file system failed it" in done.stderr
    flag.unlink()
    assert log_of(home).stat().st_size > 0
    with closing(SqliteJournal(journal_path(home))) as journal:
        assert log_of(home).stat().st_size == 0
        assert all(journal.load(each) for each in ("before", "s"))
        append(journal, "after", accepted("after"))
        before = salts(home)
        with closing(SqliteJournal(journal_path(home))) as beside:
            append(beside, "beside", accepted("beside"))
        assert salts(home) == before, "who comes to others goes on with their log"
    assert not log_of(home).exists()


def opened_elsewhere(home: Path) -> subprocess.CompletedProcess[str]:
    """Open the journal for writing in a process that meets the faults of the disk."""
    program = "import sys; from antistrophe.journal import SqliteJournal; SqliteJournal(sys.argv[1]).close()"
    words = [sys.executable, "-c", program, str(journal_path(home))]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("mended", ["before the death", "later"])
def test_no_system_goes_on_with_a_log_that_was_not_synced(tmp_path: Path, flag: Path, mended: str) -> None:
    stage, home = Stage(tmp_path), tmp_path / "home"
    with SagaOrchestrator(home, settings=Settings(drain_s=0.3)) as orchestrator:
        orchestrator.execute(stage.saga(stage.act("a")))
        flag.touch()
        with pytest.raises(CommitUnknownError):
            orchestrator.start(stage.saga(stage.act("a"), saga_id="s"))
        before, supervisor = salts(home), pid_of(orchestrator, "supervisor")
        if mended == "later":
            kill(supervisor)
            with pytest.raises(JournalError, match="the disk or file system failed it"):
                orchestrator.start(stage.saga(stage.act("a"), saga_id="t"))
            assert salts(home) == before
            flag.unlink()
        else:
            kill_all(home, signal.SIGSTOP)  # so that nothing is started anew before the disk is well
            flag.unlink()
            kill(supervisor)
            kill_all(home, signal.SIGCONT)
        until(lambda: has_run(orchestrator, stage), "a system that goes on", 60.0)
        assert salts(home) != before


def has_run(orchestrator: SagaOrchestrator, stage: Stage) -> bool:
    try:
        orchestrator.execute(stage.saga(stage.act("a")))
    except JournalError:
        return False
    return True
