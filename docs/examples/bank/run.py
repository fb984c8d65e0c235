"""The whole story, told as it happens: `python run.py [FOLDER]`; without a folder it has one for itself.

Transfers, an accident, and what is true afterwards. The exit code is 1 if money was made or lost.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from bank_events import change, versions
from vault import balances, silenced

from antistrophe import SagaOrchestrator
from antistrophe.cqrs import EventStore

LIMIT_S = 60.0


def program(name: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name(name)), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def tell(of: subprocess.Popen[str]) -> str:
    """Wait for a program's end, print what it said, and answer with that."""
    said, _ = of.communicate(timeout=LIMIT_S)
    print("".join(f"   {line}\n" for line in said.splitlines()), end="")
    if of.returncode != 0:
        raise SystemExit(f"a program ended with exit code {of.returncode}")
    return said


def recorded(folder: Path) -> list[object]:
    """All that has happened, from the file; the actor system need not run for it."""
    with EventStore(folder / "home" / "journal.db", versions) as store:
        return store.get_all_events()


def old_release(folder: Path) -> None:
    tell(program("release_1.py", folder))
    with EventStore(folder / "home" / "journal.db") as store:
        first = store.read(limit=1)[0]
    print(f"   in the file: {first.type}, version {first.type_version}: {first.data}")
    print(f"   read today:  {recorded(folder)[0]}")


def accident(folder: Path, transfer: tuple[object, ...]) -> None:
    vault = str(folder / "vault.db")
    before, old = balances(vault)["bob"], recorded(folder)
    silenced(vault, "bob").touch()
    teller = program("teller.py", folder, *transfer)
    try:
        deadline = time.monotonic() + LIMIT_S
        while balances(vault)["bob"] == before:
            if teller.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the vault was never asked to book for bob")
            time.sleep(0.01)
        kill_everything(folder, teller)
    finally:
        teller.kill()
        teller.communicate()
        silenced(vault, "bob").unlink()
    print(f"   in the vault: {euros(balances(vault))}")
    for happened in recorded(folder)[len(old) :]:
        print(f"   in the file:  {happened}")


def kill_everything(folder: Path, teller: subprocess.Popen[str]) -> None:
    with SagaOrchestrator(folder / "home") as visitor:
        processes = visitor.processes()
    roles = [each.role for each in processes if each.role != "idle"]
    print("   kill -9:", ", ".join(["teller", *dict.fromkeys(roles)]))
    pids = [teller.pid, *(each.pid for each in processes)]
    for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: none sees another die, and starts it again
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def story(folder: Path) -> None:
    print("1. Release 1 opens the accounts; its events count in euros")
    old_release(folder)
    turn = 1 + len(recorded(folder))  # a folder may be used again; its keys are used up
    transfer = (f"rent-{turn}", "alice", "bob", 25_00)

    print("2. Release 2: alice pays bob 25.00. Bob's booking is made, its answer does not come, and all is killed")
    accident(folder, transfer)

    print("3. Start again, with the same command and the same key")
    first = tell(program("teller.py", folder, *transfer))

    print("4. And once more")
    again = tell(program("teller.py", folder, *transfer))

    print("5. The same key for another amount")
    tell(program("teller.py", folder, *transfer[:-1], 99_00))

    print("6. bob pays somebody who has no account")
    tell(program("teller.py", folder, f"gift-{turn}", "bob", "carol", 10_00))

    print("7. Is it right?")
    judge(folder, same_answer=again == first)


def judge(folder: Path, *, same_answer: bool) -> None:
    """Count the money twice: in the vault, and in the events."""
    told: Counter[str] = Counter()
    for account, cents in map(change, recorded(folder)):
        told[account] += cents
    there = balances(str(folder / "vault.db"))
    print(f"   the vault: {euros(there)}")
    print(f"   events:    {euros(told)}")
    if not same_answer or there != told or sum(there.values()) != 1050_00:
        raise SystemExit("MONEY WAS MADE OR LOST, or one key had two answers")
    print("   no money was made or lost, and one key has one answer")


def euros(cents: dict[str, int]) -> str:
    return ", ".join(f"{name} {each / 100:.2f}" for name, each in sorted(cents.items()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        story(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory(prefix="bank-") as folder:
            story(Path(folder))
