"""What an application loads when it imports the package: not what only some of them need."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import antistrophe

# asyncio is for the orchestrator of asyncio and for steps; cattrs for typed values; the rest for a part of the package.
PUT_OFF = ("asyncio", "cattrs", "ssl", "concurrent.futures", "click", "rich", "antistrophe.cqrs", "antistrophe.testing")


def _printed(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_import_leaves_out_what_only_some_applications_need() -> None:
    loaded = _printed("import sys, antistrophe; print(*sys.modules)").split()
    assert "antistrophe.client.orchestrator" in loaded
    assert [name for name in PUT_OFF if name in loaded] == []


def test_the_launcher_leaves_out_what_only_processes_of_user_code_need() -> None:
    loaded = _printed("import sys, antistrophe.launcher.launch; print(*sys.modules)").split()
    assert "antistrophe.actors.supervisor.supervisor" in loaded
    assert [name for name in ("asyncio", "cattrs", "ssl", "antistrophe.actors.step.step") if name in loaded] == []


def test_names_that_are_imported_late_are_there_in_each_way() -> None:
    assert _printed("from antistrophe import *; print(AsyncSagaHandle.__name__)") == "AsyncSagaHandle\n"
    assert _printed("from antistrophe import AsyncSagaOrchestrator as a; print(a.__module__)").startswith(
        "antistrophe."
    )
    assert _printed("import antistrophe; print(antistrophe.AsyncChangeSubscription.__name__)").startswith("AsyncChange")
    assert "Traceback" not in _printed("import antistrophe; print(hasattr(antistrophe, 'Asynchronous'))")


def test_dir_has_every_public_name_and_the_attributes_of_a_module() -> None:
    assert {*antistrophe.__all__, "__doc__", "__file__"} <= set(dir(antistrophe))


def test_a_checker_of_types_still_knows_which_names_there_are() -> None:
    tree = ast.parse(Path(antistrophe.__file__).read_text("utf-8"))
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert functions == ["__dir__"], "with a __getattr__ that it sees, any name would be one of the package's"
