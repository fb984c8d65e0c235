"""Where the code of a saga is once its place is gone. Nothing is imported to find that out."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from antistrophe.definition.spec import Origin
from antistrophe.errors import RequestError
from antistrophe.serialization.program import MAIN

_STANDARD_ZIP = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
"""Stands on every search path, and hardly ever exists."""

_BINDS_UNNAMED = re.compile(r"import \*|__getattr__|globals\(\)")


def place_is_gone(origin: Origin, class_refs: Iterable[str]) -> bool:
    """Whether the place of a saga's code is no longer there: its folder, its script, or a folder of its search path
    without which a module is not found. A place that is there but has other code now is not gone."""
    if not Path(origin.cwd).is_dir() or (origin.script is not None and not Path(origin.script).is_file()):
        return True
    paths = [Path(entry) for entry in origin.sys_path]
    gone = any(not path.exists() for path in paths if path.name != _STANDARD_ZIP)
    return gone and what_is_missing(origin, class_refs) is not None


def other_place(origin: Origin, class_refs: Sequence[str], programs: Iterable[Origin]) -> Origin | None:
    """The first of these programs that has the code of a saga, as the saga's origin; None where the place of its own
    is not gone, or no program has all of it. A script is known by the name of its file."""
    programs = tuple(programs)
    if not programs or not place_is_gone(origin, class_refs):
        return None
    for program in programs:
        there = replace(program, script=None if origin.script is None else program.script)
        same_script = origin.script is None or _name(origin.script) == _name(there.script)
        if same_script and there != origin and what_is_missing(there, class_refs) is None:
            return there
    return None


def origin_in(folder: str | os.PathLike[str], origin: Origin, class_refs: Iterable[str]) -> Origin:
    """The origin with its code in this folder: an import looks there first, and what lay below the old folder is looked
    for at the same place below the new one. Raises RequestError where the folder does not have the code."""
    new, old = Path(folder).resolve(), Path(origin.cwd)
    if not new.is_dir():
        raise RequestError(f"there is no folder {new}: name the folder that the code is in now")
    paths = dict.fromkeys([str(new), *(_moved(entry, old, new) for entry in origin.sys_path)])
    script = origin.script
    if script is not None:
        moved = _moved(script, old, new)
        script = moved if moved != script else str(new / Path(script).name)
    moves = not old.is_dir() or any(
        Path(entry).is_relative_to(old) for entry in (*origin.sys_path, origin.script or "/")
    )
    there = Origin(script, tuple(paths), str(new) if moves else origin.cwd)
    missing = what_is_missing(there, class_refs)
    if missing is not None:
        raise RequestError(
            f"{new} does not have the code of the saga ({missing}): name the folder in which an import finds it"
        )
    return there


def what_is_missing(origin: Origin, class_refs: Iterable[str]) -> str | None:
    """What of these classes can't be there, as the origin finds modules; None where all may be. Only the text of a
    module tells, because the module is not run."""
    importlib.invalidate_caches()
    for ref in class_refs:
        module, _, qualname = ref.partition(":")
        file = origin.script if module == MAIN else _file_of(module, origin.sys_path)
        if file is None or (module == MAIN and not Path(file).is_file()):
            return f"no script {file}" if module == MAIN else f"no module {module}"
        if not _may_bind(file, qualname.partition(".")[0]):
            return f"{file} has no {qualname}"
    return None


def _file_of(module: str, paths: Sequence[str]) -> str | None:
    """The file that an import of the module would read; "" for a module without one."""
    where: Sequence[str] | None = paths
    spec: ModuleSpec | None = None
    for part in module.split("."):
        # By its last name alone: a dotted one would want the package imported.
        spec = None if where is None else PathFinder.find_spec(part, where)
        if spec is None:
            return None
        where = None if spec.submodule_search_locations is None else [*spec.submodule_search_locations]
    return (spec.origin or "") if spec is not None else None


def _may_bind(file: str, name: str) -> bool:
    if not file.endswith(".py"):
        return True
    try:
        text = Path(file).read_text("utf-8", "replace")
    except OSError:
        return True  # within an archive
    return re.search(rf"\b{re.escape(name)}\b", text) is not None or _BINDS_UNNAMED.search(text) is not None


def _moved(path: str, old: Path, new: Path) -> str:
    """The path below the new folder, where it lay below the old one and is there in the new one."""
    if Path(path).is_relative_to(old) and (new / Path(path).relative_to(old)).exists():
        return str(new / Path(path).relative_to(old))
    return path


def _name(path: str | None) -> str:
    return Path(path or "").name
