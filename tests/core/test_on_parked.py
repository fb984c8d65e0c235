"""The saga that tells of a parked one: what the hook gets, what counts as a failure, and which ids it has."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from antistrophe import SagaStatus, Settings
from antistrophe.definition.on_parked import NAME, HookFailedError, TellParked, id_of, spec_of
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.spec import Origin
from antistrophe.errors import FatalError
from antistrophe.testing import run_inline

HERE = __name__
calls: list[dict[str, Any]] = []
NUMBER = 5


def note(parked: dict[str, Any]) -> str:
    calls.append(parked)
    return "ignored"


async def note_async(parked: dict[str, Any]) -> None:
    calls.append(parked)


def telling(hook: str | tuple[str, ...], saga_id: str = "order-7") -> TellParked:
    return TellParked(hook, saga_id, "order", "Charge", "OSError: closed 漢", time.time() - 5)


@pytest.mark.parametrize("name", ["note", "note_async"])
def test_a_function_gets_a_dict(name: str) -> None:
    calls.clear()
    outcome = run_inline(SagaDefinition("s").add_step(telling(f"{HERE}:{name}")))
    assert outcome.status is SagaStatus.COMPLETED
    (parked,) = calls
    assert (parked["saga_id"], parked["name"], parked["step"]) == ("order-7", "order", "Charge")
    assert parked["error"] == "OSError: closed 漢"
    assert 5 <= parked["age_s"] < 600


def test_a_command_gets_the_same_as_one_line_of_json(tmp_path: Path) -> None:
    into = tmp_path / "in"
    telling(("sh", "-c", 'cat > "$0"', str(into))).execute()
    text = into.read_text("utf-8")
    assert (text.count("\n"), json.loads(text)["saga_id"]) == (1, "order-7")


def test_a_command_need_not_read(tmp_path: Path) -> None:
    telling(("true",)).execute()


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        (("sh", "-c", "exit 3"), "ended with exit code 3"),
        (("sh", "-c", "kill -9 $$"), "ended by signal 9"),
        (("/gone/command",), r"'/gone/command' of on_parked can't be run: .*No such file"),
        (("/",), "can't be run: .*Permission denied"),
        ("no_such_module_x:f", "no_such_module_x.* where the parked saga has its code"),
        (f"{HERE}:gone", "has no attribute 'gone'"),
    ],
)
def test_what_fails_says_why(hook: str | tuple[str, ...], reason: str) -> None:
    with pytest.raises(HookFailedError, match=reason):
        telling(hook).execute()


def test_what_can_not_be_called_is_not_tried_again() -> None:
    with pytest.raises(FatalError, match="names int, which can't be called"):
        telling(f"{HERE}:NUMBER").execute()


def test_it_is_retried_ended_when_it_hangs_and_takes_one_place() -> None:
    origin = Origin(None, ("/app",), "/app")
    spec = spec_of(telling("a:b"), 9, origin)
    (step,) = spec.steps
    assert (spec.id, spec.name, spec.origin, spec.max_concurrent) == ("on_parked:9:order-7", NAME, origin, 1)
    assert (step.idempotent, step.requires_compensation, step.timeout_s) == (True, False, 30.0)
    assert step.retry.max_attempts == 10
    assert step.class_ref == "antistrophe.definition.on_parked:TellParked"


def test_each_parking_has_an_id_of_its_own_however_long_the_sagas_id_is() -> None:
    long, other = "x" * 200, "x" * 199 + "y"
    ids = {id_of("a", 1), id_of("a", 2), id_of("b", 1), id_of(long, 1), id_of(long, 2), id_of(other, 1)}
    assert len(ids) == 6
    assert all(len(each) <= 200 for each in ids)


def test_a_command_in_a_profile_is_known_by_its_file(tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text('on_parked = ["mail", "-s", "parked"]\n')
    loaded = Settings.load(profile)
    assert loaded.on_parked == ("mail", "-s", "parked")
    assert loaded.sources()["on_parked"] == str(profile)
    assert loaded == Settings(on_parked=("mail", "-s", "parked")), sys.version
