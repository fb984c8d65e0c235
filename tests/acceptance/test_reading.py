"""`status`, `list`, `show`, `explain`: what they say, where a system runs and where none does."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from antistrophe.logs.step_log import StepLog
from antistrophe.logs.stored_records import head_of, line_of
from antistrophe.narration.times import age
from tests.acceptance.command import PROGRAM, Caller, finish, write_lines
from tests.waiting import until


@contextmanager
def served(caller: Caller) -> Iterator[subprocess.Popen[str]]:
    """A home whose system is up."""
    server = caller.start("serve", "--settings", "quick.toml", "--json")
    try:
        until(lambda: is_up(caller), "the system is up")
        yield server
    finally:
        server.terminate()
        assert finish(server).code == 0


def is_up(caller: Caller) -> bool:
    status = caller.ask("status", "--json")
    return status.code == 0 and (status.json()["system"] or {}).get("state") == "ready"


def readings(caller: Caller) -> dict[str, Any]:
    """What each reading verb says of the sagas."""
    return {
        "status": caller.ask("status", "--json").json()["sagas"],
        "list": caller.ask("list", "--json").json(),
        "show": [caller.ask("show", each, "--json").json() for each in ("good", "bad", "stuck")],
        "explain": [caller.ask("explain", each, "--json").json() for each in ("good", "bad", "stuck")],
    }


def test_status_counts(history: Caller) -> None:
    status = history.ask("status", "--json").json()
    assert status["sagas"] == {"executing": 0, "compensating": 0, "completed": 1, "compensated": 1, "failed": 1}
    assert (status["running"], status["history"], status["system"]) == (0, 3, None)
    said = history.ask("status")
    assert said.code == 0
    assert re.search(r"actor system +does not run", said.out)
    assert "list --status failed" in said.out


def test_list_shows_the_last_accepted_first_and_finds(history: Caller) -> None:
    def ids(*words: str) -> list[str]:
        return [saga["id"] for saga in history.ask("list", "--json", *words).json()["sagas"]]

    accepted = {saga["id"]: saga["created_at"] for saga in history.ask("list", "--json").json()["sagas"]}
    assert list(accepted) == sorted(accepted, key=lambda each: accepted[each], reverse=True)
    assert set(accepted) == {"good", "bad", "stuck"}
    assert ids("--status", "failed") == ["stuck"]
    assert ids("--text", "no drum left") == ["bad"]
    assert ids("--name", "other") == []
    first = history.ask("list", "--json", "--limit", "2").json()
    following = history.ask("list", "--json", "--limit", "2", "--cursor", first["cursor"]).json()
    assert [saga["id"] for saga in first["sagas"] + following["sagas"]] == list(accepted)
    assert following["cursor"] is None
    lines = history.ask("list").out.splitlines()
    assert len(lines) == 4, "a head, and one line for each saga, however long"
    assert any("stuck" in line and "the bank is closed" in line for line in lines)


def test_list_of_the_parked_says_since_when_and_which_undo_failed(history: Caller) -> None:
    head, line = history.ask("list", "--status", "failed").out.splitlines()
    assert re.split("  +", head.strip()) == ["saga", "name", "parked for", "the undo that failed"]
    assert re.search(r"^stuck +\S+ +(\d+ (min|s) ?)+ +\S+ \(failed 2 times\): .*the bank is closed", line)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0 s"), (0.9, "0 s"), (61, "1 min 1 s"), (7_200, "2 h"), (11_520, "3 h 12 min"), (90_061, "1 d 1 h")],
)
def test_ages_are_told_in_two_units(seconds: float, said: str) -> None:
    assert age(timedelta(seconds=seconds)) == said


def test_show_has_steps_and_every_entry(history: Caller) -> None:
    shown = history.ask("show", "stuck", "--json").json()
    assert [step["status"] for step in shown["saga"]["steps"]] == ["succeeded", "compensation_failed", "failed"]
    kinds = [entry["kind"] for entry in shown["timeline"]]
    assert kinds[0] == "SagaAccepted"
    assert kinds[-1] == "SagaParked"
    moments = [datetime.fromisoformat(entry["at"]) for entry in shown["timeline"]]
    assert moments == sorted(moments)
    assert all(moment.tzinfo is not None for moment in moments)
    said = history.ask("show", "stuck").out
    assert all(kind in said for kind in kinds)
    assert "the bank is closed" in said


def test_explain_says_what_happened_what_is_owed_and_what_to_do(history: Caller) -> None:
    said = history.ask("explain", "stuck").out
    for sentence in (
        "The saga was accepted with 3 steps: Reserve, Charge, Ship.",
        "raised ValueError: no flute left.",
        "The saga turned back. Steps done: Reserve, Charge.",
        "raised OSError: the bank is closed.",
        "Ship failed: ValueError: no flute left.",
        "the undo of Charge (it took effect); given up after it failed 2 times: OSError",
        "the undo of Reserve (it took effect)",
    ):
        assert sentence in said
    home = str(history.home)
    assert f"antistrophe --home {home} retry stuck" in said
    assert f"antistrophe --home {home} resolve stuck Charge --note" in said
    good = history.ask("explain", "good", "--json").json()
    assert (good["status"], good["turned_back"], good["owed"], good["orders"]) == ("completed", None, [], [])


def test_words_that_are_no_utf8_are_the_words_of_no_saga(history: Caller) -> None:
    for verb in ("show", "explain", "cancel", "retry"):
        said = history.ask(verb, "order-\udcff")
        assert (said.code, said.out) == (2, "")
        assert r"there is no saga 'order-\udcff'" in said.err
    for option in ("--name", "--text"):
        said = history.ask("list", option, "\udcff")
        assert (said.code, said.out.strip()) == (0, rf"no saga for {option} '\udcff'")


def test_where_a_system_runs_the_answers_are_the_same(history: Caller) -> None:
    without = readings(history)
    with served(history):
        status = history.ask("status", "--json").json()
        assert status["system"]["state"] == "ready"
        assert status["system"]["launcher_pid"] in status["processes"]
        assert readings(history) == without
    assert readings(history) == without


def test_a_home_that_was_killed_can_be_read(shop: Caller) -> None:
    write_lines(shop.folder / "orders.jsonl", [{"id": "slow-one", "item": "slow"}])
    run = shop.start("run", "shop.py:order", "--input", "orders.jsonl")
    try:
        until(lambda: (saga := shop.saga("slow-one")) and saga["steps"][2]["status"] == "running", "it ships")
    finally:
        shop.kill_all(run)
    status = shop.ask("status", "--json").json()
    assert (status["system"], status["running"]) == (None, 1)
    assert shop.saga("slow-one")["status"] == "executing"
    said = shop.ask("explain", "slow-one").out
    assert "Ship started in process" in said
    assert "No actor system runs in this home" in said
    assert f"antistrophe --home {shop.home} serve" in said


def test_asking_makes_nothing(tmp_path: Path) -> None:
    nowhere = Caller(tmp_path / "nowhere", tmp_path)
    for words in (
        "status",
        "list",
        "show x",
        "explain x",
        "doctor",
        "watch",
        "cancel x",
        "retry x",
        "resolve x y --note z",
    ):
        ended = nowhere.ask(*words.split())
        assert ended.code == 2
        assert str(tmp_path / "nowhere") in ended.complaint
    assert list(tmp_path.iterdir()) == []


def test_reading_leaves_the_files_as_they_are(history: Caller) -> None:
    def files() -> dict[str, bytes]:
        """All but SQLite's own bookkeeping of who reads."""
        paths = [path for path in history.home.rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in paths if not path.name.endswith(("-wal", "-shm"))}

    before = files()
    readings(history)
    history.ask("doctor")
    assert files() == before


@pytest.mark.parametrize("words", [["show", "nobody"], ["explain", "nobody"], ["cancel", "nobody"]])
def test_an_unknown_id_is_wrong_use(history: Caller, words: list[str]) -> None:
    ended = history(*words)
    assert ended.code == 2
    assert "there is no saga 'nobody'" in ended.complaint


def test_the_options_stand_before_or_after_the_verb(history: Caller) -> None:
    assert history.ask("--json", "status").json() == history.ask("status", "--json").json()
    elsewhere = Caller(history.folder / "elsewhere", history.folder)
    assert elsewhere.ask("list", "--json", "--home", str(history.home)).json() == history.ask("list", "--json").json()


def test_the_home_comes_from_the_environment(history: Caller) -> None:
    ended = subprocess.run(
        [PROGRAM, "status", "--json"],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "ANTISTROPHE_HOME": str(history.home)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert f'"home": "{history.home}"' in ended.stdout


def test_logs_shows_what_the_steps_have_said(history: Caller) -> None:
    log = StepLog(history.home, 1 << 20)
    for saga_id, text in (("bad", "one\n  two\x1b[2J"), ("good", "of another")):
        log.append(line_of(head_of(saga_id, "Pay", "compensate", 2), 1.5, 7, "ERROR", "log", "x", text))
    log.append(line_of(head_of("bad", "Pay", "compensate", 2), 1.6, 7, None, "stdout", None, "printed"))
    said = history.ask("logs", "bad", "--follow", "--utc")
    assert said.out.splitlines() == [
        "1970-01-01 00:00:01.500  Pay compensate 2  ERROR   one",
        r"      two\x1b[2J",
        "00:00:01.600             Pay compensate 2  stdout  printed",
    ]
    assert [json.loads(each)["text"] for each in history.ask("logs", "bad", "--json").out.splitlines()] == [
        "one\n  two\\x1b[2J",
        "printed",
    ]
    assert "nothing" in history.ask("logs", "stuck").out
    assert history.ask("logs", "stuck", "--json").out == ""
    unknown = history.ask("logs", "nobody")
    assert (unknown.code, unknown.out) == (2, "")
    assert "'nobody'" in unknown.err
