"""The input of the verbs that take one: read as often as is needed, from wherever it comes."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from antistrophe.cli.input_file import STANDARD_INPUT, count_lines, kept_input, read_lines
from antistrophe.cli.target import InputError
from antistrophe.definition.saga_definition import SagaDefinition

LINES = b'{"id": "a"}\n\n{"id": "b"}\n'


def ids(file: Path) -> tuple[int, list[str]]:
    """What a run reads of it, in this order."""
    number = count_lines(file)
    lines = read_lines(file, lambda fields: SagaDefinition(fields["id"]))
    return number, [line.saga.id for line in lines if line.saga is not None]


def test_a_file_is_read_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(LINES)
    with kept_input(tmp_path / "input") as readable:
        assert readable == tmp_path / "input"
        assert ids(readable) == (2, ["a", "b"])


def test_a_pipe_is_read_once_and_loses_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(LINES,))
    writer.start()
    with kept_input(tmp_path / "pipe") as readable:
        writer.join()
        assert ids(readable) == ids(readable) == (2, ["a", "b"])
    assert not readable.exists()


def test_a_dash_is_the_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(LINES)))
    with kept_input(STANDARD_INPUT) as readable:
        assert ids(readable) == (2, ["a", "b"])


def test_a_standard_input_that_is_closed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="the standard input is closed"), kept_input(STANDARD_INPUT):
        pass
