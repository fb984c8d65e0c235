"""One event file, many processes: no gap, no half append, and everybody hears of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from antistrophe.definition.events import event
from antistrophe.eventstore.store import EventStore

pytestmark = pytest.mark.timeout(180)  # starts many processes, on a machine that may be busy


@event("processes.heard")
@dataclass(frozen=True)
class Heard:
    number: int


PROCESSES = 4
APPENDS = 250
DEADLINE_S = 80.0

WRITE_WITH_RETRIES = """
import sys
from dataclasses import dataclass
from antistrophe.eventstore.store import EventStore
from antistrophe.errors import ConcurrencyError
from antistrophe.definition.events import event

@event("processes.written")
@dataclass(frozen=True)
class Written:
    writer: int
    number: int

store = EventStore(sys.argv[1])
writer, appends = int(sys.argv[2]), int(sys.argv[3])
sys.stdin.readline()
for number in range(appends):
    while True:
        version = store.version("shared")
        try:
            assert store.append("shared", [Written(writer, number)], expected_version=version) == version + 1
            break
        except ConcurrencyError:
            pass
store.close()
"""

WRITE_FOR_EVER = """
import sys
from dataclasses import dataclass
from antistrophe.eventstore.store import EventStore
from antistrophe.definition.events import event

@event("processes.batch")
@dataclass(frozen=True)
class Batch:
    number: int
    text: str

store = EventStore(sys.argv[1], synchronous="NORMAL")
number = store.version("batches") // 7
while True:
    store.append("batches", [Batch(number, "x" * 700)] * 7)
    print(number, flush=True)
    number += 1
"""

FOLLOW = """
import sys
from antistrophe.eventstore.store import EventStore

store = EventStore(sys.argv[1])
for each in store.subscribe(int(sys.argv[2])):
    print(each.position, each.stream, each.version, flush=True)
    if each.position == int(sys.argv[3]):
        break
store.close()
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_processes_that_append_to_one_stream_leave_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    follower = start(FOLLOW, path, 0, PROCESSES * APPENDS)
    writers = [start(WRITE_WITH_RETRIES, path, number, APPENDS) for number in range(PROCESSES)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.close()
    assert [writer.wait(DEADLINE_S) for writer in writers] == [0] * PROCESSES
    heard, _ = follower.communicate(timeout=DEADLINE_S)
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    with EventStore(path) as store:
        found = store.read_stream("shared")
        whole = list(range(1, PROCESSES * APPENDS + 1))
        assert [each.version for each in found] == [each.position for each in found] == whole
        assert Counter(each.data["writer"] for each in found) == dict.fromkeys(range(PROCESSES), APPENDS)
        for writer_number in range(PROCESSES):
            numbers = [each.data["number"] for each in found if each.data["writer"] == writer_number]
            assert numbers == list(range(APPENDS))
    assert [int(line.split()[0]) for line in heard.splitlines()] == whole


def test_a_writer_that_is_killed_leaves_no_half_append(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    acknowledged = -1
    for life in range(6):
        writer = start(WRITE_FOR_EVER, path)
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(1 + 5 * life)]
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=DEADLINE_S)
        lines += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        acknowledged = max(acknowledged, *(int(line) for line in lines))
        with EventStore(path) as store:
            found = store.read()
            assert len(found) % 7 == 0
            assert [each.position for each in found] == list(range(1, len(found) + 1))
            assert [each.version for each in found] == list(range(1, len(found) + 1))
            assert [each.data["number"] for each in found] == [number // 7 for number in range(len(found))]
            assert len(found) // 7 > acknowledged, "what was acknowledged is lost"


@pytest.mark.parametrize("from_position", [0, 6])
def test_another_process_hears_of_each_event_soon(tmp_path: Path, from_position: int) -> None:
    path = tmp_path / "events.db"
    with EventStore(path) as store:
        store.append("a", [Heard(number) for number in range(10)])
        follower = start(FOLLOW, path, from_position, 30)
        assert follower.stdout is not None
        heard = [follower.stdout.readline() for _ in range(from_position, 10)]
        delays: list[float] = []
        for number in range(20):
            store.append("b", [Heard(number)])
            committed = time.monotonic()
            heard.append(follower.stdout.readline())
            delays.append(time.monotonic() - committed)
        follower.communicate(timeout=DEADLINE_S)
        positions = [int(line.split()[0]) for line in heard]
        assert positions == list(range(from_position + 1, 31))
        assert heard[-1].split() == ["30", "b", "20"]
        assert sorted(delays)[10] < 1.0
