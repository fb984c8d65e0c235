"""The systemd unit: it is what the page shows, systemd takes it, and it calls verbs that there are."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from antistrophe.cli import main
from tests.house.pages import blocks_of
from tests.house.tree import ROOT

UNIT = (ROOT / "config" / "antistrophe.service").read_text("utf-8")
PAGE = (ROOT / "docs" / "how-to" / "deploy-without-interrupting-a-step.md").read_text("utf-8")
PROGRAM = "/opt/shop/venv/bin/antistrophe"


def sections() -> configparser.ConfigParser:
    """The unit as an INI file, in which no key may stand twice."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the keys keep their case
    parser.read_string(UNIT)
    return parser


def test_the_page_shows_the_unit() -> None:
    assert [block.text for block in blocks_of(PAGE) if "unit" in block.words] == [UNIT]


def test_a_parser_takes_the_unit() -> None:
    unit = sections()
    assert unit.sections() == ["Unit", "Service", "Install"]
    assert unit["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.parametrize(("kill_mode", "is_well"), [("mixed", True), ("kindly", False)])
def test_systemd_takes_the_unit(tmp_path: Path, kill_mode: str, is_well: bool) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:  # the test above is all that can be asked
        return
    copy = tmp_path / "antistrophe.service"
    there = UNIT.replace(PROGRAM, "/bin/true")  # it wants a program that is there
    copy.write_text(there.replace("KillMode=mixed", f"KillMode={kill_mode}"), "utf-8")
    judged = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False)
    objections = [line for line in judged.stderr.splitlines() if copy.name in line]
    assert (judged.returncode, objections == []) == (0, is_well), judged.stderr


@pytest.mark.parametrize(("key", "verb"), [("ExecStart", "serve"), ("ExecReload", "reload")])
def test_the_unit_calls_a_verb_that_there_is(key: str, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = shlex.split(sections()["Service"][key])
    assert (program, words[-1]) == (PROGRAM, verb)
    assert main([*words, "--help"]) == 0
    assert f"antistrophe {verb}" in capsys.readouterr().out
