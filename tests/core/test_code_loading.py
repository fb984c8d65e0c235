"""Loading step classes in a step process: what a journal row may name, and every way in which code fails to load."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe.definition import code_loading, events
from antistrophe.definition.calling import build_step, call_step
from antistrophe.definition.code_loading import (
    CodeNotLoadableError,
    inside_step_process,
    load_origin,
    load_step_class,
    mark_step_process,
)
from antistrophe.definition.spec import Origin
from antistrophe.definition.step import SagaStep
from antistrophe.errors import AntistropheError, AttemptCancelled
from antistrophe.serialization.payload import pack_payload

SCRIPT = """\
from __future__ import annotations
from dataclasses import dataclass
from antistrophe import SagaStep, step
from antistrophe.definition.events import event
import helper

@event("script.done")
@dataclass(frozen=True)
class Done:
    inner: Inner

@dataclass(frozen=True)
class Inner:
    amount: int

@dataclass(frozen=True)
class Debit(SagaStep):
    inner: Inner

    def execute(self): return [Done(self.inner)]
    def compensate(self): return helper.NAME

@step(requires_compensation=False)
def note(text: str): return text

not_a_step = Inner(1)
base = SagaStep

if __name__ == "__main__":
    raise AssertionError("the guarded part must not run")
"""


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """This process has loaded nothing yet, and forgets after a test what it loaded."""
    monkeypatch.setattr(code_loading, "_loaded", None)
    monkeypatch.setattr(code_loading, "_is_step_process", False)
    monkeypatch.setattr(events, "_classes", dict(events._classes))
    monkeypatch.setattr(events, "_newest", dict(events._newest))
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("__main__", "__mp_main__"):
        monkeypatch.setitem(sys.modules, name, sys.modules["__main__"])
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text("NAME = 'found beside the script'\n")
    return Origin(str(tmp_path / "script.py"), (str(tmp_path),), str(tmp_path))


def test_a_class_of_the_script_is_loaded_without_running_its_guarded_part(origin: Origin) -> None:
    cls = load_step_class(origin, "__main__:Debit")
    debit = build_step(cls, pack_payload({"inner": {"amount": 5}}))
    assert call_step(debit, "compensate", None) == "found beside the script"  # type: ignore[arg-type]
    (done,) = call_step(debit, "execute", None)  # type: ignore[arg-type]
    assert done.inner.amount == 5
    assert cls.__module__ == "__main__"
    assert vars(sys.modules["__main__"])["Debit"] is cls
    assert load_step_class(origin, "__main__:Debit") is cls, "loaded once"
    assert sys.modules["__main__"].__name__ == "__main__"


def test_a_function_step_of_the_script_is_loaded(origin: Origin) -> None:
    made = build_step(load_step_class(origin, "__main__:note"), pack_payload({"text": "hello"}))
    assert call_step(made, "execute", None) == "hello"  # type: ignore[arg-type]


def test_a_module_is_found_by_the_search_path_of_the_application(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "lib" / "pkg").mkdir(parents=True)
    (tmp_path / "lib" / "pkg" / "steps.py").write_text(SCRIPT)
    found = Origin(None, (str(tmp_path / "lib"), str(tmp_path)), str(tmp_path / "lib"))
    cls = load_step_class(found, "pkg.steps:Debit")
    assert issubclass(cls, SagaStep)  # type: ignore[arg-type]
    assert sys.path[:2] == [str(tmp_path / "lib"), str(tmp_path)]
    assert Path.cwd() == tmp_path / "lib"


def test_an_edited_script_is_read_anew(origin: Origin, tmp_path: Path) -> None:
    """The edit comes within the same second and keeps the size: a .pyc would not notice it."""
    assert load_step_class(origin, "__main__:Debit").__module__
    script = tmp_path / "script.py"
    assert not list(tmp_path.glob("__pycache__/script*"))
    stat = script.stat()
    script.write_text(SCRIPT.replace("class Debit(", "class Dobit("))
    os.utime(script, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    sys.modules.pop("__antistrophe_main__")
    code_loading._loaded = None
    with pytest.raises(CodeNotLoadableError, match="has no Debit"):
        load_step_class(origin, "__main__:Debit")


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("__main__:Gone", r"script\.py has no Gone \(any more\)"),
        ("__main__:Debit.Gone", r"has no Debit\.Gone"),
        ("__main__:not_a_step", r"not_a_step of .* is no step, but Inner"),
        ("__main__:Inner", "is no step"),
        ("__main__:base", "is no step"),
        ("__main__:Debit.execute", "is no step"),
        ("helper:NAME", "is no step"),
        ("os:system", "is no step"),
        ("subprocess:Popen", "is no step"),
        ("antistrophe.definition.step:SagaStep", "is no step"),
        ("antistrophe.definition.step:FunctionStep", "is no step"),
        ("no_such_module_at_all:Debit", r"the import of module no_such_module_at_all fails: ModuleNotFoundError"),
        ("helper.deeper:Debit", "fails: ModuleNotFoundError"),
        ("", "does not name a step class: the form is"),
        ("Debit", "does not name a step class: the form is"),
        (":Debit", "does not name a step class"),
        ("__main__:", "does not name a step class"),
        (".helper:Debit", "does not name a step class"),
        ("../x:Debit", "does not name a step class"),
        ("helper:<locals>.x", "does not name a step class"),
        ("a b:c", "does not name a step class"),
    ],
)
def test_only_a_step_can_be_named(ref: str, reason: str, origin: Origin) -> None:
    with pytest.raises(CodeNotLoadableError, match=reason) as refused:
        load_step_class(origin, ref)
    assert isinstance(refused.value, AntistropheError)


@given(st.text(max_size=30))
def test_garbage_names_nothing(ref: str) -> None:
    with pytest.raises(CodeNotLoadableError):
        load_step_class(Origin(None, (), "/"), ref.replace(":", ":\0"))


BROKEN = {
    "syntax": ("def (", r"SyntaxError"),
    "null": ("x = '\0'", r"null bytes|SyntaxError|ValueError"),
    "raises": ("1 / 0", r"ZeroDivisionError: division by zero"),
    "exits": ("raise SystemExit(3)", r"it ends the process \(SystemExit: 3\)"),
    "leaves": ("import sys; sys.exit()", r"it ends the process \(SystemExit: None\)"),
    "imports": ("import gone_away", r"No module named 'gone_away'"),
    "base": ("class Mine(BaseException): ...\nraise Mine('x')", r"Mine: x"),
    "recursion": ("def f(): f()\nf()", r"RecursionError"),
    "private": (
        "def __getattr__(name): raise ZeroDivisionError(name)",
        r"looking up Debit in module .* fails: ZeroDivisionError",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_module_that_does_not_load_says_why(kind: str, origin: Origin, tmp_path: Path) -> None:
    source, reason = BROKEN[kind]
    (tmp_path / f"broken_{kind}.py").write_text(source)
    with pytest.raises(CodeNotLoadableError, match=reason):
        load_step_class(origin, f"broken_{kind}:Debit")
    assert load_step_class(origin, "__main__:Debit"), "other code still loads"


@pytest.mark.parametrize("kind", BROKEN)
def test_a_script_that_does_not_load_says_why_and_can_be_mended(kind: str, origin: Origin, tmp_path: Path) -> None:
    source, reason = BROKEN[kind]
    (tmp_path / "script.py").write_text(source)
    with pytest.raises(CodeNotLoadableError, match=reason):
        load_step_class(origin, "__main__:Debit")
    if kind != "private":
        (tmp_path / "script.py").write_text(SCRIPT)
        assert load_step_class(origin, "__main__:Debit")


@pytest.mark.parametrize("signal", [KeyboardInterrupt, AttemptCancelled])
@pytest.mark.parametrize("where", ["script", "helper"])
def test_an_order_to_stop_is_not_swallowed(signal: Any, where: str, origin: Origin, tmp_path: Path) -> None:
    source = f"from antistrophe.errors import AttemptCancelled\nraise {signal.__name__}()"
    (tmp_path / f"{where}.py").write_text(source)
    ref = "__main__:Debit" if where == "script" else "helper:Debit"
    unscripted = Origin(None, origin.sys_path, origin.cwd)
    with pytest.raises(signal):
        load_step_class(origin if where == "script" else unscripted, ref)


def spoil(how: str) -> Callable[[Origin, Path], Origin]:
    def spoiled(origin: Origin, tmp_path: Path) -> Origin:
        if how == "no script any more":
            (tmp_path / "script.py").unlink()
        elif how == "no folder any more":
            return Origin(origin.script, origin.sys_path, str(tmp_path / "gone"))
        elif how == "no script known":
            return Origin(None, origin.sys_path, origin.cwd)
        elif how == "folder for a script":
            return Origin(str(tmp_path), origin.sys_path, origin.cwd)
        return origin

    return spoiled


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("no script any more", r"the script .*script\.py can't be loaded: FileNotFoundError"),
        ("no folder any more", r"the application's folder can't be entered: .*gone"),
        ("no script known", "Debit was defined in the script of the application, and the saga does not say which"),
        ("folder for a script", "can't be loaded: IsADirectoryError"),
    ],
)
def test_what_is_gone_is_named(how: str, reason: str, origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(CodeNotLoadableError, match=reason):
        load_step_class(spoil(how)(origin, tmp_path), "__main__:Debit")


def test_a_process_serves_one_origin(origin: Origin) -> None:
    load_origin(origin)
    load_origin(origin)
    with pytest.raises(CodeNotLoadableError, match="another application"):
        load_origin(Origin(None, (), "/"))


def test_a_step_process_knows_that_it_is_one() -> None:
    assert not inside_step_process()
    mark_step_process()
    assert inside_step_process()


def test_a_script_without_py_is_a_script(tmp_path: Path) -> None:
    (tmp_path / "bank").write_text(SCRIPT.replace("import helper\n", ""))
    assert load_step_class(Origin(str(tmp_path / "bank"), (), str(tmp_path)), "__main__:Debit")


def test_the_application_and_a_step_process_agree(tmp_path: Path) -> None:
    """A step process loads what the application names, from the spec alone."""
    (tmp_path / "helper.py").write_text("NAME = 1\n")
    (tmp_path / "app.py").write_text(
        SCRIPT.replace(
            'raise AssertionError("the guarded part must not run")',
            "import sys\n    from antistrophe.definition.saga_definition import SagaDefinition\n"
            "    from antistrophe.serialization.payload import pack_record\n"
            "    saga = SagaDefinition('s').add_step(Debit(Inner(5))).add_step(note('hello'))\n"
            "    sys.stdout.buffer.write(pack_record(saga.spec()))",
        )
    )
    receiver = (
        "import sys\n"
        "from antistrophe.definition.code_loading import load_step_class\n"
        "from antistrophe.definition.calling import build_step, call_step\n"
        "from antistrophe.serialization.payload import unpack_record\n"
        "from antistrophe.definition.spec import SagaSpec\n"
        "spec = unpack_record(sys.stdin.buffer.read(), (SagaSpec,))\n"
        "for each in spec.steps:\n"
        "    print(call_step(build_step(load_step_class(spec.origin, each.class_ref), each.input), 'execute', None))\n"
    )
    sent = subprocess.run([sys.executable, "app.py"], cwd=tmp_path, capture_output=True, timeout=30, check=True)
    got = subprocess.run(
        [sys.executable, "-c", receiver], cwd="/", input=sent.stdout, capture_output=True, timeout=30, check=True
    )
    assert got.stdout.decode().splitlines() == ["[Done(inner=Inner(amount=5))]", "hello"]
