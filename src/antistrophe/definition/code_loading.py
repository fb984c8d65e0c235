"""User code: the application names a step class, and a step process loads the class by that name."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from antistrophe.definition.code_files import forget_stale_bytecode
from antistrophe.definition.script_loading import SCRIPT_MODULE, become_no_script, become_script
from antistrophe.definition.spec import Origin
from antistrophe.definition.step import FunctionStep, SagaStep, StepFunction, StepSource
from antistrophe.errors import AntistropheError, AttemptCancelled, InvalidStepError, SystemStateError
from antistrophe.exception_text import name_and_text
from antistrophe.serialization.program import MAIN, namespace_of, program_namespace
from antistrophe.serialization.type_hints import short

# Modules (name, file) that an import is known to find: the question comes for each step of each definition.
_importable: set[tuple[str, str | None]] = set()


GUARD = 'if __name__ == "__main__":'
"""What a script needs around what it does when it is run."""


class CodeNotLoadableError(AntistropheError):
    """This process can't load user code. The text says which code, why, and what to do. ``unguarded``: the code does
    when it is loaded what only the application is to do."""

    def __init__(self, text: str, *, unguarded: bool = False) -> None:
        super().__init__(text)
        self.unguarded = unguarded


# --- in the application -------------------------------------------------------------------------------------------


def class_ref(source: StepSource) -> str:
    """The name by which another process finds a step class or step function: ``module:qualified.name``.

    The module is ``__main__`` where the script itself defines the step. Raises InvalidStepError, which says what to do,
    where another process could not find the step.
    """
    module_name, qualname = source.__module__, source.__qualname__
    if "<locals>" in qualname or "<lambda>" in qualname:
        raise InvalidStepError(
            f"{qualname} is defined inside a function, where another process can't find it: "
            f"move it to the top level of {module_name}"
        )
    module = sys.modules.get(module_name)
    if module is None:
        raise InvalidStepError(
            f"{qualname} says that it is defined in module {module_name!r}, which is not imported: import that module; "
            f"or where this is a console or a notebook, put {qualname} into a module and import it from there"
        )
    if module_name == MAIN and (program := namespace_of(source)) is not None:
        return f"{_name_of_program(program, qualname)}:{qualname}"
    if _find(module, qualname) is not source:
        raise InvalidStepError(
            f"{module_name}.{qualname} is not {short(source)} but {short(_find(module, qualname))}: another process "
            "would get the wrong one. Keep a step under the name with which it was defined"
        )
    return f"{_loadable_name(module, qualname)}:{qualname}"


def origin_of(sources: Iterable[StepSource]) -> Origin:
    """Where this process found these step classes. The origin has the script only where the script defines one."""
    # A module that `python -m` runs has a name of its own, so only a script without one is needed.
    of_script = next((source for source in sources if class_ref(source).startswith(f"{MAIN}:")), None)
    return _origin(None if of_script is None else _script(namespace_of(of_script) or program_namespace()))


def origin_of_this_process() -> Origin:
    """Where this process would find any code, that of its script included."""
    return _origin(_script(program_namespace()))


def _origin(script: str | None) -> Origin:
    return _origin_at(script, _cwd(), tuple([entry for entry in sys.path if isinstance(entry, str)]))


@functools.lru_cache(maxsize=8)
def _origin_at(script: str | None, cwd: str, path: tuple[str, ...]) -> Origin:
    return Origin(script, tuple(os.path.join(cwd, entry) if entry else cwd for entry in path), cwd)


def _cwd() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # somebody has removed the folder that this process is in
        return "/"


def _script(program: Mapping[str, Any]) -> str | None:
    file = program.get("__file__")
    return os.path.abspath(file) if file and os.path.isfile(file) else None


def _loadable_name(module: ModuleType, qualname: str) -> str:
    name = module.__name__
    if name in (MAIN, SCRIPT_MODULE):
        return _name_of_program(vars(sys.modules[MAIN]), qualname)
    known = (name, getattr(module, "__file__", None))
    problem = None if known in _importable else _import_problem(*known)
    if problem is not None:
        raise InvalidStepError(
            f"{qualname}: another process can't import its module {name!r} ({problem}): put the module's file where "
            "sys.path finds it under that name"
        )
    _importable.add(known)
    return name


def _name_of_program(program: Mapping[str, Any], qualname: str) -> str:
    spec = program.get("__spec__")
    if spec is not None and spec.name != MAIN:
        return str(spec.name)
    if _script(program) is None:
        raise InvalidStepError(
            f"{qualname} is defined in a program that has no file (python -c, a notebook cell, the interactive "
            f"prompt), so another process can't load it: put {qualname} into a module and import it from there"
        )
    return MAIN


def _import_problem(name: str, file: str | None) -> str | None:
    """Why an import of this name in another process would not find this file, or None where it would.

    This asks the finders: ``importlib.util.find_spec`` would answer with what this process has imported already.
    """
    parent = sys.modules.get(name.rpartition(".")[0])
    path = getattr(parent, "__path__", None)
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)  # finders before Python 3.4 have none
        spec = find_spec(name, path) if find_spec is not None else None
        if spec is None:
            continue
        if file is not None and spec.origin is not None and os.path.realpath(spec.origin) != os.path.realpath(file):
            return f"the import finds {spec.origin}, not {file}"
        return None
    return "no import finds it"


def _find(module: ModuleType, qualname: str) -> Any:
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


# --- in a step process --------------------------------------------------------------------------------------------

_is_step_process = False
_wanted_to_open = False
_loaded: Origin | None = None
# Steps by their class_ref: each attempt asks, and what was imported once stays.
_steps: dict[str, StepSource] = {}


def mark_step_process() -> None:
    """Note that this process runs steps and nothing else."""
    global _is_step_process
    _is_step_process = True


def inside_step_process() -> bool:
    """True in a process that runs steps, and in every fork of such a process."""
    return _is_step_process


def check_may_open() -> None:
    """Raise SystemStateError in a step process: no orchestrator can be opened there."""
    global _wanted_to_open
    if _is_step_process:
        _wanted_to_open = True
        raise SystemStateError(
            "an orchestrator can't be opened inside a step process. If a step wanted to: start the saga from the"
            " application instead. If this is your script: put what it does when it is run under"
            f" `{GUARD}`, because step processes load the script to find its steps"
        )


def load_origin(origin: Origin) -> None:
    """Make this process find user code where the application found it.

    This sets the search path and the folder, and makes the script ``__main__``. A process does this once: for another
    origin, and for what can't be loaded, this raises CodeNotLoadableError.
    """
    global _loaded
    if _loaded is not None:
        if _loaded != origin:
            raise CodeNotLoadableError("this process has already loaded the code of another application")
        return
    try:
        os.chdir(origin.cwd)
    except OSError as error:
        raise CodeNotLoadableError(
            f"the application's folder can't be entered: {error}; put it back, start an application that has the same"
            " modules, or say with `antistrophe relocate` where the code is now"
        ) from error
    here = [entry for entry in sys.path if entry not in origin.sys_path]
    sys.path[:] = [*origin.sys_path, *here]
    importlib.invalidate_caches()
    if origin.script is None:
        become_no_script()
    else:
        _load_script(origin.script)
    _loaded = origin
    _steps.clear()


def load_step_class(origin: Origin, ref: str) -> StepSource:
    """The step class or step function that ``class_ref`` has named, in a process that loads the origin for it.

    Raises CodeNotLoadableError, which says why, for whatever keeps the step from being loaded, and for a name that
    leads to anything but a step.
    """
    known = _steps.get(ref)
    if known is not None and _loaded == origin:
        return known
    module_name, colon, qualname = ref.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module_name.split("."), *qualname.split("."))):
        raise CodeNotLoadableError(f"{ref!r} does not name a step class: the form is module:qualified.name")
    load_origin(origin)
    found = _steps[ref] = _load_step(origin, module_name, qualname)
    return found


def _load_step(origin: Origin, module_name: str, qualname: str) -> StepSource:
    if module_name == MAIN and origin.script is None:
        raise CodeNotLoadableError(
            f"{qualname} was defined in the script of the application, and the saga does not say which script that "
            f"was: put {qualname} into a module and start a new saga"
        )
    module = import_module(module_name)
    try:
        found = _find(module, qualname)
    except Exception as error:  # a module's own __getattr__ may raise anything
        raise CodeNotLoadableError(f"looking up {qualname} in module {module_name} fails: {_text(error)}") from error
    if found is None:
        raise CodeNotLoadableError(
            f"module {_where(module)} has no {qualname} (any more): a saga needs it, so put it back"
        )
    if isinstance(found, StepFunction):
        return found
    if isinstance(found, type) and issubclass(found, SagaStep) and found not in (SagaStep, FunctionStep):
        return found
    raise CodeNotLoadableError(f"{qualname} of {_where(module)} is no step, but {short(found)}")


def import_module(module_name: str) -> ModuleType:
    """The module of user code. Raises CodeNotLoadableError, which says why it can't be imported."""
    global _wanted_to_open
    _wanted_to_open = False
    try:
        if module_name not in sys.modules:
            forget_stale_bytecode(module_name)
        return importlib.import_module(module_name)
    except (KeyboardInterrupt, AttemptCancelled):
        raise
    except BaseException as error:
        if _wanted_to_open:
            raise CodeNotLoadableError(
                f"the import of module {module_name} opens an orchestrator, and step processes import the module to "
                f"find its steps: open it in a function that the application calls, or under `{GUARD}`",
                unguarded=True,
            ) from error
        raise CodeNotLoadableError(f"the import of module {module_name} fails: {_text(error)}") from error


def _load_script(script: str) -> None:
    global _wanted_to_open
    _wanted_to_open = False
    try:
        become_script(script)
    except (KeyboardInterrupt, AttemptCancelled):
        raise
    except BaseException as error:
        why = _text(error)
        unguarded = _wanted_to_open or isinstance(error, SystemExit)
        if unguarded:  # it ends itself where a part that reads the command line runs, too
            why = "it opens an orchestrator at its top level" if _wanted_to_open else why
            why = (
                f"{why}, and step processes load it to find its steps: put what it does when it is run under `{GUARD}`"
            )
        raise CodeNotLoadableError(f"the script {script} can't be loaded: {why}", unguarded=unguarded) from error


def _where(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or module.__name__)


def _text(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ends the process (SystemExit: {error.code})"
    return name_and_text(error)
