"""The step log: whole lines of many processes, in two files of a bounded size, whatever user code does."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe.logs.forgetting import forget
from antistrophe.logs.reading import StepLogReader, last_records, records_of
from antistrophe.logs.step_log import StepLog, step_log_before, step_log_path
from antistrophe.logs.stored_records import head_of, line_of, record_in

MIB = 1 << 20
HOSTILE = 'so far\r\x1b[2J\x00\u202e {"saga": "s-1", "step": "forged"} "} \\ \ud800 é 漢'


def line(text: str, saga_id: str = "s-1") -> bytes:
    return line_of(head_of(saga_id, "Pay", "execute", 1), 1.5, 7, "INFO", "log", "antistrophe.step.Pay", text)


def texts(home: Path, saga_id: str = "s-1") -> list[str]:
    return [record.text for record in records_of(home, saga_id)]


def is_open(descriptor: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_GETFD)
    except OSError:
        return False
    return True


# --- the file -------------------------------------------------------------------------------------------------------


def test_nothing_is_made_before_the_first_line(tmp_path: Path) -> None:
    log = StepLog(tmp_path, MIB)
    assert not [*tmp_path.iterdir()]
    assert log.append(line("one"))
    assert texts(tmp_path) == ["one"]
    assert step_log_path(tmp_path).stat().st_mode & 0o077 == 0


def test_both_files_hold_no_more_than_they_may_and_the_newest_lines(tmp_path: Path) -> None:
    log, other = StepLog(tmp_path, 20_000), StepLog(tmp_path, 20_000)
    for number in range(1_000):
        assert (log, other)[number % 2].append(line(f"{number:04}"))
    files = step_log_path(tmp_path), step_log_before(tmp_path)
    assert all(9_000 < file.stat().st_size < 10_500 for file in files[1:])
    assert sum(file.stat().st_size for file in files) < 21_000
    kept = texts(tmp_path)
    assert kept == [f"{number:04}" for number in range(1_000 - len(kept), 1_000)]
    assert len(kept) > 50


def _fill(home: Path, name: int) -> None:
    log = StepLog(home, 8 * MIB)
    for number in range(300):
        log.append(line(f"{name} {number} {'.' * (number % 90)}"))


def test_processes_that_write_at_once_tear_no_line(tmp_path: Path) -> None:
    processes = [multiprocessing.get_context("fork").Process(target=_fill, args=(tmp_path, name)) for name in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(set(texts(tmp_path))) == 900
    assert all(json.loads(each) for each in step_log_path(tmp_path).read_bytes().splitlines())


def test_a_file_of_the_users_under_the_same_number_is_left_alone(tmp_path: Path) -> None:
    log, mine = StepLog(tmp_path, MIB), tmp_path / "mine"
    log.append(line("one"))
    number = log._descriptor
    os.close(number)
    taken = os.open(mine, os.O_RDWR | os.O_CREAT)
    os.dup2(taken, number)
    assert log.append(line("two"))
    assert mine.read_bytes() == b""
    assert is_open(number)
    assert texts(tmp_path) == ["one", "two"]
    os.closerange(log._descriptor, log._descriptor + 1)
    assert log.append(line("three"))
    assert texts(tmp_path) == ["one", "two", "three"]
    for each in {taken, number, log._descriptor}:
        os.close(each)


def test_what_others_remove_is_made_again(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "home", MIB)
    (tmp_path / "home").mkdir()
    log.append(line("one"))
    shutil.rmtree(tmp_path / "home" / "log")
    assert log.append(line("two"))
    assert texts(tmp_path / "home") == ["two"]
    shutil.rmtree(tmp_path / "home")
    assert not log.append(line("three")), "who removes the home wants no more"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_what_is_no_file_is_not_written(tmp_path: Path, make: Callable[[Path], object]) -> None:
    (tmp_path / "log").mkdir()
    make(step_log_path(tmp_path))
    assert not StepLog(tmp_path, MIB).append(line("one"))
    assert records_of(tmp_path, "s-1") == []


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Has the kernel refuse, as a full disk does, what comes after so many bytes of a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_line_that_a_full_disk_has_torn_spoils_no_other(tmp_path: Path, small_files: Callable[[int], None]) -> None:
    log, other = StepLog(tmp_path, MIB), StepLog(tmp_path, MIB)
    assert log.append(line("one"))
    small_files(len(line("one")) + 40)
    assert not log.append(line("torn"))
    assert not log.append(line("refused"))
    small_files(MIB)
    assert other.append(line("glued"))
    assert log.append(line("two"))
    assert texts(tmp_path) == ["one", "glued", "two"]


def test_what_a_saga_has_said_is_forgotten_while_others_write(tmp_path: Path) -> None:
    log = StepLog(tmp_path, 20_000)
    for number in range(100):
        log.append(line(f"secret {number}", f"s-{number % 3}"))
        log.append(line('{"saga": "s-1", "step"', "s-0"))
    with step_log_path(tmp_path).open("ab") as file:
        file.write(b'{"saga": "bad\\x", torn' + line("glued", "s-1") + b"garbage\n")
    kept = texts(tmp_path, "s-0")
    last = [(saga_id, record.text) for saga_id, record in last_records(tmp_path, 3)]
    assert last == [("s-0", kept[-1]), ("s-1", "glued")]
    reader = StepLogReader(tmp_path, "s-0")
    reader.more()
    assert forget(tmp_path, lambda saga_id: saga_id in ("s-1", "s-2")) > 20
    assert forget(tmp_path, lambda saga_id: saga_id in ("s-1", "s-2")) == 0
    log.append(line("after", "s-0"))
    assert (texts(tmp_path, "s-1"), texts(tmp_path, "s-2")) == ([], [])
    assert texts(tmp_path, "s-0") == [*kept, "after"]
    assert [record.text for record in reader.more()] == ["after"]
    assert b"glued" not in step_log_path(tmp_path).read_bytes()
    assert forget(tmp_path / "nowhere", lambda _: True) == 0


# --- the form of a record -------------------------------------------------------------------------------------------


@given(st.text(), st.text(), st.text())
def test_no_text_can_forge_a_record(saga_id: str, step: str, text: str) -> None:
    written = line_of(head_of(saga_id, step, "execute", 1), 1.5, 7, None, "stdout", None, text)
    assert written.count(b"\n") == 1
    record = record_in(written, saga_id)
    assert record is not None
    assert (record.step_name, record.level, record.pid) == (step, None, 7)
    assert record_in(written, saga_id + "x") is None


def test_what_could_control_a_terminal_is_escaped() -> None:
    record = record_in(line(HOSTILE), "s-1")
    assert record is not None
    assert record.text.isprintable()
    assert record.text.endswith(r"\ud800 é 漢")


@pytest.mark.parametrize(
    "garbage",
    [
        b'{"saga": "s-1", ',
        b'{"saga": "s-1", "at": "x"}\n',
        b'{"saga": "s-1", "at": 1e999, "step": "", "action": "", "attempt": 1, "source": "", "text": "", "pid": 1}\n',
        b'{"saga": "s-1", ' + b"[" * 100_000 + b"\n",
        b"\x00\xff" * 1_000,
        b"x" * (3 << 20),
    ],
)
def test_garbage_in_the_file_is_passed_over(tmp_path: Path, garbage: bytes) -> None:
    log = StepLog(tmp_path, 64 * MIB)
    log.append(line("one"))
    with step_log_path(tmp_path).open("ab") as file:
        file.write(garbage + b"\n")
    log.append(line("two"))
    assert texts(tmp_path) == ["one", "two"]


# --- reading --------------------------------------------------------------------------------------------------------


def test_a_reader_that_goes_on_has_each_record_once_across_a_move(tmp_path: Path) -> None:
    log, reader = StepLog(tmp_path, 20_000), StepLogReader(tmp_path, "s-1")
    seen: list[str] = []
    for number in range(300):
        log.append(line(f"{number:04}"))
        log.append(line("of another", "s-10"))
        if number % 7 == 0:
            seen += [record.text for record in reader.more()]
    seen += [record.text for record in reader.more()]
    assert seen == [f"{number:04}" for number in range(300)]
    assert reader.more() == []


def test_a_line_that_is_being_written_is_read_once_it_is_whole(tmp_path: Path) -> None:
    StepLog(tmp_path, MIB).append(line("one"))
    reader = StepLogReader(tmp_path, "s-1")
    with step_log_path(tmp_path).open("ab") as file:
        file.write(line("two")[:50])
        file.flush()
        assert [record.text for record in reader.more()] == ["one"]
        file.write(line("two")[50:])
    assert [record.text for record in reader.more()] == ["two"]
