"""Text from anywhere is shown without control over the screen or the log."""

from __future__ import annotations

import json
import logging
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe.serialization.log_lines import LogLines, formatter
from antistrophe.serialization.printable import printable

HOSTILE = "no money\n2026-01-01 00:00:00,000 INFO 1 antistrophe: all is well\r\x1b[2J\x00\u202e\u2028\x85\x0b"
ESCAPED = r"no money\n2026-01-01 00:00:00,000 INFO 1 antistrophe: all is well\r\x1b[2J\x00\u202e\u2028\x85\x0b"


def record(text: str, *arguments: object, stack: str | None = None) -> logging.LogRecord:
    return logging.LogRecord("antistrophe.step", logging.INFO, __file__, 1, text, arguments, None, sinfo=stack)


@given(st.text(st.characters()))
def test_what_is_shown_is_printable(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert not any(unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in shown)
    assert (shown == text) == text.isprintable()
    assert printable(text, keep="\n").count("\n") == text.count("\n")


def test_every_escape_can_be_read() -> None:
    assert printable(HOSTILE) == ESCAPED
    assert printable("\udcff ü €") == r"\udcff ü €"


@pytest.mark.parametrize("line", [record(HOSTILE), record("saga %s failed", HOSTILE)])
def test_a_log_record_is_one_line(line: logging.LogRecord) -> None:
    written = LogLines().format(line)
    assert written.isprintable()
    assert ESCAPED in written


def test_a_logger_that_is_named_after_a_step_writes_one_line() -> None:
    line = record("said")
    line.name = f"antistrophe.step.{HOSTILE}"
    assert LogLines().format(line).isprintable()


def test_no_line_of_a_traceback_or_a_stack_begins_a_record() -> None:
    line = record("a bug", stack="Stack (most recent call last):\n  here")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        line.exc_info = sys.exc_info()
    first, *others = LogLines().format(line).split("\n")
    assert first.endswith("a bug")
    assert [each for each in others if not each.startswith("    ") or not each.isprintable()] == []
    assert "    Traceback (most recent call last):" in others
    assert "      here" in others


def test_a_record_names_its_saga_once() -> None:
    line = record("the actor of saga s-1 has gone")
    line.saga_id = "s-1"
    assert LogLines().format(line).endswith("the actor of saga s-1 has gone")
    line.saga_id = "s\n2"
    assert LogLines().format(line).endswith(r"the actor of saga s-1 has gone (saga s\n2)")


def test_as_json_a_record_is_one_object_in_one_line() -> None:
    line = record("saga %s failed", HOSTILE)
    line.saga_id = HOSTILE
    try:
        raise ValueError("a bug")
    except ValueError:
        line.exc_info = sys.exc_info()
    written = formatter("json").format(line)
    assert "\n" not in written
    told = json.loads(written)
    assert told["saga"] == HOSTILE
    assert "\nTraceback (most recent call last):\n" in told["text"]
    assert (told["level"], told["logger"], told["pid"]) == (line.levelname, line.name, line.process)
