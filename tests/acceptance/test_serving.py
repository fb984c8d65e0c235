"""`serve`, `watch` and `demo`: the verbs that stay."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from antistrophe.linux.termination import processes_of_home
from tests.acceptance.command import LIMIT_S, PROGRAM, Caller, finish, write_lines
from tests.waiting import until

GOOD = {"id": "good", "item": "lyre"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_serve_keeps_the_system_up_until_it_is_told_to_stop(shop: Caller, number: signal.Signals) -> None:
    server = shop.start("serve", "--settings", "quick.toml", "--json")
    assert server.stdout is not None
    ready = json.loads(server.stdout.readline())
    assert (ready["home"], ready["pid"], ready["running_sagas"]) == (str(shop.home), server.pid, 0)
    launcher = shop.ask("status", "--json").json()["system"]["launcher_pid"]
    write_lines(shop.folder / "orders.jsonl", [GOOD])
    assert shop("run", "shop.py:order", "--input", "orders.jsonl").code == 0
    assert shop.ask("status", "--json").json()["system"]["launcher_pid"] == launcher, "it outlives the run"
    server.send_signal(number)
    assert finish(server).code == 0
    assert processes_of_home(shop.home) == []


def test_serve_goes_on_with_what_was_left(shop: Caller) -> None:
    write_lines(shop.folder / "orders.jsonl", [{"id": "one", "item": "slow"}])
    run = shop.start("run", "shop.py:order", "--input", "orders.jsonl")
    until(lambda: (saga := shop.saga("one")) and saga["steps"][2]["status"] == "running", "it ships")
    shop.kill_all(run)
    (shop.folder / "go").touch()
    server = shop.start("serve", "--settings", "quick.toml")
    try:
        until(lambda: shop.saga("one")["status"] == "completed", "it has completed")
    finally:
        server.terminate()
        finish(server)


def test_serve_brings_the_system_back(shop: Caller) -> None:
    server = shop.start("serve", "--settings", "quick.toml", "--json")
    assert server.stdout is not None
    server.stdout.readline()
    before = shop.ask("status", "--json").json()["system"]["launcher_pid"]
    os.kill(before, signal.SIGKILL)

    def is_back() -> bool:
        system = shop.ask("status", "--json").json()["system"]
        return system is not None and system["launcher_pid"] not in (None, before)

    until(is_back, "another launcher serves")
    server.terminate()
    assert finish(server).code == 0


def test_watch_follows_until_nothing_runs(shop: Caller) -> None:
    write_lines(shop.folder / "orders.jsonl", [{"id": "one", "item": "slow"}])
    run = shop.start("run", "shop.py:order", "--input", "orders.jsonl")
    until(lambda: (saga := shop.saga("one")) and saga["steps"][2]["status"] == "running", "it ships")
    watch = shop.start("watch", "--until-idle", "--json", "--from", "0")
    assert watch.stdout is not None
    first = json.loads(watch.stdout.readline())
    assert (first["saga"]["id"], first["saga"]["status"]) == ("one", "executing")
    (shop.folder / "go").touch()
    ended = finish(watch)
    assert ended.code == 0
    last = ended.json_lines()[-1]
    assert (last["saga"]["id"], last["saga"]["status"]) == ("one", "completed")
    positions = [each["position"] for each in [first, *ended.json_lines()]]
    assert positions == sorted(set(positions))
    assert finish(run).code == 0
    assert re.search(r"one +completed +3/3", shop("watch", "--until-idle", "--from", "0").out)


def test_watch_ends_with_ctrl_c(history: Caller) -> None:
    watch = history.start("watch", "--from", "0")
    assert watch.stdout is not None
    try:
        first = watch.stdout.readline()
    finally:
        watch.send_signal(signal.SIGINT)
        ended = finish(watch)
    assert "good" in first
    assert ended.code == 130


def test_the_demo_counts_its_money_and_leaves_nothing(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    temporary = tmp_path_factory.getbasetemp() / "demo"  # sockets have short paths
    temporary.mkdir()
    caller = Caller(tmp_path / "home", tmp_path, TMPDIR=str(temporary))
    shown, told = caller.start("demo"), caller.start("demo", "--json")
    ended = finish(told)
    assert ended.code == 0, ended
    demo = ended.json()
    assert demo["total"] == demo["expected"] == sum(demo["balances"].values())
    assert demo["sagas"]["transfer-07"] == "compensated"
    assert set(demo["sagas"].values()) == {"completed", "compensated"}
    assert len(demo["sagas"]) == 36
    said = finish(shown)
    assert said.code == 0
    for words in (
        "transfer-07 compensated: step 1 (Credit) timed out after 1.5 s",
        "compensated (was in doubt)",
        "the supervisor is dead",
        "together  6000 of 6000",
        "no coin was lost, and none was made",
    ):
        assert words in said.out
    assert [*tmp_path.iterdir(), *temporary.iterdir()] == [], "neither its own home nor ours is there"


def screen_of(caller: Caller, *words: str, **environment: str) -> str:
    """What a person sees: the same with a terminal as its output."""
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [PROGRAM, "--home", caller.home, *words],
        cwd=caller.folder,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **environment},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 40
    try:
        while time.monotonic() < deadline:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # how a terminal says that the other side has left
                break
            seen += part
    finally:
        os.close(ours)
        program.wait(10)
    return seen.decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][;m]")


def test_a_terminal_gets_colours_and_a_bar(shop: Caller) -> None:
    write_lines(shop.folder / "orders.jsonl", [{**GOOD, "id": f"o{number}"} for number in range(5)])
    seen = screen_of(shop, "run", "shop.py:order", "--input", "orders.jsonl")
    assert "━" in seen
    assert "5/5" in seen
    assert COLOUR.search(seen)
    assert COLOUR.search(screen_of(shop, "list"))
    assert not COLOUR.search(screen_of(shop, "list", NO_COLOR="1"))
    assert "completed" in screen_of(shop, "list", NO_COLOR="1")


def test_serve_has_metrics_where_it_is_told_to(shop: Caller) -> None:
    server = shop.start("serve", "--settings", "quick.toml", "--json", "--metrics", "0")
    assert server.stdout is not None
    address = json.loads(server.stdout.readline())["metrics"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", address)
    write_lines(shop.folder / "orders.jsonl", [GOOD])
    assert shop("run", "shop.py:order", "--input", "orders.jsonl").code == 0

    def page() -> str:
        with urllib.request.urlopen(address, timeout=LIMIT_S) as answer:
            return str(answer.read().decode())

    until(lambda: "antistrophe_up 1.0\n" in page(), "the system has answered in time")
    assert re.search(r'^antistrophe_sagas_completed_total\{name="[^"]+"\} 1\.0$', page(), re.MULTILINE)
    port = address.rpartition(":")[2].partition("/")[0]
    other = shop("--home", shop.folder / "other", "serve", "--metrics", port)
    assert other.code == 2
    assert f"metrics can't be served at port {port} of 127.0.0.1: Address already in use" in other.complaint
    assert not (shop.folder / "other").exists(), "nothing has been started"
    server.terminate()
    assert finish(server).code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--metrics", "http"), "'http' is not a valid integer"),
        (("--metrics", "70000"), "70000 is not in the range"),
        (("--metrics-host", "127.0.0.1"), "give --metrics PORT too"),
    ],
)
def test_serve_says_what_is_wrong_with_where_to_serve_metrics(shop: Caller, words: tuple[str, ...], says: str) -> None:
    ended = shop.ask("serve", *words)
    assert ended.code == 2
    assert says in ended.err
