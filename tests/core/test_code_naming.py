"""Naming step classes in the application: by which name another process finds them, and which it could not find."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from antistrophe.definition.code_loading import class_ref, inside_step_process, origin_of
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.step import SagaStep, step
from antistrophe.errors import InvalidStepError

BANK = """\
from __future__ import annotations
from dataclasses import dataclass
from antistrophe import SagaDefinition, SagaStep, step

@dataclass(frozen=True)
class Inner:
    amount: int

@dataclass(frozen=True)
class Debit(SagaStep):
    inner: Inner

    def execute(self): return self.inner.amount
    def compensate(self): return None

@step(requires_compensation=False)
def note(text: str): return text

def show():
    import json
    spec = SagaDefinition("s").add_step(Debit(Inner(5))).add_step(note("hello")).spec()
    print(json.dumps({"refs": [each.class_ref for each in spec.steps], "script": spec.origin.script,
                      "sys_path": spec.origin.sys_path, "cwd": spec.origin.cwd}))

if __name__ == "__main__":
    show()
"""


class OldFinder:
    """A finder of the kind that imports had before ``find_spec``."""


class Top(SagaStep):
    def execute(self) -> None: ...

    def compensate(self) -> None: ...

    class Nested(SagaStep):
        pass


@step
def function_step(text: str) -> None: ...


Alias = Top


def python(*args: str, cwd: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=30, check=False
    )


def shown(*args: str, cwd: Path) -> dict[str, Any]:
    ended = python(*args, cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


# --- programs that are started in different ways ------------------------------------------------------------------


def test_a_script_is_named_main_and_goes_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "bank.py").write_text(BANK)
    found = shown("here/bank.py", cwd=tmp_path)
    assert found["refs"] == ["__main__:Debit", "__main__:note"]
    assert found["script"] == str(tmp_path / "here" / "bank.py")
    assert found["cwd"] == str(tmp_path)
    assert found["sys_path"][0] == str(tmp_path / "here")


def test_a_module_beside_the_script_needs_no_script(tmp_path: Path) -> None:
    (tmp_path / "bank.py").write_text(BANK)
    (tmp_path / "run.py").write_text("import bank\nbank.show()\n")
    found = shown("run.py", cwd=tmp_path)
    assert found["refs"] == ["bank:Debit", "bank:note"]
    assert found["script"] is None


def test_a_module_under_m_has_its_real_name(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "pkg" / "bank.py").write_text(BANK)
    (tmp_path / "pkg" / "__main__.py").write_text(BANK)
    assert shown("-m", "pkg.bank", cwd=tmp_path)["refs"] == ["pkg.bank:Debit", "pkg.bank:note"]
    assert shown("-m", "pkg", cwd=tmp_path)["refs"] == ["pkg.__main__:Debit", "pkg.__main__:note"]


def test_a_folder_that_is_run_is_a_script(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text(BANK)
    found = shown("app", cwd=tmp_path)
    assert found["refs"] == ["__main__:Debit", "__main__:note"]
    assert found["script"] == str(tmp_path / "app" / "__main__.py")


@pytest.mark.parametrize(("args", "stdin"), [(("-c", BANK), None), (("-",), BANK), ((), BANK), (("-i",), BANK)])
def test_a_program_without_a_file_is_refused(args: tuple[str, ...], stdin: str | None, tmp_path: Path) -> None:
    ended = python(*args, cwd=tmp_path, stdin=stdin)
    assert "InvalidStepError: Debit is defined in a program that has no file (python -c, a notebook" in ended.stderr
    assert "put Debit into a module and import it from there" in ended.stderr


def test_relative_entries_of_the_search_path_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "lib", "/abs", Path("/no text")])
    origin = origin_of([])
    assert origin.sys_path == (str(tmp_path), str(tmp_path / "lib"), "/abs")
    assert (origin.cwd, origin.script) == (str(tmp_path), None)


def test_a_folder_that_was_removed_is_no_obstacle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert origin_of([]).cwd == "/"


# --- classes that another process could not find ------------------------------------------------------------------


def test_names_of_classes_and_functions() -> None:
    assert class_ref(Top) == f"{__name__}:Top"
    assert class_ref(Top.Nested) == f"{__name__}:Top.Nested"
    assert class_ref(function_step) == f"{__name__}:function_step"
    assert class_ref(Alias) == f"{__name__}:Top"


def test_a_class_inside_a_function_is_refused() -> None:
    class Local(Top):
        pass

    with pytest.raises(InvalidStepError, match=r"Local is defined inside a function.*move it to the top level"):
        SagaDefinition("s").add_step(Local())

    @step(requires_compensation=False)
    def local() -> None: ...

    with pytest.raises(InvalidStepError, match="local is defined inside a function"):
        SagaDefinition("s").add_step(local())


def test_a_class_whose_name_means_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[__name__]
    original = Top
    monkeypatch.setattr(module, "Top", 5)
    with pytest.raises(InvalidStepError, match=r"test_code_naming\.Top is not .*Top.* but 5 \(int\)"):
        class_ref(original)
    monkeypatch.delattr(module, "Top")
    with pytest.raises(InvalidStepError, match=r"but None.*Keep a step under the name with which it was defined"):
        class_ref(original)


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[Any]:
    """Loads a file as a module of any name, as plugin systems do. After the test the module is forgotten."""
    names: list[str] = []

    def load(name: str, source: str = BANK) -> ModuleType:
        file = tmp_path / f"{len(names)}.py"
        file.write_text(textwrap.dedent(source))
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        names.append(name)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    yield load
    for name in names:
        sys.modules.pop(name, None)


def test_a_module_that_no_import_finds_is_refused(loaded: Any) -> None:
    plugin = loaded("plugin_of_nowhere")
    with pytest.raises(
        InvalidStepError,
        match=r"Debit: another process can't import its module 'plugin_of_nowhere' \(no import",
    ):
        class_ref(plugin.Debit)


def test_a_module_of_another_ones_name_is_refused(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    impostor = loaded("this")
    with pytest.raises(InvalidStepError, match=r"can't import its module 'this' \(the import finds .*this\.py, not"):
        class_ref(impostor.Debit)


def test_a_refusal_is_not_remembered(loaded: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plugin = loaded("plugin_found_later")
    with pytest.raises(InvalidStepError, match="no import finds it"):
        class_ref(plugin.Debit)
    (tmp_path / "0.py").rename(tmp_path / "plugin_found_later.py")
    plugin.__file__ = str(tmp_path / "plugin_found_later.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert class_ref(plugin.Debit) == "plugin_found_later:Debit"


def test_a_class_of_no_module_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Top, "__module__", "never.imported")
    with pytest.raises(InvalidStepError, match=r"is defined in module 'never\.imported', which is not imported"):
        class_ref(Top)


def test_a_finder_of_the_oldest_kind_is_passed_over(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [OldFinder(), *sys.meta_path])
    with pytest.raises(InvalidStepError, match="no import finds it"):
        class_ref(loaded("plugin_of_nowhere").Debit)


def test_this_is_no_step_process() -> None:
    assert inside_step_process() is False
