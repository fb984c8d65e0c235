"""Three hosts share a journal on PostgreSQL. One is killed amid its transfers; others end them, and no coin is lost."""

import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, run
from tempfile import TemporaryDirectory

from transfer import ask_bank, transfer

from antistrophe import SagaOrchestrator, SagaStatus, Settings

OPENED_WITH, EACH = 10_000, 20


@contextmanager
def postgres() -> Iterator[str]:
    """A server of our own, on a socket, that ends with this program; as the user postgres where we are root."""
    programs = next(Path("/usr/lib/postgresql").glob("*/bin"), None)
    if programs is None:
        raise SystemExit("this example starts a PostgreSQL server of its own: apt-get install postgresql")
    begin = ["setpriv", "--pdeathsig", "QUIT"]
    with TemporaryDirectory(dir="/tmp") as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            begin += ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        words = [*begin, programs / "initdb", "-D", f"{folder}/data", "-U", "bank", "-A", "trust", "-E", "UTF8"]
        run([*words, "--no-locale"], cwd="/", check=True, stdout=DEVNULL)
        words = [*begin, programs / "postgres", "-D", f"{folder}/data", "-h", "", "-k", folder]
        with open(f"{folder}/log", "w") as log, Popen(words, cwd="/", stderr=log) as server:
            while "ready to accept" not in Path(folder, "log").read_text() and server.poll() is None:
                time.sleep(0.05)
            try:
                yield f"postgresql:///postgres?host={folder}&user=bank"
            finally:
                server.send_signal(signal.SIGINT)


def open_host(home: Path, url: str) -> SagaOrchestrator:
    host = SagaOrchestrator(home, settings=Settings(host_name=home.name, lease_s=4), journal=url)
    for number in range(EACH):
        host.start(transfer(f"{home.name}-{number}", str(home.with_name("bank"))))
    return host


def kill_host(home: Path) -> None:
    """kill -9 of all that has this home in its command line: the program and its system, and whom they have started."""
    for process in (found for _ in range(2) for found in Path("/proc").glob("[0-9]*")):
        with suppress(OSError):
            if str(home) in (process / "cmdline").read_text():
                os.kill(int(process.name), signal.SIGKILL)


def main(folder: Path, url: str) -> None:
    bank = str(folder / "bank")
    ask_bank(bank, "CREATE TABLE bookings(key TEXT PRIMARY KEY, account TEXT, amount INTEGER)")
    others = []
    with open_host(folder / "a", url) as here:
        for name in "bc":
            others.append(Popen([sys.executable, __file__, folder / name, url], stdin=PIPE, stdout=PIPE))
            others[-1].stdout.readline()  # it has started its transfers
        kill_host(folder / "c")
        print("host c is dead, amid", sum(each.host == "c" for each in here.get_running_sagas()), "transfers")
        here.wait_idle(timeout_s=60)
        sagas = here.list_sagas(limit=1_000).sagas
    for program in others:
        program.communicate()  # its standard input ends, and so does it
    for (host, status), number in sorted(Counter((each.host, each.status.name) for each in sagas).items()):
        print(f"ended on host {host}: {number} {status}")
    [(money, bookings)] = ask_bank(bank, "SELECT ? + sum(amount), count(*) FROM bookings", OPENED_WITH)
    print(f"all {len(sagas)} transfers have ended; the bank has {money} of {OPENED_WITH}")
    completed = sum(each.status is SagaStatus.COMPLETED for each in sagas)
    assert (len(sagas), money, bookings) == (3 * EACH, OPENED_WITH, 2 * completed), "MONEY WAS MADE OR LOST"


if __name__ == "__main__" and len(sys.argv) == 1:
    with TemporaryDirectory() as folder, postgres() as url:
        main(Path(folder), url)
elif __name__ == "__main__":
    with open_host(Path(sys.argv[1]), sys.argv[2]):
        print("started", flush=True)
        sys.stdin.read()
