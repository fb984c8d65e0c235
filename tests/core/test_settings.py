"""Settings: the defaults, what is refused and in what words, and the profiles in config/."""

from __future__ import annotations

import dataclasses
import os
import re
import string
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antistrophe.errors import AntistropheError, InvalidSettingsError
from antistrophe.settings import Settings

CONFIG = Path(__file__).parents[2] / "config"
PROFILES = sorted(CONFIG.glob("*.toml"))
NAMES = sorted(Settings.described())


def write(folder: Path, text: str) -> Path:
    path = folder / "profile.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_defaults_are_those_that_are_promised() -> None:
    assert dataclasses.asdict(Settings()) == {
        "max_payload_bytes": 1024 * 1024,
        "max_running_sagas": 32,
        "max_step_processes": None,
        "max_async_processes": None,
        "async_calls_per_process": 1_000,
        "loop_block_s": 5.0,
        "spare_processes": 2,
        "drain_s": 5.0,
        "open_timeout_s": 30.0,
        "reattach_s": 30.0,
        "start_timeout_s": 30.0,
        "synchronous": "FULL",
        "max_restarts": 5,
        "restart_window_s": 10.0,
        "idle_process_s": 60.0,
        "saga_hosts": 1,
        "report_s": 0.05,
        "log_level": "INFO",
        "log_bytes": 10 * 1024 * 1024,
        "log_format": "text",
        "step_log_bytes": 64 * 1024 * 1024,
        "retain_finished_s": None,
        "retain_finished": None,
        "on_parked": None,
        "journal": None,
        "host_name": None,
        "labels": (),
        "lease_s": 10.0,
        "steal_s": 1.0,
    }


def test_step_processes_are_four_for_each_core_unless_set() -> None:
    assert Settings().step_processes == 4 * len(os.sched_getaffinity(0))
    assert Settings(max_step_processes=3).step_processes == 3


def test_processes_for_async_steps_are_one_for_each_core_unless_set() -> None:
    assert Settings().async_processes == len(os.sched_getaffinity(0))
    assert Settings(max_async_processes=3).async_processes == 3


def test_whole_seconds_and_fractions_are_one_setting() -> None:
    assert Settings(drain_s=5) == Settings(drain_s=5.0)
    assert isinstance(Settings(drain_s=5).drain_s, float)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_running_sagas", 0),
        ("max_running_sagas", 1.5),
        ("max_running_sagas", True),
        ("max_running_sagas", "32"),
        ("max_running_sagas", None),
        ("max_payload_bytes", -1),
        ("max_step_processes", 0),
        ("drain_s", -0.1),
        ("drain_s", float("nan")),
        ("drain_s", float("inf")),
        ("drain_s", None),
        ("start_timeout_s", 0),
        ("open_timeout_s", [30]),
        ("synchronous", "OFF"),
        ("synchronous", "full"),
        ("synchronous", 2),
        ("log_level", "LOUD"),
        ("on_parked", "tell"),
        ("on_parked", "alerts:tell me"),
        ("on_parked", ("", "x")),
        ("on_parked", ("mail", 5)),
        ("on_parked", ("mail", "a\0b")),
        ("on_parked", ()),
        ("on_parked", 5),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_is_allowed(name: str, value: object) -> None:
    with pytest.raises(InvalidSettingsError) as caught:
        Settings(**{name: value})  # type: ignore[arg-type]
    text = str(caught.value)
    assert text.startswith(f"{name} must be ")
    assert Settings.described()[name].text() in text
    assert repr(value) in text


def test_the_error_is_a_value_error_and_one_of_ours() -> None:
    assert issubclass(InvalidSettingsError, ValueError)
    assert issubclass(InvalidSettingsError, AntistropheError)


def test_every_wrong_value_is_told_at_once() -> None:
    with pytest.raises(InvalidSettingsError) as caught:
        Settings(max_running_sagas=0, drain_s=-1)
    assert "max_running_sagas" in str(caught.value)
    assert "drain_s" in str(caught.value)


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.drain_s = 1.0  # type: ignore[misc]


def test_a_profile_sets_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    loaded = Settings.load(write(tmp_path, 'synchronous = "NORMAL"\nmax_step_processes = 2\ndrain_s = 1\n'))
    assert loaded == Settings(synchronous="NORMAL", max_step_processes=2, drain_s=1.0)
    assert Settings.load(str(write(tmp_path, ""))) == Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("drain_s = ", "is not TOML"),
        ("drain = 1", "there is no setting 'drain': did you mean 'drain_s'?"),
        ("zzzz = 1", "the settings are max_payload_bytes, "),
        ("[limits]\nmax_running_sagas = 2", "table 'limits': a profile has no tables"),
        ("max_running_sagas = 0", "max_running_sagas must be a whole number from 1 to 100000, not 0"),
        ('drain_s = "5"', "drain_s must be a number from 0 to 86400, not '5'"),
        ('synchronous = "OFF"', 'synchronous must be one of "FULL", "NORMAL", not \'OFF\''),
        ("drain_s = 1\ndrain_s = 2", "is not TOML"),
    ],
)
def test_a_wrong_profile_is_refused_with_its_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InvalidSettingsError) as caught:
        Settings.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_a_profile_that_is_not_there_or_not_a_file_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingsError, match=r"absent\.toml: can't be read: No such file"):
        Settings.load(tmp_path / "absent.toml")
    with pytest.raises(InvalidSettingsError, match="can't be read: Is a directory"):
        Settings.load(tmp_path)
    path = tmp_path / "latin.toml"
    path.write_bytes(b'log_level = "\xff"')
    with pytest.raises(InvalidSettingsError, match=r"latin\.toml: is not UTF-8"):
        Settings.load(path)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.name)
def test_every_profile_of_the_project_loads(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith("# ")
    loaded = Settings.load(path)
    if path.name != "default.toml":
        assert loaded != Settings()
        assert "Gives up:" in text


def test_the_default_profile_names_every_setting_with_its_meaning_and_its_default() -> None:
    text = (CONFIG / "default.toml").read_text("utf-8")
    assert Settings.load(CONFIG / "default.toml") == Settings()
    for name, allowed in Settings.described().items():
        found = re.search(rf"((?:# .*\n)+?)(# )?{name} = (.+)\n", text)
        assert found, name
        comment = " ".join(line.removeprefix("# ") for line in found[1].splitlines())
        unit = f" In {allowed.unit}." if allowed.unit else ""
        assert comment == allowed.says + unit
        assert bool(found[2]) == (getattr(Settings(), name) is None)
    uncommented = re.sub(r"^# (\w+ = .*)$", r"\1", text, flags=re.MULTILINE)
    assert sorted(tomllib.loads(uncommented)) == NAMES


KEYS = st.one_of(st.sampled_from(NAMES), st.text(string.ascii_lowercase + "_", min_size=1, max_size=12))
VALUES = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["nan", "inf", "true", '"FULL"', '"NORMAL"', '"INFO"', "[]", "{}", "1979-05-27", "''"]),
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=6))
@example([("drain_s", "1" + "0" * 400)])
@example([("drain_s", "9" * 5000)])
@example([("drain_s", "[" * 5000)])
def test_any_profile_is_loaded_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str]]
) -> None:
    path = write(tmp_path_factory.getbasetemp(), "".join(f"{key} = {value}\n" for key, value in lines))
    try:
        loaded = Settings.load(path)
    except InvalidSettingsError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017 - both ways out are asserted
    else:
        assert {key for key, _ in lines} <= set(NAMES)
        assert dataclasses.replace(loaded) == loaded
