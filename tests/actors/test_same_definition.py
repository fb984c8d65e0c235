"""A saga that is run again after a release: the same values in other words are the same definition."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from antistrophe import SagaDefinition, SagaStep, step
from antistrophe.definition.same_values import spec_as_accepted
from antistrophe.definition.spec import SagaSpec
from antistrophe.serialization.payload import pack_payload

HEAD = """
import sys
from dataclasses import dataclass, field
from antistrophe import SagaDefinition, SagaExistsError, SagaOrchestrator, SagaStep

@dataclass(frozen=True)
class Line:
    goods: str
{line}

@dataclass(frozen=True)
class Order(SagaStep):
    customer: str
    lines: list[Line]
{fields}

    def execute(self):
        with open("ledger", "a") as file:
            file.write("x")

    def compensate(self):
        pass

def run():
    with SagaOrchestrator("home") as orchestrator:
        try:
            print(orchestrator.execute(SagaDefinition("order-1", name="order").add_step(Order({given}))))
            print(orchestrator.start(SagaDefinition("order-1", name="order").add_step(Order({given}))).result(30))
        except SagaExistsError as error:
            print(type(error).__name__)
"""
MAIN_GUARD = """
if __name__ == "__main__":
    run()
"""


def version(folder: Path, name: str, *, fields: str = "", line: str = "", given: str = '"Ann", [Line("tea")]') -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / name
    script.write_text(HEAD.format(fields=fields, line=line, given=given) + MAIN_GUARD, "utf-8")
    return script


def said(folder: Path, *command: str) -> list[str]:
    ended = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_a_field_with_a_default_and_an_import_of_the_script_are_the_same_saga(tmp_path: Path) -> None:
    script = version(tmp_path, "shop.py")
    assert said(tmp_path, str(script)) == ["[]", "[]"]
    version(tmp_path, "shop.py", fields='    memo: str = ""\n    more: list[str] = field(default_factory=list)')
    assert said(tmp_path, str(script)) == ["[]", "[]"]
    version(tmp_path, "shop.py", line="    amount: int = 1")
    assert said(tmp_path, "-c", "import shop; shop.run()") == ["[]", "[]"]
    release = version(tmp_path / "release-2", "shop.py", fields='    memo: str = ""', line="    amount: int = 1")
    assert said(tmp_path, str(release)) == ["[]", "[]"]
    for other in ('"Eva", [Line("tea")]', '"Ann", [Line("tea", 2)]', '"Ann", [Line("tea")], memo="x"'):
        version(tmp_path, "shop.py", fields='    memo: str = ""', line="    amount: int = 1", given=other)
        assert said(tmp_path, str(script)) == ["SagaExistsError"]
    assert (tmp_path / "ledger").read_text("utf-8") == "x"


# --- by values ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pay(SagaStep):
    amount: float
    flag: bool = False
    tags: dict[str, Any] | None = None

    def execute(self) -> None: ...

    def compensate(self) -> None: ...


@step
def pay(amount: float, memo: str = "", *more: int) -> None: ...


@pay.compensation  # type: ignore[arg-type]  # one of its parameters
def repay(amount: float) -> None: ...


class Picky(Pay):
    def __post_init__(self) -> None:
        if self.amount > 100:
            raise ValueError("too much")


def spec_of(*steps: SagaStep) -> SagaSpec:
    saga = SagaDefinition("s")
    for index, each in enumerate(steps):
        saga = saga.add_step(each, name=f"step-{index}")
    return saga.spec()


def accepted(ref: str, fields: dict[str, Any], script: str | None = None) -> SagaSpec:
    spec = spec_of(Pay(1.0))
    only = replace(spec.steps[0], class_ref=ref, input=pack_payload(fields))
    return replace(spec, steps=(only,), origin=replace(spec.origin, script=script))


HERE = f"{__name__}:Pay"
NAN = float("nan")


@pytest.mark.parametrize(
    ("step", "before"),
    [
        (Pay(5.0), accepted(HERE, {"amount": 5.0})),
        (Pay(5.0), accepted(HERE, {"amount": 5})),
        (Pay(NAN), accepted(HERE, {"flag": False, "amount": NAN})),
        (Pay(5.0, tags={"a": 1, "b": [2]}), accepted(HERE, {"tags": {"b": [2], "a": 1}, "amount": 5.0})),
        (pay(5.0), accepted(f"{__name__}:pay", {"amount": 5.0})),
        (Pay(5.0), accepted("__main__:Pay", {"amount": 5.0}, f"/r1/{__name__.replace('.', '/')}.py")),
    ],
)
def test_the_same_values_are_the_same_definition(step: SagaStep, before: SagaSpec) -> None:
    found = spec_as_accepted((step,), spec_of(step), before)
    assert found is not None
    assert found.same_definition(before)


@pytest.mark.parametrize(
    ("step", "before"),
    [
        (Pay(5.0), accepted(HERE, {"amount": 6.0})),
        (Pay(5.0, flag=True), accepted(HERE, {"amount": 5.0})),
        (Pay(5.0), accepted(HERE, {"amount": 5.0, "gone": 1})),
        (Pay(5.0), accepted(HERE, {"flag": False})),
        (Pay(5.0, tags={"a": True}), accepted(HERE, {"amount": 5.0, "tags": {"a": 1}})),
        (pay(5.0, "x"), accepted(f"{__name__}:pay", {"amount": 5.0})),
        (pay(5.0, "", 1), accepted(f"{__name__}:pay", {"amount": 5.0})),
        (Pay(5.0), accepted(f"{__name__}:Picky", {"amount": 5.0})),
        (Pay(5.0), accepted("__main__:Pay", {"amount": 5.0}, "/r1/other.py")),
        (Pay(5.0), accepted("__main__:Pay", {"amount": 5.0})),
        (Pay(5.0), accepted("__main__:Other", {"amount": 5.0}, f"/r1/{__name__.replace('.', '/')}.py")),
        (Picky(5.0), accepted(f"{__name__}:Picky", {"amount": 500.0})),
    ],
)
def test_other_values_and_other_classes_are_another_definition(step: SagaStep, before: SagaSpec) -> None:
    assert spec_as_accepted((step,), spec_of(step), before) is None


def test_other_names_and_numbers_of_steps_are_another_definition() -> None:
    spec = spec_of(Pay(5.0))
    assert spec_as_accepted((Pay(5.0),), spec, spec) is not None
    assert spec_as_accepted((Pay(5.0),), spec, replace(spec, name="other")) is None
    assert spec_as_accepted((Pay(5.0),), spec, spec_of(Pay(5.0), Pay(5.0))) is None
    renamed = replace(spec, steps=(replace(spec.steps[0], name="other"),))
    assert spec_as_accepted((Pay(5.0),), spec, renamed) is None
