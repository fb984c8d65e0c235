"""`antistrophe verify`, as a person or a pipeline uses it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.acceptance import steps_to_undo
from tests.acceptance.command import Caller, write_lines

STEPS = Path(__file__).with_name("steps_to_undo.py")
CODE = """
import bank_steps as steps
from antistrophe import SagaDefinition

BANK = "bank.db"
good = SagaDefinition("good").add_step(steps.Debit(BANK)).add_step(steps.Credit(BANK))

def bad(saga_id):
    print("made for", saga_id)
    return SagaDefinition("bad").add_step(steps.GivesTwice(BANK))

def of_line(line):
    return SagaDefinition(line["id"], name="lines").add_step(steps.Debit(BANK, line["amount"]))

def world():
    return steps.snapshot(BANK)

def fails():
    1 / 0

def reset():
    with steps.opened(BANK) as db:
        db.execute("DELETE FROM closings")
"""


@pytest.fixture
def shop(tmp_path: Path) -> Caller:
    """A folder with the code and the bank. The home is in it, so that what is left behind would be found."""
    shutil.copy(STEPS, tmp_path / "bank_steps.py")
    (tmp_path / "shop.py").write_text(CODE, "utf-8")
    steps_to_undo.make_bank(str(tmp_path / "bank.db"))
    return Caller(tmp_path / "home", tmp_path)


def test_a_saga_that_can_be_undone_ends_with_0(shop: Caller) -> None:
    ended = shop("verify", "shop.py:good", "--world", "shop.py:world", "--only", "*/kill-after", "--only", "*/turn")
    assert ended.code == 0, ended
    assert "good can be undone" in ended.out
    assert "turn" in ended.out


def test_a_saga_that_can_t_ends_with_1_and_says_why(shop: Caller) -> None:
    words = ("verify", "shop.py:bad", "--world", "shop.py:world", "--reset", "shop.py:reset", "--only", "*/kill-after")
    ended = shop(*words, "--lines", "0", "--json")
    assert ended.code == 1, ended
    said = ended.json()
    assert said["ok"] is False
    assert [finding["kind"] for finding in said["findings"]] == ["undo not idempotent"]
    assert said["findings"][0]["replay"] == {"only": "compensate/GivesTwice/kill-after"}
    assert {point["outcome"] for point in said["points"]} == {"undone", "undo not idempotent"}
    assert "made for verify-" in ended.err


def test_a_saga_of_a_line_is_verified_as_it_would_be_run(shop: Caller) -> None:
    write_lines(shop.folder / "lines.jsonl", [{"id": "first", "amount": 3}, {"id": "second", "amount": 5}])
    words = ("verify", "shop.py:of_line", "--input", "lines.jsonl", "--world", "shop.py:world", "--sample", "1")
    ended = shop(*words, "--seed", "5", "--json")
    assert ended.code == 0, ended
    assert (ended.json()["saga"], ended.json()["seed"], len(ended.json()["points"])) == ("lines", 5, 1)


def test_wrong_use_ends_with_2(shop: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(shop.folder))  # and takes away whatever is put there
    monkeypatch.chdir(shop.folder)
    (shop.folder / "shop.py").rename(shop.folder / "wrong_shop.py")
    (shop.folder / "empty.jsonl").write_text("\n")
    (shop.folder / "wrong.jsonl").write_text('{"id": 1}\n')
    for words, complaint in (
        (["nothing"], "has no 'nothing'"),
        (["BANK"], "is str, not a SagaDefinition"),
        (["good", "--world", "wrong_shop:BANK"], "is str, not a function"),
        (["good", "--world", "wrong_shop:nothing"], "name a function"),
        (["good", "--input", "empty.jsonl"], "not a function of a line's JSON object"),
        (["of_line", "--input", "empty.jsonl"], "has no line"),
        (["of_line", "--input", "wrong.jsonl"], "wrong.jsonl:1"),
        (["of_line"], "the saga's function raised TypeError"),
        (["good", "--world", "wrong_shop:fails"], "wrong_shop:fails raised ZeroDivisionError"),
    ):
        ended = shop.ask("verify", f"wrong_shop:{words[0]}", *words[1:])
        assert ended.code == 2, ended
        assert complaint in " ".join(ended.err.split())
