"""Files and lines that people write, or that a dead process left: each is read, or refused by name."""

from __future__ import annotations

import contextlib
import io
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe import SagaDefinition, Settings
from antistrophe.actors.step.attempt_file import AttemptFile, AttemptId, AttemptRecord, attempt_path, read_attempt_file
from antistrophe.cli import main
from antistrophe.cli.exit_codes import DONE, SAGA_FAILED, WRONG_USE
from antistrophe.cli.input_file import read_lines
from antistrophe.errors import InvalidSettingsError
from antistrophe.saga.entries import Action
from tests.fuzz import samples
from tests.fuzz.conftest import count, inputs
from tests.fuzz.garbage import spoiled

pytestmark = pytest.mark.timeout(600)  # one hundred thousand inputs, when they are asked for

ATTEMPT = AttemptId("saga", 1, Action.EXECUTE, 2)


# --- attempt files ------------------------------------------------------------------------------------------------


def test_of_a_spoilt_attempt_file_only_whole_records_count(tmp_path: Path) -> None:
    valid = {}
    for number, answer in enumerate(samples.ANSWERS):
        file = AttemptFile(tmp_path, f"valid{number}")
        file.begin(ATTEMPT, 1.5)
        file.finish(ATTEMPT, answer)
        assert read_attempt_file(tmp_path, f"valid{number}", ATTEMPT) == AttemptRecord(1.5, answer)
        valid[attempt_path(tmp_path, f"valid{number}").read_bytes()] = answer
    path = attempt_path(tmp_path, "spoilt")

    @inputs(1.5)
    @given(st.sampled_from(list(valid)), st.integers(0, 300), st.binary(max_size=40), st.booleans())
    def check(data: bytes, at: int, piece: bytes, cut: bool) -> None:
        count("attempt files")
        spoilt = data[:at] + piece + (b"" if cut else data[at + len(piece) :])
        path.write_bytes(spoilt)
        found = read_attempt_file(tmp_path, "spoilt", ATTEMPT)
        assert found in (AttemptRecord(), AttemptRecord(1.5), AttemptRecord(1.5, valid[data])), "never another one"
        if spoilt.startswith(data):
            assert found == AttemptRecord(1.5, valid[data])
        other = read_attempt_file(tmp_path, "spoilt", AttemptId("saga", 1, Action.EXECUTE, 3))
        assert other in (AttemptRecord(), AttemptRecord(other_at=1.5))

    check()


def test_whole_records_of_made_up_content_say_nothing(tmp_path: Path) -> None:
    path = attempt_path(tmp_path, "x")
    path.parent.mkdir()

    @inputs()
    @given(spoiled([b"\x95\xa4saga\x01\xa7execute\x02\xcb?\xf8\x00\x00\x00\x00\x00\x00"]))
    def check(packed: bytes) -> None:
        count("attempt files with the right checksum")
        header = b"asm1" + len(packed).to_bytes(4, "big") + zlib.crc32(packed).to_bytes(4, "big")
        path.write_bytes((header + packed) * 2)
        found = read_attempt_file(tmp_path, "x", ATTEMPT)
        assert found.answer is None
        assert found.began_at is None or isinstance(found.began_at, float)

    check()


# --- settings -----------------------------------------------------------------------------------------------------

_TOML_VALUES = st.one_of(
    st.integers().map(str),
    st.sampled_from(
        ["nan", "-inf", "1e999", "true", '"FULL"', '"\\uD800"', "[]", "[[[[]]]]", "{}", "{a={b=1}}", "1979-05-27", "''"]
    ),
    st.sampled_from(["9" * 5000, "0x" + "f" * 6000, "-0x1", "[" * 3000, "0b" + "1" * 20_000, '"""', "1_0", "+1"]),
    st.floats().map(repr),
    st.text(max_size=20).map(json.dumps),
)
_TOML_LINES = st.one_of(
    st.builds("{} = {}".format, st.sampled_from([*Settings.described(), "x", "a.b", "''", '"\\u0000"']), _TOML_VALUES),
    st.sampled_from(["[table]", "[[tables]]", "# words", "=", "x" * 10_000 + " = 1", "drain_s=1", "drain_s=1 "]),
    st.text(max_size=30),
)


def test_a_made_up_profile_is_loaded_or_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"

    @inputs(1.5)
    @given(st.one_of(st.lists(_TOML_LINES, max_size=4).map("\n".join), st.binary(max_size=60)))
    def check(content: str | bytes) -> None:
        count("settings")
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        try:
            assert isinstance(Settings.load(path), Settings)
        except InvalidSettingsError as error:
            assert str(path) in str(error)  # noqa: PT017 - some are right

    check()


@given(st.builds(dict, drain_s=st.floats(0, 100), saga_hosts=st.integers(1, 64), synchronous=st.just("NORMAL")))
def test_a_valid_profile_is_what_it_says(tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "valid.toml"
    path.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in chosen.items()))
    assert Settings.load(path) == Settings(**chosen)


# --- lines of input -----------------------------------------------------------------------------------------------

_LINES = st.one_of(
    st.builds(lambda value: json.dumps({"id": value}).encode(), st.text(max_size=10)),
    st.builds(
        lambda value: json.dumps({"id": value}).encode(),
        st.recursive(st.none() | st.floats() | st.integers() | st.text(), lambda each: st.lists(each, max_size=3)),
    ),
    st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")),
    st.sampled_from(
        [
            b'{"id": "\\ud800"}',
            b'{"id": "a", "id": "b"}',
            b'{"id": ' + b"9" * 5000 + b"}",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'{"id": NaN}',
            b'{"id": "a\\u0000b"}',
            b"\xef\xbb\xbf{}",
            b"\xff\xfe{\x00}\x00",
            b'{"id": "a"}',
            b" ",
            b"",
        ]
    ),
)


def _make(fields: dict[str, Any]) -> SagaDefinition:
    return SagaDefinition(fields["id"])


def test_each_made_up_line_is_a_saga_or_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl"

    @inputs(1.5)
    @given(st.lists(_LINES, max_size=5))
    def check(lines: list[bytes]) -> None:
        count("lines of input")
        path.write_bytes(b"\n".join(lines))
        found = list(read_lines(path, _make))
        assert [line.number for line in found] == [n for n, line in enumerate(lines, 1) if line.strip()]
        assert all((line.saga is None) != (line.problem is None) for line in found)
        ids = [line.saga.id for line in found if line.saga is not None]
        assert len(ids) == len(set(ids))

    check()


# --- the command line ---------------------------------------------------------------------------------------------

# What a shell can hand over: no zero byte, and bytes that are not UTF-8 as lone surrogates of the upper half.
_WORDS = st.one_of(
    st.sampled_from(
        ["--json", "--home", "--status", "--limit", "--text", "--name", "--cursor", "-h", "--", "-", "--version"]
    ),
    st.sampled_from(["\udcff", "x" * 10_000, "", "-1", "9" * 5000, "NaN", "'; --", "[red]x", "[/]", "%s{0}"]),
    st.text(max_size=12).map(lambda text: text.replace("\0", "")),
)
_VERBS = st.sampled_from(["list", "show", "explain", "status", "ls", "run", "", "show\udcff"])
_TARGETS = st.sampled_from(["", ":", "a:", ":b", "no.such.module:x", "/no/such.py:x", "..:x", "\udcff:x"])


def test_made_up_arguments_are_answered_with_a_documented_exit_code(tmp_path: Path) -> None:
    @inputs(1.5)
    @given(_VERBS, st.lists(_WORDS, max_size=4), _TARGETS)
    def check(verb: str, words: list[str], target: str) -> None:
        count("command lines")
        arguments = ["--home", str(tmp_path / "home"), verb, *([target] if verb == "run" else []), *words]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
        assert code in (DONE, SAGA_FAILED, WRONG_USE), (arguments, err.getvalue())
        assert code == DONE or err.getvalue().strip(), "it says what is wrong"

    check()
