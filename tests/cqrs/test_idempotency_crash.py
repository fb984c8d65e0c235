"""Idempotency keys over processes that race, are killed with SIGKILL, or stand still."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from antistrophe.cqrs import claim_owner
from antistrophe.cqrs.bus import CommandBus
from antistrophe.cqrs.claim_owner import LEASE_S
from antistrophe.cqrs.results import Appends
from antistrophe.errors import IdempotencyConflictError
from antistrophe.eventstore.store import EventStore
from antistrophe.linux.process import boot_id
from antistrophe.storage.opening import open_database
from tests.cqrs.shop import CreateUser, UserCreated
from tests.house.tree import ROOT
from tests.waiting import until

pytestmark = pytest.mark.timeout(180)  # starts many processes, on a machine that may be busy


class Dispatchers:
    """Processes that dispatch, what they have logged, and the store that they share."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.place: Path | str = folder / "events.db" if url is None else url
        self.log = folder / "log"
        self.log.touch()
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, handler: str, *keys: str, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.cqrs.dispatcher", str(self.place), str(self.log), handler, *keys],
            cwd=ROOT,
            stdin=subprocess.PIPE,
        )
        self.started.append(process)
        return process

    def lines(self, word: str) -> list[list[str]]:
        """The rest of every logged line that begins with that word."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [line[1:] for line in lines if line[0] == word]

    def await_lines(self, word: str, count: int) -> None:
        until(lambda: len(self.lines(word)) >= count, f"{count} times {word!r}")

    def has_come_to(self, process: subprocess.Popen[bytes], word: str, count: int) -> bool:
        """Whether there are so many of those lines, or will never be."""
        return process.poll() is not None or len(self.lines(word)) >= count

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


in_a_file = pytest.mark.parametrize("dispatchers", ["file"], indirect=True)  # PostgreSQL has tests of its own


@pytest.fixture(params=["file", "postgres"])
def dispatchers(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Dispatchers]:
    some = Dispatchers(tmp_path, request.getfixturevalue("postgres_store_url") if request.param == "postgres" else None)
    yield some
    some.end()


def bus_here(store: EventStore) -> CommandBus:
    bus = CommandBus(store)
    bus.register(CreateUser, lambda command: Appends(command.name, [UserCreated(command.name), UserCreated("here")]))
    return bus


def test_the_claim_of_a_killed_process_is_taken_over(dispatchers: Dispatchers) -> None:
    hung = dispatchers.start("hang", "key")
    dispatchers.await_lines("began", 1)
    with EventStore(dispatchers.place) as store:
        bus = bus_here(store)
        with pytest.raises(TimeoutError, match=f"process {hung.pid}"):
            bus.dispatch(CreateUser("key"), "key", timeout_s=0.1)
        kill(hung)
        assert bus.dispatch(CreateUser("key"), "key") == [UserCreated("key"), UserCreated("here")]
        assert store.version("key") == 2


@in_a_file
def test_who_waits_when_the_owner_is_killed_runs_the_handler_once(dispatchers: Dispatchers) -> None:
    hung = dispatchers.start("hang", "key")
    dispatchers.await_lines("began", 1)
    waiting = [dispatchers.start("quick", "key") for _ in range(3)]
    dispatchers.await_lines("asks", 4)
    kill(hung)
    assert [process.wait(30) for process in waiting] == [0, 0, 0]
    assert len(dispatchers.lines("began")) == 2  # the killed one's, and one more
    assert len({pid for _, pid, _ in dispatchers.lines("answered")}) == 1
    with EventStore(dispatchers.place) as store:
        assert store.version("key") == 2


@in_a_file
def test_a_process_that_died_after_the_commit_has_answered(dispatchers: Dispatchers) -> None:
    first = dispatchers.start("quick", "key")
    assert first.wait(30) == 0
    second = dispatchers.start("hang", "key")
    assert second.wait(30) == 0
    assert {pid for _, pid, _ in dispatchers.lines("answered")} == {str(first.pid)}
    with EventStore(dispatchers.place) as store:
        with pytest.raises(IdempotencyConflictError):
            bus_here(store).dispatch(CreateUser("another"), "key")
        assert store.version("key") == 2


def test_a_process_that_stands_still_keeps_its_claim(dispatchers: Dispatchers) -> None:
    owner = dispatchers.start("gated", "key")
    dispatchers.await_lines("began", 1)
    os.kill(owner.pid, signal.SIGSTOP)
    with EventStore(dispatchers.place) as store:
        bus = bus_here(store)
        with pytest.raises(TimeoutError):
            bus.dispatch(CreateUser("key"), "key", timeout_s=0.2)
        os.kill(owner.pid, signal.SIGCONT)
        assert owner.stdin is not None
        owner.stdin.write(b"go\n")
        owner.stdin.flush()
        assert bus.dispatch(CreateUser("key"), "key") == [UserCreated("key"), UserCreated(str(owner.pid))]
        assert owner.wait(30) == 0


def changed_claim(dispatchers: Dispatchers, change: str) -> int:
    """Change the one claim. Returns the pid of its owner."""
    database = open_database(dispatchers.place)
    try:
        database.execute(f"UPDATE claims SET {change}")
        return int(database.row("SELECT owner_pid FROM claims")[0])
    finally:
        database.close()


@in_a_file
def test_the_number_of_a_dead_owner_may_be_given_to_another_process(dispatchers: Dispatchers) -> None:
    hung = dispatchers.start("hang", "key")
    dispatchers.await_lines("began", 1)
    with EventStore(dispatchers.place) as store:
        # The process lives on, as the stranger that now has the number of the one that made the claim.
        assert changed_claim(dispatchers, "owner_start_ticks = 1") == hung.pid
        assert bus_here(store).dispatch(CreateUser("key"), "key")[1] == UserCreated("here")


@in_a_file
@pytest.mark.parametrize(
    "place", ["another-boot pid:[4026531836]", "another-boot", f"{boot_id()} pid:[1]", f"{boot_id()} unknown", ""]
)
def test_an_owner_that_nobody_can_see_keeps_its_claim_until_its_lease_has_lapsed(
    dispatchers: Dispatchers, place: str
) -> None:
    hung = dispatchers.start("hang", "key")
    dispatchers.await_lines("began", 1)
    with EventStore(dispatchers.place) as store:
        bus = bus_here(store)
        # With another token, too: its process is here and would renew the claim.
        changed_claim(dispatchers, f"owner_boot_id = '{place}', owner_pid = {2**22 + 1}, token = 'elsewhere'")
        with pytest.raises(TimeoutError, match="still being handled"):
            bus.dispatch(CreateUser("key"), "key", timeout_s=0.3)
        assert changed_claim(dispatchers, f"updated_at = updated_at - {int(LEASE_S * 1e6)}") != hung.pid
        assert bus.dispatch(CreateUser("key"), "key")[1] == UserCreated("here")


@in_a_file
def test_a_claim_of_an_older_version_is_judged_by_its_boot_alone(dispatchers: Dispatchers) -> None:
    owner = dispatchers.start("hang", "key")
    dispatchers.await_lines("began", 1)
    with EventStore(dispatchers.place) as store:
        bus = bus_here(store)
        changed_claim(dispatchers, f"owner_boot_id = '{boot_id()}', updated_at = updated_at - {int(LEASE_S * 1e6)}")
        with pytest.raises(TimeoutError, match="still being handled"):
            bus.dispatch(CreateUser("key"), "key", timeout_s=0.3)
        owner.kill()
        owner.wait()
        assert bus.dispatch(CreateUser("key"), "key")[1] == UserCreated("here")


@in_a_file
def test_a_handler_in_another_pid_namespace_runs_alone(dispatchers: Dispatchers) -> None:
    if subprocess.run(["unshare", "--pid", "--fork", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this user may make no PID namespace")
    owner = dispatchers.start("gated", "key", before=["unshare", "--pid", "--fork", "--kill-child"])
    dispatchers.await_lines("began", 1)
    with EventStore(dispatchers.place) as store:
        bus = bus_here(store)
        with pytest.raises(TimeoutError, match="still being handled"):
            bus.dispatch(CreateUser("key"), "key", timeout_s=0.3)
        assert owner.stdin is not None
        owner.stdin.write(b"go\n")
        owner.stdin.flush()
        assert bus.dispatch(CreateUser("key"), "key", timeout_s=60.0)[0] == UserCreated("key")
        assert owner.wait(30) == 0
    assert len(dispatchers.lines("began")) == 1


def test_a_claim_is_renewed_while_its_handler_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_owner, "RENEW_S", 0.01)
    file = tmp_path / "events.db"

    def renewed_at() -> int:
        database = open_database(file, read_only=True)
        try:
            return int(database.row("SELECT updated_at FROM claims WHERE answer IS NULL")[0])
        finally:
            database.close()

    with EventStore(file) as store:
        bus = CommandBus(store)

        @bus.handles(CreateUser)
        def create(command: CreateUser) -> list[UserCreated]:
            first = renewed_at()
            until(lambda: renewed_at() > first, "the claim is renewed")
            second = renewed_at()
            until(lambda: renewed_at() > second, "and again")
            return [UserCreated(command.name)]

        assert bus.dispatch(CreateUser("key"), "key") == [UserCreated("key")]
        until(lambda: "antistrophe-claims" not in {each.name for each in threading.enumerate()}, "nobody renews")
        assert bus.dispatch(CreateUser("other"), "other") == [UserCreated("other")]


@in_a_file
def test_processes_that_race_handle_each_key_once(dispatchers: Dispatchers) -> None:
    keys = [f"key-{number}" for number in range(25)]
    processes = [dispatchers.start("quick", *random.Random(seed).sample(keys, len(keys))) for seed in range(4)]
    assert [process.wait(50) for process in processes] == [0] * 4
    assert Counter(key for key, _ in dispatchers.lines("began")) == dict.fromkeys(keys, 1)
    answers: dict[str, set[str]] = {}
    for key, pid, _ in dispatchers.lines("answered"):
        answers.setdefault(key, set()).add(pid)
    assert {key: len(pids) for key, pids in answers.items()} == dict.fromkeys(keys, 1)
    with EventStore(dispatchers.place) as store:
        assert [store.version(key) for key in keys] == [2] * 25


def test_wherever_a_process_is_killed_each_key_is_stored_once(dispatchers: Dispatchers, run_seed: int) -> None:
    keys: list[str] = []
    draw = random.Random(run_seed)
    lives = killed = 0
    while killed < 5:  # one that comes to its end before it is killed does not count
        lives += 1
        assert lives <= 20
        keys += [f"key-{lives}-{number}" for number in range(15)]
        word, more = draw.choice(["asks", "began", "ended", "answered"]), draw.randrange(1, 12)
        seen = len(dispatchers.lines(word))
        process = dispatchers.start("quick", *keys)
        until(partial(dispatchers.has_come_to, process, word, seen + more), f"{more} times {word!r}")
        kill(process)
        killed += process.returncode == -signal.SIGKILL
    assert dispatchers.start("quick", *keys).wait(50) == 0
    with EventStore(dispatchers.place) as store:
        assert [store.version(key) for key in keys] == [2] * len(keys)
        for event in store.read():
            assert event.metadata["idempotency_key"] == event.stream
    # A handler that ran twice is one whose first run was cut off before its events were there.
    assert all(count <= lives + 1 for count in Counter(key for key, _ in dispatchers.lines("began")).values())
