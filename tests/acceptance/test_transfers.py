"""The transfers on real input: what `run` says, what the bank says, again, two at a time, and after kill -9."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from antistrophe.launcher.control_protocol import Ready
from antistrophe.launcher.probe import probe
from docs.examples.transfers import generate
from tests.acceptance.bank_audit import DYING, DYING_ONCE, HANGING, bookings, fate_of, judge
from tests.acceptance.command import Caller, Ended, finish, write_lines
from tests.house.tree import ROOT
from tests.waiting import until

INPUT = ROOT / "docs" / "examples" / "transfers" / "transfers.jsonl"
ORDINARY = 170
LIMIT_S = 110.0

pytestmark = pytest.mark.timeout(240)  # attempts that hang are given their time, on a machine that may be busy


class Transfers(Caller):
    """A home and a bank of its own, and some of the committed lines."""

    def __init__(self, folder: Path, lines: Sequence[dict[str, Any]]) -> None:
        self.bank = folder / "bank.db"
        super().__init__(folder / "home", ROOT, TRANSFERS_BANK=str(self.bank))
        self.lines = lines
        self.words = (
            "run",
            "docs.examples.transfers.saga:transfer",
            "--input",
            write_lines(folder / "transfers.jsonl", list(lines)),
            "--json",
        )

    def run(self) -> Ended:
        """Run all of it to the end."""
        return self(*self.words, limit_s=LIMIT_S)


def statuses(ended: Ended) -> dict[str, str]:
    """What `run` told of each transfer."""
    return {each["id"]: each["status"] for each in ended.json_lines()[:-1]}


def some_lines() -> list[dict[str, Any]]:
    """A part of the committed input: one line at least of each kind that goes wrong, those that hang first."""
    lines = [json.loads(line) for line in INPUT.read_text("utf-8").splitlines()]
    accidents = [
        next(line for line in lines if line["amount"] == amount) for amount in sorted(HANGING | DYING | DYING_ONCE)
    ]
    others = [line for line in lines if line["amount"] not in HANGING | DYING | DYING_ONCE]
    return [*accidents, *others[:ORDINARY]]


@pytest.fixture
def transfers(tmp_path: Path) -> Iterator[Transfers]:
    """Some transfers that have not begun."""
    with closing(Transfers(tmp_path, some_lines())) as caller:
        yield caller


def test_the_input_is_what_the_generator_makes() -> None:
    lines = [json.loads(line) for line in INPUT.read_text("utf-8").splitlines()]
    assert lines == generate.lines()
    assert len(lines) == 1_000
    assert len({line["id"] for line in lines}) == 1_000
    assert Counter(fate_of(line) for line in lines) == {"completed": 906, "compensated": 94}


def test_no_money_is_made_or_lost_and_nothing_runs_twice(transfers: Transfers) -> None:
    ended = transfers.run()
    assert ended.code == 1, ended.err
    told = statuses(ended)
    assert told == {line["id"]: fate_of(line) for line in transfers.lines}
    judge(transfers.bank, transfers.lines, told)
    summary = ended.json_lines()[-1]["summary"]
    counts = Counter(told.values())
    assert (summary["completed"], summary["compensated"]) == (counts["completed"], counts["compensated"])
    assert (summary["parked"], summary["wrong"], summary["error"]) == (0, 0, None)
    assert summary["after_run"]["verdict"] == "no money was made or lost"
    assert summary["after_run"]["money in the bank now"] == 40_000_000

    before = bookings(transfers.bank), transfers.ask("list", "--json", "--limit", "1000").json()
    again = transfers.run()
    assert (again.code, statuses(again)) == (1, told)
    assert (bookings(transfers.bank), transfers.ask("list", "--json", "--limit", "1000").json()) == before


def test_a_bank_whose_books_are_wrong_is_told(transfers: Transfers, tmp_path: Path) -> None:
    """The check at the end is able to fail."""
    few = Transfers(tmp_path, transfers.lines[4:24])
    assert few.run().json_lines()[-1]["summary"]["error"] is None
    from docs.examples.transfers.bank import Bank

    with closing(Bank(few.bank)) as bank, bank.booking("forged", few.lines[-1]["id"], "ACC-01", 5):
        pass
    ended = few.run()
    assert ended.code == 1
    assert "MONEY WAS MADE OR LOST" in ended.json_lines()[-1]["summary"]["error"]
    assert few.lines[-1]["id"] in ended.err


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_killed_in_the_middle_it_goes_on(transfers: Transfers, share: float) -> None:
    """kill -9 of the program and of every process of the home; what is in the bank by then is anything but whole."""
    run = transfers.start(*transfers.words)
    until(lambda: len(bookings(transfers.bank)) >= share * 2 * ORDINARY, "some are booked", LIMIT_S)
    transfers.kill_all(run)
    left = transfers.ask("status", "--json").json()
    assert left["system"] is None
    assert left["running"] > 0, "it was killed in the middle"
    ended = transfers.run()
    told = statuses(ended)
    judge(transfers.bank, transfers.lines, told)
    for line in transfers.lines:
        # One that dies once, and is killed as well, has had all the attempts it gets.
        assert line["amount"] in DYING_ONCE or told[line["id"]] == fate_of(line), line
    assert ended.json_lines()[-1]["summary"]["after_run"]["verdict"] == "no money was made or lost"
    assert transfers.ask("doctor").code == 0


@pytest.mark.parametrize("role", ["launcher", "supervisor"])
def test_what_carries_the_system_dies_and_the_run_goes_on(transfers: Transfers, role: str) -> None:
    """kill -9 of one process that all hang on; the same program goes on by itself."""
    run = transfers.start(*transfers.words)
    until(lambda: len(bookings(transfers.bank)) >= ORDINARY // 2, "some are booked", LIMIT_S)
    ready = probe(transfers.home, 10.0)
    assert isinstance(ready, Ready)
    os.kill(ready.launcher_pid if role == "launcher" else ready.supervisor_pid, signal.SIGKILL)
    ended = finish(run, LIMIT_S)
    assert ended.code == 1, ended
    judge(transfers.bank, transfers.lines, statuses(ended))


def test_two_that_run_the_same_lines_at_once(transfers: Transfers) -> None:
    runs = [transfers.start(*transfers.words) for _ in range(2)]
    first, second = [finish(run, LIMIT_S) for run in runs]
    assert (first.code, second.code) == (1, 1)
    assert statuses(first) == statuses(second)
    judge(transfers.bank, transfers.lines, statuses(first))
