"""What a loss of power leaves: the log is synced before anything is said, and a torn last write is as if never made."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, Settings
from antistrophe.journal import SqliteJournal, journal_path
from tests.actors.staging import Stage
from tests.chaos.sample_sagas import KINDS, saga_of
from tests.contract.journal_sagas import accepted, append, started, succeeded

CUTS = 200
"""How many torn logs are looked at."""

# --- synced before it is said -------------------------------------------------------------------------------------


@pytest.fixture
def syscalls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which each process that is started from now on leaves what it asks of the kernel."""
    library = tmp_path / "syscalls.so"
    source = Path(__file__).with_name("syscalls.c")
    # Where there is no compiler the test fails: without it nobody knows.
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    folder = tmp_path / "syscalls"
    folder.mkdir()
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("ANTISTROPHE_TEST_SYSCALLS", str(folder))
    return folder


def said_too_early(letters: str) -> int:
    """How many messages left while something that was written to the log was not synced."""
    early, dirty = 0, False
    for letter in letters:
        if letter in "WS":
            dirty = letter == "W"
        early += letter == "M" and dirty
    return early


def play(tmp_path: Path, synchronous: str) -> None:
    stage = Stage(tmp_path)
    settings = Settings(drain_s=0.3, synchronous=synchronous, max_running_sagas=3)  # type: ignore[arg-type]
    with SagaOrchestrator(tmp_path / "home", settings=settings) as orchestrator:
        for number in range(2):
            for kind in KINDS:
                orchestrator.start(saga_of(stage, kind, f"{kind}-{number}"))
        orchestrator.wait_idle(60.0)
        assert orchestrator.history_count() == 2 * len(KINDS)


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_the_log_is_synced_before_a_message_leaves(tmp_path: Path, syscalls: Path, synchronous: str) -> None:
    play(tmp_path, synchronous)
    traces = {file.name: file.read_text() for file in syscalls.iterdir()}
    writers = {pid: letters for pid, letters in traces.items() if "W" in letters and "M" in letters}
    assert len(writers) >= 2, "the supervisor accepts sagas that wait, and a host moves them on"
    counted = Counter("".join(writers.values()))
    early = sum(map(said_too_early, writers.values()))
    sys.stdout.write(f"{synchronous}: {dict(counted)} by {len(writers)} processes, {early} messages left too early\n")
    if synchronous == "FULL":
        assert early == 0
        assert counted["S"] >= 40
        assert any("D" in letters for letters in traces.values()), "the new log's name was synced too"
    else:
        assert early > 0, "what is not asked for is not done, and would be noticed"


# --- a torn last write --------------------------------------------------------------------------------------------


def test_a_torn_last_write_is_as_if_it_had_never_been(tmp_path: Path, run_seed: int) -> None:
    draw = random.Random(run_seed)
    source = tmp_path / "source"
    source.mkdir()
    path = journal_path(source)
    log = path.with_name(path.name + "-wal")
    journal = SqliteJournal(path)
    ends = [(log.stat().st_size, journal.head())]
    for number in range(6):
        saga_id = f"saga-{number}"
        for entries in ((accepted(saga_id), started(0)), (succeeded(0), started(1))):
            append(journal, saga_id, *entries)
            ends.append((log.stat().st_size, journal.head()))
    torn: Counter[str] = Counter()
    for number in range(CUTS):
        which = draw.randrange(1, len(ends))
        (before, kept), (after, _) = ends[which - 1], ends[which]
        place = draw.randrange(before, after)
        folder = tmp_path / f"torn-{number}"
        folder.mkdir()
        shutil.copy(path, folder)
        data = bytearray(log.read_bytes()[:after])
        kind = draw.choice(("cut", "flipped", "zeroed"))
        if kind == "cut":
            del data[place:]
        elif kind == "flipped":
            data[place] ^= 1 << draw.randrange(8)
        else:
            data[place:] = bytes(len(data) - place)
        (folder / log.name).write_bytes(data)
        torn[kind] += 1
        check_torn(folder, kept, f"{kind} at {place} of {before}..{after}")
        shutil.rmtree(folder)
    journal.close()
    sys.stdout.write(f"seed {run_seed}: {dict(torn)}\n")


def check_torn(folder: Path, kept: int, how: str) -> None:
    """All that was committed before is there, nothing of the torn write, and the journal goes on."""
    journal = SqliteJournal(journal_path(folder))
    try:
        journal.check()
        # Where the tear hit nothing that counts (the unused end of a page, say), the write may be whole.
        assert journal.head() in (kept, kept + 2), how
        sagas = {record.saga_id for record in journal.records(0, 1000)}
        assert all(len(journal.load(saga_id)) in (2, 4) for saga_id in sagas), how
        run_on = journal.head()
        append(journal, "after", accepted("after"))
        assert journal.head() == run_on + 1
    finally:
        journal.close()
