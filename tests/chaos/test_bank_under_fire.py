"""A bank under fire: clients transfer money while a killer kills; then the bank itself is asked where the money is."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, SagaStatus
from antistrophe.process import parent_of, processes_of_home
from docs.examples.transfers.bank import Audit, open_new_bank
from docs.examples.transfers.saga import account_name
from tests.actors.staging import seen
from tests.chaos import losses
from tests.chaos.killing import kill
from tests.chaos.rounds import LONG
from tests.chaos.teller import ACCOUNTS, OPENING_BALANCE, SETTINGS

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 4
SECONDS = 60.0 if LONG else 8.0
REST_S = 120.0


class Client:
    """One client program, and the transfers that were acknowledged to it."""

    def __init__(self, folder: Path, seed: str, number: int, seconds: float) -> None:
        arguments = [sys.executable, "-m", "tests.chaos.teller", str(folder), seed, str(number), str(seconds)]
        self.said = folder / f"client-{number}.out"
        self.complained = folder / f"client-{number}.err"
        with self.said.open("wb") as out, self.complained.open("wb") as err:
            self.program = subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    def acknowledged(self) -> set[str]:
        return {line for line in self.said.read_text().splitlines() if line}


@contextmanager
def clients(folder: Path, seed: str, seconds: float) -> Iterator[list[Client]]:
    started = [Client(folder, seed, number, seconds) for number in range(CLIENTS)]
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
        pid = draw.choice(there)
        kind = "launcher" if parent_of(pid) not in there else "other"
        killed[kind] += kill(pid)
    return killed


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


def work(bank: Path, seed: str, seconds: float, meanwhile: Callable[[threading.Event], None]) -> set[str]:
    """Have the clients transfer money for so long; the transfers that were acknowledged."""
    over = threading.Event()
    other = threading.Thread(target=meanwhile, args=(over,))
    with clients(bank, seed, seconds) as started:
        other.start()
        try:
            for client in started:
                client.program.wait(seconds + REST_S)
        finally:
            over.set()
            other.join()
        complaints = [client.complained.read_text()[-2000:] for client in started]
        assert [client.program.returncode for client in started] == [0] * CLIENTS, complaints
        return set().union(*(client.acknowledged() for client in started))


@pytest.mark.timeout(600)
def test_no_money_and_no_saga_is_lost_while_processes_are_killed(bank: Path, run_seed: int) -> None:
    seed = f"{run_seed}-bank"
    killed: Counter[str] = Counter()
    acknowledged = work(bank, seed, SECONDS, lambda over: killed.update(fire(bank / "home", random.Random(seed), over)))
    ends = check(bank, acknowledged)
    assert processes_of_home(bank / "home") == []
    told = f"{len(acknowledged)} transfers acknowledged, killed {dict(killed)}, {dict(ends)}"
    sys.stdout.write(f"seed {seed}: {SECONDS:g} s, {told}\n")
    assert killed
    assert ends[SagaStatus.COMPLETED.value]


@pytest.mark.timeout(600)
def test_nor_while_messages_are_lost_doubled_and_late(
    bank: Path, run_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = f"{run_seed}-losses"
    faults = bank / "losses"
    faults.mkdir()
    monkeypatch.setenv(losses.FOLDER, str(faults))
    monkeypatch.setenv("ANTISTROPHE_TEST_SEED", seed)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests' / 'chaos' / 'injected'}:{ROOT}")
    acknowledged = work(bank, seed, SECONDS, lambda over: None)
    ends = check(bank, acknowledged)
    counted = losses.counted(faults)
    sys.stdout.write(f"seed {seed}: {SECONDS:g} s, {len(acknowledged)} transfers, messages {counted}, {dict(ends)}\n")
    assert all(counted.values())
    assert ends[SagaStatus.COMPLETED.value]
