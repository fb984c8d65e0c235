"""The example of several hosts, as a reader runs it: one of them is killed, and the money is counted."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.house.tree import ROOT
from tests.postgres_fixtures import require_postgres

FOLDER = ROOT / "docs" / "examples" / "hosts"
LINES = 120


def test_a_host_is_killed_and_no_coin_is_lost() -> None:
    require_postgres()
    ended = subprocess.run(
        [sys.executable, str(FOLDER / "run.py")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150.0,
        check=False,
    )
    assert ended.returncode == 0, ended
    told = re.fullmatch(
        r"host c is dead, amid (?P<left>\d+) transfers\n(ended on host [abc]: \d+ COMP\w+\n)+"
        r"all 60 transfers have ended; the bank has 10000 of 10000\n",
        ended.stdout,
    )
    assert told is not None, ended.stdout
    assert int(told["left"]) > 0, "it was killed in the middle"


def test_the_example_is_short() -> None:
    assert sum(len(path.read_text("utf-8").splitlines()) for path in FOLDER.glob("*.py")) <= LINES
