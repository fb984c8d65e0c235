"""A bank under fire: clients transfer money while a killer kills; then the bank itself is asked where the money is."""

from __future__ import annotations

import math
import random
import resource
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from antistrophe import SagaOrchestrator, SagaStatus
from antistrophe.linux.termination import processes_of_home
from docs.examples.transfers.bank import Audit, open_new_bank
from docs.examples.transfers.saga import account_name
from tests.actors.staging import seen
from tests.chaos import losses
from tests.chaos.disks import fill, limit_files
from tests.chaos.roles import roles_of
from tests.chaos.rounds import LONG
from tests.chaos.teller import ACCOUNTS, OPENING_BALANCE, SETTINGS
from tests.killing import kill

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 4
SECONDS = 60.0 if LONG else 8.0
REST_S = 120.0
DISK_BYTES = 64 << 20
IMPATIENT_S = 0.1
"""Shorter than any disk here is full: who waits for the end of what began before would not ask while it is."""


class Client:
    """One client program, and the transfers that were acknowledged to it."""

    def __init__(self, folder: Path, seed: str, number: int, seconds: float, patience_s: float) -> None:
        said = map(str, (folder, seed, number, seconds, patience_s))
        arguments = [sys.executable, "-m", "tests.chaos.teller", *said]
        self.said = folder / f"client-{number}.out"
        self.complained = folder / f"client-{number}.err"
        with self.said.open("wb") as out, self.complained.open("wb") as err:
            self.program = subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    def refused(self) -> int:
        """How often a transfer, or the home, was refused for the disk's sake."""
        words = ("JournalError", "No space left on device", "File too large")
        return sum(any(each in line for each in words) for line in self.complained.read_text().splitlines())

    def acknowledged(self) -> set[str]:
        return {line for line in self.said.read_text().splitlines() if line}


@dataclass(frozen=True)
class Done:
    """The transfers that were acknowledged, how many were refused, and what ``meanwhile`` says of itself."""

    acknowledged: set[str]
    refused: int
    meanwhile: Any


@contextmanager
def clients(folder: Path, seed: str, seconds: float, patience_s: float) -> Iterator[list[Client]]:
    started = [Client(folder, seed, number, seconds, patience_s) for number in range(CLIENTS)]
    try:
        yield started
    finally:
        for client in started:
            client.program.kill()
            client.program.wait()


def fire(home: Path, draw: random.Random, over: threading.Event) -> Counter[str]:
    """Kill a random process of the tree every 0.3 to 2 s until it is over; how many of which kind were killed."""
    killed: Counter[str] = Counter()
    while not over.wait(draw.uniform(0.3, 2.0)):
        there = processes_of_home(home)
        if not there:
            continue
        roles = roles_of(home)
        pid = draw.choice(there)
        killed[roles.get(pid, "one that had just been started")] += kill(pid)
    return killed


def await_first(home: Path, over: threading.Event) -> None:
    """Until a transfer has been acknowledged: a system that is not up yet has nothing to lose."""
    while not over.wait(0.02) and not any(said.stat().st_size for said in home.parent.glob("client-*.out")):
        pass


def fill_disk(disk: Path, draw: random.Random, over: threading.Event) -> int:
    """Leave the file system not one byte, again and again, each time for 0.2 to 0.8 s; how often. The journal's log
    goes on in the room that it has already, which may last for all of that: every other time it may not be written."""
    times = 0
    await_first(disk, over)
    while not over.wait(draw.uniform(0.5, 1.5)):
        junk = fill(disk)
        if times % 2 == 0:
            forbid_files(disk, draw, over)
        else:
            over.wait(draw.uniform(0.2, 0.8))
        junk.unlink()
        times += 1
    return times


def limit_disk(home: Path, draw: random.Random, over: threading.Event) -> int:
    """The same where no file system can be mounted: no process of the system, the steps' included, may write."""
    times = 0
    await_first(home, over)
    while not over.wait(draw.uniform(0.5, 1.5)):
        forbid_files(home, draw, over)
        times += 1
    return times


def forbid_files(home: Path, draw: random.Random, over: threading.Event) -> None:
    """Let no process of the home write for 0.2 to 0.8 s, and until a client has complained of something."""

    def complaints() -> int:
        return sum(each.stat().st_size for each in home.parent.glob("client-*.err"))

    before = complaints()
    limit_files(processes_of_home(home), 0)
    over.wait(draw.uniform(0.2, 0.8))
    while complaints() == before and not over.wait(0.02):
        pass
    for _ in range(2):  # the second time: children of those that were still limited the first time
        limit_files(processes_of_home(home), resource.RLIM_INFINITY)


def check(folder: Path, acknowledged: set[str]) -> Counter[str]:
    """Let all come to rest, and compare what the sagas say with the bank's own books."""
    with SagaOrchestrator(folder / "home", settings=SETTINGS) as orchestrator:
        orchestrator.wait_idle(REST_S)
        assert orchestrator.running_count() == 0
        audit = Audit(folder / "bank.db")
        assert audit.balance == audit.opening == ACCOUNTS * OPENING_BALANCE
        assert audit.wrong_accounts == []
        ends: Counter[str] = Counter()
        for saga_id in acknowledged | audit.bookings.keys():
            status = seen(orchestrator, saga_id).status
            ends[status.value] += 1
            if status is SagaStatus.COMPLETED:
                assert audit.is_whole(saga_id), saga_id
            else:
                assert status is SagaStatus.COMPENSATED, f"{saga_id} is {status.value}"
                assert audit.is_nothing(saga_id), saga_id
    return ends


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A folder with a bank in it."""
    opening = {account_name(number): OPENING_BALANCE for number in range(1, ACCOUNTS + 1)}
    open_new_bank(tmp_path / "bank.db", opening)
    return tmp_path


def work(
    bank: Path,
    seed: str,
    seconds: float,
    meanwhile: Callable[[threading.Event], object],
    patience_s: float = math.inf,
) -> Done:
    """Have the clients transfer money for so long, each waiting so long for a transfer's end before it asks for the
    next, while something goes on beside it."""
    over = threading.Event()
    result: list[Any] = []
    other = threading.Thread(target=lambda: result.append(meanwhile(over)))
    with clients(bank, seed, seconds, patience_s) as started:
        other.start()
        try:
            for client in started:
                client.program.wait(seconds + REST_S)
        finally:
            over.set()
            other.join()
        complaints = [client.complained.read_text()[-2000:] for client in started]
        assert [client.program.returncode for client in started] == [0] * CLIENTS, complaints
        acknowledged = set().union(*(client.acknowledged() for client in started))
        return Done(acknowledged, sum(client.refused() for client in started), result[0])


@pytest.fixture
def disk(bank: Path) -> Iterator[Path | None]:
    """A small file system for the home alone; None where mounting takes more rights."""
    home = bank / "home"
    home.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "none", str(home)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    yield home
    subprocess.run(["umount", "-l", home], check=True)


@pytest.mark.timeout(600)
def test_no_money_and_no_saga_is_lost_while_processes_are_killed(bank: Path, run_seed: int) -> None:
    seed = f"{run_seed}-bank"
    done = work(bank, seed, SECONDS, lambda over: fire(bank / "home", random.Random(seed), over))
    ends = check(bank, done.acknowledged)
    assert processes_of_home(bank / "home") == []
    told = f"{len(done.acknowledged)} transfers acknowledged, killed {dict(done.meanwhile)}, {dict(ends)}"
    sys.stdout.write(f"seed {seed}: {SECONDS:g} s, {told}\n")
    assert done.meanwhile
    assert ends[SagaStatus.COMPLETED.value]


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("injected")
def test_nor_while_messages_are_lost_doubled_and_late(
    bank: Path, run_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = f"{run_seed}-losses"
    faults = bank / "losses"
    faults.mkdir()
    monkeypatch.setenv(losses.FOLDER, str(faults))
    monkeypatch.setenv("ANTISTROPHE_TEST_SEED", seed)
    done = work(bank, seed, SECONDS, lambda over: None)
    ends = check(bank, done.acknowledged)
    counted = losses.counted(faults)
    told = f"{len(done.acknowledged)} transfers acknowledged, messages {counted}, {dict(ends)}"
    sys.stdout.write(f"seed {seed}: {SECONDS:g} s, {told}\n")
    assert all(counted.values())
    assert ends[SagaStatus.COMPLETED.value]


@pytest.mark.timeout(600)
def test_nor_while_the_disk_is_full_again_and_again(bank: Path, disk: Path | None, run_seed: int) -> None:
    seed = f"{run_seed}-disk"
    draw = random.Random(seed)
    if disk is not None:
        done = work(bank, seed, SECONDS, lambda over: fill_disk(disk, draw, over), IMPATIENT_S)
    else:
        done = work(bank, seed, SECONDS, lambda over: limit_disk(bank / "home", draw, over), IMPATIENT_S)
    ends = check(bank, done.acknowledged)
    how = "no process could write" if disk is None else f"a disk of {DISK_BYTES >> 20} MiB was full"
    told = f"{len(done.acknowledged)} transfers acknowledged, {how} {done.meanwhile} times, {done.refused} refused"
    sys.stdout.write(f"seed {seed}: {SECONDS:g} s, {told}, {dict(ends)}\n")
    assert done.meanwhile
    assert done.refused, "somebody noticed"
    assert ends[SagaStatus.COMPLETED.value]
