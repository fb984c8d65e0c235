"""Everything dies in the middle of a write to the journal: the torn write was never made, and the sagas go on."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, Settings
from antistrophe.journal import SqliteJournal, journal_path
from tests.actors.staging import Stage
from tests.chaos.killing import settle, spin
from tests.chaos.rounds import LONG, SAGAS
from tests.chaos.sample_sagas import sagas_of
from tests.chaos.test_kill_all import Application
from tests.contract.journal_sagas import accepted, append
from tests.killing import kill_all
from tests.waiting import until

TEARS = 12 if LONG else 3
PAGE_BYTES = 4096
HOWS = ("cut", "flipped", "zeroed", "garbage")


def tear(home: Path, saga_id: str, draw: random.Random, how: str) -> str:
    """Leave the journal as it is when the power goes while a saga's acceptance is written to its log: of the bytes of
    that write, those before a place are there. Returns the place."""
    path = journal_path(home)
    log = path.with_name(path.name + "-wal")
    journal = SqliteJournal(path)
    try:
        before = log.read_bytes()
        append(journal, saga_id, accepted(saga_id))
        data, database = bytearray(log.read_bytes()), path.read_bytes()
    finally:
        journal.close()
    written = [at for at in range(len(data)) if at >= len(before) or data[at] != before[at]]
    first, last = written[0], written[-1]
    place = draw.randrange(first, last - PAGE_BYTES)  # zeros in the place of zeros would be no tear
    if how == "cut":
        del data[place:]
    elif how == "flipped":
        data[place] ^= 1 << draw.randrange(8)
    else:
        left = last + 1 - place
        data[place : last + 1] = bytes(left) if how == "zeroed" else draw.randbytes(left)
    path.write_bytes(database)
    log.touch(0o600)
    log.write_bytes(data)
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    return f"{how} at {place} of {first}..{last}"


@pytest.mark.timeout(300)  # everything is started anew, several times
def test_the_sagas_go_on_after_a_torn_last_write(tmp_path: Path, run_seed: int) -> None:
    seed = f"{run_seed}-torn"
    draw = random.Random(seed)
    stage = Stage(tmp_path)
    sagas = sagas_of(stage, SAGAS, random.Random(seed))
    acknowledged: set[str] = set()
    torn: list[str] = []
    for number in range(TEARS):
        application = Application(tmp_path, seed)
        try:
            lines = draw.randrange(1, 6) + len(stage.log.read())
            until(lambda: len(stage.log.read()) >= lines or application.ended, f"{lines} effects", 60.0)  # noqa: B023
            spin(draw)
        finally:
            application.kill()
            kill_all(tmp_path / "home")
            acknowledged.update(application.acknowledged)
        until(lambda: kill_all(tmp_path / "home") == 0, "the death of all")
        torn.append(tear(tmp_path / "home", f"torn-{number}", draw, HOWS[number % len(HOWS)]))
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.3)) as orchestrator:
        assert not [number for number in range(TEARS) if orchestrator.get_saga(f"torn-{number}") is not None], torn
        known = [saga for saga in sagas if orchestrator.get_saga(saga.id) is not None]
        assert acknowledged <= {saga.id for saga in known}, "acknowledged is durable"
        tally = settle(orchestrator, stage, known)
    sys.stdout.write(f"seed {seed}: {'; '.join(torn)}; {len(acknowledged)} acknowledged; {tally}\n")
