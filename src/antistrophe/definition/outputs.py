"""The output of a step as bytes and back: a plain value, in which pydantic models may stand. A model is stored as the
name of its class, its fields and the paths of those that people are not shown, and is made again by its class."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import msgpack

from antistrophe.definition.code_loading import CodeNotLoadableError, import_module, inside_step_process
from antistrophe.definition.spec import Origin
from antistrophe.errors import NotSerializableError, UnreadableDataError
from antistrophe.exception_text import name_and_text
from antistrophe.serialization import msgpack_values
from antistrophe.serialization.masks import masked_paths
from antistrophe.serialization.msgpack_values import MODEL, read_model
from antistrophe.serialization.payload import pack_fields, pack_payload, structure_fields, unpack_payload
from antistrophe.serialization.program import MAIN, found_in, namespace_of, program_namespace
from antistrophe.serialization.type_hints import is_model

_MODEL_BEGINS = bytes((MODEL, 0x93))
"""What every packed model begins with: its code, and an array of three."""


def pack_output(output: Any) -> bytes:
    """The output of a step. Raises NotSerializableError, which names the place of what can't travel."""
    return pack_payload(output, what="the output", models=_packed_model)


def unpack_output(data: bytes, what: str, origin: Origin | None = None) -> Any:
    """What ``pack_output`` wrote. ``what`` begins the messages; ``origin`` says which script ``__main__`` was; None
    says that it is that of this process.

    Raises UnreadableDataError on anything else, and where a model can't be made again.
    """
    if data.find(_MODEL_BEGINS) < 0:
        return unpack_payload(data, what=what)
    found: list[UnreadableDataError] = []

    def model(code: int, packed: bytes) -> Any:
        if code != MODEL:
            raise ValueError(f"code {code} is none of an output")
        try:
            return _model(packed, what, origin)
        except UnreadableDataError as error:
            found.append(error)
            raise

    try:
        return msgpack_values.unpack(data, others=model)
    except Exception as error:
        if found:
            raise found[0] from error
        raise UnreadableDataError(f"{what} can't be read as msgpack: {name_and_text(error)}") from error


def _packed_model(value: Any) -> msgpack.ExtType | None:
    cls = type(value)
    if not is_model(cls):
        return None
    fields = pack_fields(value, cls, what=f"the output, a {cls.__qualname__}")
    hidden = msgpack_values.pack([*masked_paths(cls)])
    return msgpack.ExtType(MODEL, b"\x93" + msgpack_values.pack(_name_of(cls)) + fields + hidden)


def _name_of(cls: type) -> str:
    """The name under which another process finds the class, ``module:qualified.name``."""
    module, qualname = cls.__module__, cls.__qualname__
    namespace = namespace_of(cls) if module == MAIN else vars(sys.modules.get(module, object))
    # pydantic puts Box[int] into the module, but only in a process that has written Box[int] somewhere.
    if namespace is None or not _is_name(qualname) or found_in(namespace, qualname) is not cls:
        raise NotSerializableError(
            f"the output can't travel: another process would not find {qualname} in module {module}. Define the class "
            "at the top level of a module, under its own name, or return model_dump(mode='json')"
        )
    return f"{_module_of(namespace) if module == MAIN else module}:{qualname}"


def _module_of(program: Mapping[str, Any]) -> str:
    """The name of the program's module: that of ``python -m name``, or ``__main__``."""
    spec = program.get("__spec__")
    return MAIN if spec is None else str(spec.name)


def _model(packed: bytes, what: str, origin: Origin | None) -> Any:
    name, fields, _ = read_model(packed)
    module, _, qualname = name.partition(":")
    if not _is_name(module) or not _is_name(qualname):
        raise UnreadableDataError(f"{what} names {name!r}, which is no name of a class: the form is module:name")
    try:
        cls = found_in(_namespace(module, origin), qualname)
    except CodeNotLoadableError as error:
        raise UnreadableDataError(f"{what} is a {qualname}, whose class can't be loaded: {error}") from error
    if not is_model(cls):
        raise UnreadableDataError(
            f"{what} is a {qualname}, and {module} has no pydantic model of that name (any more): put it back"
        )
    return structure_fields(fields, cls, what=what, forbid_unknown=True)


def _namespace(module: str, origin: Origin | None) -> Mapping[str, Any]:
    """What a module holds. Raises CodeNotLoadableError."""
    program = vars(sys.modules[MAIN]) if inside_step_process() else program_namespace()
    script = None if origin is None else origin.script
    if module == MAIN and script is not None and _file(program) != os.path.realpath(script):
        for each in [*sys.modules.values()]:
            if _file(vars(each)) == os.path.realpath(script):
                return vars(each)
        raise CodeNotLoadableError(f"it was defined in the script {script}, which this process has not imported")
    return program if module == _module_of(program) else vars(import_module(module))


def _is_name(dotted: str) -> bool:
    return all(part.isidentifier() for part in dotted.split("."))


def _file(namespace: Mapping[str, Any]) -> str | None:
    file = namespace.get("__file__")
    return os.path.realpath(file) if file else None
