"""`run`: lines good and wrong, what it prints, how it ends, and that it can be run again."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.acceptance.command import Caller, finish, write_lines
from tests.acceptance.steps_of_a_shop import BOOK
from tests.waiting import until

GOOD = {"id": "good", "item": "lyre"}


def test_all_goes_well(shop: Caller) -> None:
    write_lines(shop.folder / "orders.jsonl", [{"id": f"o{number}", "item": "lyre"} for number in range(20)])
    ended = shop("run", "shop:order", "--input", "orders.jsonl", "--concurrency", "5")
    assert ended.code == 0
    assert ended.err == ""
    assert "20 lines in" in ended.out
    assert any(line.split() == ["completed", "20"] for line in ended.out.splitlines())
    assert any(line.split() == ["orders", "that", "were", "shipped", "20"] for line in ended.out.splitlines())


def test_a_wrong_line_is_told_and_the_others_run(shop: Caller) -> None:
    lines: list[Any] = [
        GOOD,
        "nonsense",
        "",
        [1],
        {"item": "lyre"},
        GOOD,
        {"id": "typed", "item": 5},
        b"\xff\xfe",
        {"id": "", "item": "lyre"},
        {"id": "bad", "item": "drum"},
        "[" * 100_000,
    ]
    write_lines(shop.folder / "orders.jsonl", lines)
    ended = shop("run", "shop.py:order", "--input", "orders.jsonl", "--json")
    assert ended.code == 2
    results = {each["line"]: each for each in ended.json_lines()[:-1]}
    wrong = {number: each["error"] for number, each in results.items() if each["status"] == "wrong"}
    assert sorted(wrong) == [2, 4, 5, 6, 7, 8, 9, 11]
    assert "not JSON" in wrong[2]
    assert "not a JSON object" in wrong[4]
    assert "KeyError: 'id'" in wrong[5]
    assert "line 1 already" in wrong[6]
    assert "item" in wrong[7]
    assert "UTF-8" in wrong[8]
    assert (results[1]["status"], results[10]["status"]) == ("completed", "compensated")
    summary = ended.json_lines()[-1]["summary"]
    assert (summary["completed"], summary["compensated"], summary["parked"], summary["wrong"]) == (1, 1, 0, 8)
    for number, error in wrong.items():
        assert f"orders.jsonl:{number}: {error}" in ended.err
    assert "an order is made" in ended.err, "what the module prints goes elsewhere"


def test_a_finished_line_gives_its_outcome_and_runs_no_more(ran: Caller) -> None:
    before = (ran.folder / BOOK).read_text("utf-8")
    ended = ran("run", "shop.py:order", "--input", "orders.jsonl", "--json")
    assert ended.code == 1
    statuses = {each["id"]: each["status"] for each in ended.json_lines()[:-1]}
    assert statuses == {"good": "completed", "bad": "compensated", "stuck": "failed"}
    assert (ran.folder / BOOK).read_text("utf-8") == before


def test_compensated_may_count_as_done(shop: Caller) -> None:
    write_lines(shop.folder / "orders.jsonl", [GOOD, {"id": "bad", "item": "drum"}])
    assert shop("run", "shop.py:order", "--input", "orders.jsonl").code == 1
    assert shop("run", "shop.py:order", "--input", "orders.jsonl", "--allow-compensated").code == 0


def test_parked_sagas_are_never_done(ran: Caller) -> None:
    assert ran("run", "shop.py:order", "--input", "orders.jsonl", "--allow-compensated").code == 1


def test_parked_sagas_are_named_with_what_to_do(ran: Caller) -> None:
    said = ran("run", "shop.py:order", "--input", "orders.jsonl").out
    assert f"antistrophe --home {ran.home} explain stuck" in said
    assert "the undo of Charge failed" in said


def test_an_id_of_another_definition_is_a_wrong_line(ran: Caller) -> None:
    write_lines(ran.folder / "others.jsonl", [{"id": "good", "item": "drum"}])
    ended = ran("run", "shop.py:order", "--input", "others.jsonl")
    assert ended.code == 2
    assert "others.jsonl:1: a saga 'good' of another definition" in ended.err


def test_two_runs_at_once_share_the_work(shop: Caller) -> None:
    write_lines(shop.folder / "orders.jsonl", [{"id": f"o{number}", "item": "lyre"} for number in range(30)])
    runs = [shop.start("run", "shop.py:order", "--input", "orders.jsonl", "--json") for _ in range(2)]
    for ended in [finish(run) for run in runs]:
        assert ended.code == 0, ended
        assert ended.json_lines()[-1]["summary"]["completed"] == 30
    assert sorted((shop.folder / BOOK).read_text("utf-8").splitlines()) == sorted(
        [f"{done} lyre" for done in ("reserve", "charge", "ship") for _ in range(30)]
    )


def test_ctrl_c_says_how_to_go_on_and_the_next_run_does(shop: Caller) -> None:
    write_lines(shop.folder / "orders.jsonl", [{"id": "slow-one", "item": "slow"}, GOOD])
    words = ("run", "shop.py:order", "--input", "orders.jsonl", "--settings", "quick.toml", "--json")
    run = shop.start(*words, "--concurrency", "1")
    until(lambda: (saga := shop.saga("slow-one")) and saga["steps"][2]["status"] == "running", "it ships")
    run.send_signal(signal.SIGINT)
    stopped = finish(run)
    assert stopped.code == 130
    assert "run the same command again" in stopped.err
    assert shop.saga("good") is None
    (shop.folder / "go").touch()
    ended = shop(*words)
    assert ended.code == 0
    assert {each["id"]: each["status"] for each in ended.json_lines()[:-1]} == {
        "slow-one": "completed",
        "good": "completed",
    }
    done = (shop.folder / BOOK).read_text("utf-8").splitlines()
    assert done.count("reserve slow") == done.count("ship slow") == 1


def test_what_the_hook_raises_is_told_and_fails_the_run(shop: Caller) -> None:
    write_lines(shop.folder / "orders.jsonl", [GOOD])
    (shop.folder / "raise").touch()
    ended = shop("run", "shop.py:order", "--input", "orders.jsonl")
    assert ended.code == 1
    assert "after_run: RuntimeError: the books do not agree" in ended.err


def test_what_comes_through_a_pipe_is_run(shop: Caller) -> None:
    os.mkfifo(shop.folder / "pipe")
    written = json.dumps(GOOD) + "\n"
    writer = threading.Thread(target=(shop.folder / "pipe").write_text, args=(written,))
    writer.start()
    ended = shop("run", "shop.py:order", "--input", "pipe", "--json")
    writer.join()
    assert ended.code == 0
    assert ended.json_lines()[-1]["summary"]["completed"] == 1


def test_an_empty_name_of_a_home_is_refused(shop: Caller) -> None:
    ended = shop("status", "--home", "")
    assert ended.code == 2
    assert "it is empty: name a folder" in ended.err


def test_an_empty_file_is_no_mistake(shop: Caller) -> None:
    write_lines(shop.folder / "orders.jsonl", ["", "  "])
    ended = shop("run", "shop.py:order", "--input", "orders.jsonl", "--json")
    assert ended.code == 0
    assert ended.json_lines()[-1]["summary"]["completed"] == 0


def test_a_saga_that_waits_says_for_what(shop: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that step processes can't load is no failure: the saga waits, and the run says so."""
    code = (shop.folder / "shop.py").read_text("utf-8")
    guard = "import sys\nif 'antistrophe.cli' not in sys.modules:\n    raise ImportError('only for the counter')\n"
    (shop.folder / "shop.py").write_text(code.replace("import time\n", f"import time\n{guard}", 1), "utf-8")
    write_lines(shop.folder / "orders.jsonl", [GOOD])
    run = shop.start("run", "shop.py:order", "--input", "orders.jsonl", "--settings", "quick.toml")
    said = ""
    try:
        assert run.stderr is not None
        while "good waits:" not in said:  # the orchestrator's own warning may come first
            said = run.stderr.readline()
            assert said
    finally:
        run.send_signal(signal.SIGINT)
        finish(run)
    assert "only for the counter" in said


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("shop.py", "write MODULE:SAGA"),
        ("shop:", "write MODULE:SAGA"),
        (":order", "write MODULE:SAGA"),
        ("nowhere:order", "No module named 'nowhere'"),
        ("nowhere.py:order", "there is no file nowhere.py"),
        ("shop:nothing", "has no 'nothing'"),
        ("shop:BOOK", "is str, not a function"),
        ("broken:order", "ZeroDivisionError"),
        ("exits:order", "SystemExit: 3"),
        ("json.py:order", "rename the file"),
        ("two words.py:order", "rename the file"),
    ],
)
def test_what_names_no_saga_is_wrong_use(shop: Caller, target: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop.folder / "broken.py").write_text("1 / 0\n", "utf-8")
    (shop.folder / "exits.py").write_text("raise SystemExit(3)\n", "utf-8")
    for name in ("json.py", "two words.py"):
        (shop.folder / name).write_text("def order(line): ...\n", "utf-8")
    write_lines(shop.folder / "orders.jsonl", [GOOD])
    monkeypatch.chdir(shop.folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with mock.patch.dict(sys.modules):
        ended = shop.ask("run", target, "--input", "orders.jsonl")
    assert ended.code == 2
    assert says in ended.complaint
    assert not shop.home.exists()


def test_a_function_that_returns_no_saga_makes_a_wrong_line(shop: Caller) -> None:
    write_lines(shop.folder / "orders.jsonl", [GOOD])
    ended = shop("run", "shop.py:not_a_saga", "--input", "orders.jsonl")
    assert ended.code == 2
    assert "orders.jsonl:1: no SagaDefinition was returned for the line, but str" in ended.err


def test_a_home_that_cannot_be_used_is_wrong_use(shop: Caller) -> None:
    write_lines(shop.folder / "orders.jsonl", [GOOD])
    shop.home.write_text("I am a file", "utf-8")
    ended = shop("run", "shop.py:order", "--input", "orders.jsonl")
    assert ended.code == 2
    assert str(shop.home) in ended.err
    (shop.folder / "wrong.toml").write_text("max_running_saga = 3\n", "utf-8")
    settings = shop("run", "shop.py:order", "--input", "orders.jsonl", "--settings", "wrong.toml")
    assert settings.code == 2
    assert "did you mean 'max_running_sagas'?" in settings.complaint


def test_wrong_words_are_wrong_use(tmp_path: Path) -> None:
    caller = Caller(tmp_path / "home", tmp_path)
    for words in ("nonsense", "run", "run a:b", "run a:b --input none.jsonl", "list --limit 0", "resolve a b", "show"):
        ended = caller.ask(*words.split())
        assert ended.code == 2, words
        assert ended.err or ended.out
    assert "there is no verb 'host'" in caller.ask("host").err
    assert json.loads(json.dumps(caller.ask("--version").out)).startswith("antistrophe ")
