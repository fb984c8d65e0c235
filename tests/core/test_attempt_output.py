"""What an attempt prints and logs: whole lines, no more than is kept, and each of the attempt that said it."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path

import pytest

from antistrophe.logs import attempt_output
from antistrophe.logs.attempt_output import LONGEST_TEXT, AttemptOutput
from antistrophe.logs.handler import AttemptHandler
from antistrophe.logs.speaking import Speakers, speak_as, speaking
from antistrophe.logs.step_log import StepLog
from antistrophe.logs.stored_records import record_in
from antistrophe.logs.streams import StepStream, take_streams
from antistrophe.records import LogRecord
from antistrophe.serialization.log_lines import LogLines

MIB = 1 << 20


# --- what an attempt says -------------------------------------------------------------------------------------------


class Kept:
    """An attempt whose lines are kept here."""

    def __init__(self, max_bytes: int = 64 * MIB) -> None:
        self.lines: list[bytes] = []
        self.full = False
        self.output = AttemptOutput(self.append, max_bytes, "s-1", "Pay", "execute", 2)

    def append(self, written: bytes) -> bool:
        if not self.full:
            self.lines.append(written)
        return not self.full

    @property
    def records(self) -> list[LogRecord]:
        return [record for each in self.lines if (record := record_in(each, "s-1")) is not None]

    @property
    def texts(self) -> list[str]:
        return [record.text for record in self.records]


def test_lines_are_whole_however_they_come() -> None:
    kept = Kept()
    for part in (b"a\nb", b"c", b"d\r\n", b"\n", b"\xff\xc3", b"\xa9"):
        kept.output.printed("stdout", part)
        kept.output.printed("stderr", part.upper())
    assert [record.text for record in kept.records if record.source == "stdout"] == ["a", "bcd", ""]
    kept.output.end()
    assert [record.text for record in kept.records if record.source == "stdout"] == ["a", "bcd", "", r"\xffé"]
    assert kept.records[0].attempt == 2
    assert kept.records[0].pid == os.getpid()


def test_a_line_of_ten_megabytes_is_cut_and_says_so() -> None:
    kept = Kept()
    kept.output.printed("stdout", b"x" * 10_000_000 + b"\nnext\n")
    assert kept.texts[0].endswith("… (10,000,000 bytes in all)")
    assert kept.texts[1] == "next"
    kept.output.printed("stdout", b"x" * 10_000_000)
    kept.output.log("INFO", "log", "x", "y" * 10_000_000)
    assert kept.texts[2].endswith("x… (10,000,000 bytes in all)")
    assert kept.texts[3].endswith("y… (10,000,000 characters in all)")
    assert all(len(each) < LONGEST_TEXT + 300 for each in kept.lines)


def test_an_attempt_that_says_too_much_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(attempt_output, "monotonic", lambda: now[0])
    kept = Kept(64 * 100_000)
    block = b"y" * 99 + b"\n"
    for _ in range(10_000):
        kept.output.printed("stdout", block)
    assert sum(map(len, kept.lines)) < 101_000
    first = len(kept.lines)
    kept.output.printed("stdout", block * 50_000)
    assert len(kept.lines) == first
    now[0] += 8.0
    kept.output.printed("stdout", b"later\n")
    kept.output.log("INFO", "logging", "x", "logged")
    missing = 10_000 - first + 50_000
    assert kept.texts[first:] == [
        f"… {missing:,} lines ({missing * 100:,} bytes) are missing here: more was said than is kept",
        "later",
        "logged",
    ]
    kept.output.printed("stdout", block * 50_000)
    kept.output.end()
    assert "are missing here" in kept.texts[-1]
    assert sum(map(len, kept.lines)) < 152_000


def test_what_a_full_disk_refuses_is_counted_too() -> None:
    kept = Kept()
    kept.full = True
    kept.output.printed("stdout", b"one\ntwo\n")
    assert not kept.output.log("INFO", "log", "x", "three")
    kept.full = False
    kept.output.printed("stdout", b"four\n")
    assert kept.texts == ["… 3 lines (11 bytes) are missing here: more was said than is kept", "four"]


# --- who speaks -----------------------------------------------------------------------------------------------------


def test_lines_are_those_of_the_attempt_that_runs_and_of_what_it_has_left(tmp_path: Path) -> None:
    speakers = Speakers(StepLog(tmp_path, MIB).append, MIB)
    first, second = (speakers.output_of(saga_id, "Pay", "execute", 1) for saga_id in ("s-1", "s-2"))
    assert speakers.speaker() is None
    speakers.begin(first)
    assert speakers.speaker() is first
    speakers.end()
    assert speakers.speaker() is None, "it is the process that speaks"
    speakers.is_late = lambda: True
    assert speakers.speaker() is first
    speakers.begin(second)
    assert speakers.speaker() is second


def test_in_a_process_with_many_calls_each_context_has_its_own() -> None:
    speakers = Speakers(lambda _: True, MIB)
    mine = speakers.output_of("s-1", "Pay", "execute", 1)

    def job() -> AttemptOutput | None:
        return speakers.speaker()

    speak_as(mine)
    carried = speaking(job)
    speak_as(None)
    assert job() is None
    assert carried() is mine
    assert job() is None


def test_a_stream_shows_at_once_what_is_flushed_and_else_whole_lines() -> None:
    kept = Kept()
    stream = StepStream("stdout", 1, lambda: kept.output)
    stream.write("a\nb")
    stream.write("c\n")
    print("waits", end="", file=stream)
    assert kept.texts == ["a", "bc"]
    print(" now", end="", file=stream, flush=True)
    stream.buffer.write(b"\xff\n")
    print("\ud800", file=stream)
    assert kept.texts == ["a", "bc", "waits now", r"\xff", r"\ud800"]
    assert (stream.fileno(), stream.isatty(), stream.encoding, stream.name) == (1, False, "utf-8", "<stdout>")


def test_half_a_line_is_not_the_next_attempts() -> None:
    first, second = Kept(), Kept()
    speaker = [first.output]
    stream = StepStream("stdout", 1, lambda: speaker[0])
    print("half", end="", file=stream)
    speaker[0] = second.output
    print("whole", file=stream)
    first.output.end()
    assert (first.texts, second.texts) == (["half"], ["whole"])


def test_what_one_attempt_alone_has_printed_is_given_away_at_its_end() -> None:
    kept: list[bytes] = []

    def keep(written: bytes) -> bool:
        kept.append(written)
        return True

    speakers = Speakers(keep, MIB)
    before = sys.stdout, sys.stderr
    try:
        speakers.before_end = take_streams(speakers.speaker, many=False)
        for saga_id in ("s-1", "s-2"):
            kept.clear()
            speakers.begin(speakers.output_of(saga_id, "Pay", "execute", 1))
            sys.stdout.write(f"half {saga_id}")
            sys.stderr.write(f"whöle {saga_id}\n")
            assert kept, "at once"
            assert isinstance(sys.stderr, StepStream)
            sys.stderr.reconfigure(encoding="latin-1", line_buffering=False)
            speakers.end()
            records = [record for each in kept if (record := record_in(each, saga_id))]
            assert [record.text for record in records] == [f"whöle {saga_id}", f"half {saga_id}"]
        sys.stdout.close()
        speakers.begin(speakers.output_of("s-3", "Pay", "execute", 1))
        speakers.end()
    finally:
        sys.stdout, sys.stderr = before


def test_a_stream_that_can_not_be_heard_fails_nobody(tmp_path: Path) -> None:
    def fails() -> AttemptOutput | None:
        raise RuntimeError("a bug")

    print("lost", file=StepStream("stdout", 1, fails), flush=True)
    with (tmp_path / "descriptor").open("wb") as file:
        print("no attempt", file=StepStream("stdout", file.fileno(), lambda: None))
    assert (tmp_path / "descriptor").read_text() == "no attempt\n"


def test_a_record_goes_to_the_attempt_and_with_its_saga_to_the_systems_log() -> None:
    kept, log = Kept(), logging.Logger("shop")  # noqa: LOG001 - one that no other test sees
    lines = io.StringIO()
    system = logging.StreamHandler(lines)
    system.setFormatter(LogLines())
    log.addHandler(AttemptHandler(system, lambda: kept.output))
    try:
        raise ValueError("no\nmoney")
    except ValueError:
        log.exception("can't pay")
    log.info("%d", "no number")
    log.name = "antistrophe.journal"
    log.error("the system's own")
    assert kept.texts[0].startswith("can't pay\nTraceback (most recent call last):")
    assert kept.texts[1].startswith("'%d' % ('no number',): TypeError: ")
    assert len(kept.texts) == 2
    written = lines.getvalue().splitlines()
    assert written[0].endswith("shop: can't pay (saga s-1)")
    assert all(each.startswith("    ") for each in written[1:-2]), "no line of a traceback begins a record"
    assert written[-1].endswith("the system's own (saga s-1)")
