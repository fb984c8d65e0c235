"""Whether a definition is that of a saga that was accepted before, although its code has gone on since; and whether
the fields of any one class are those that were stored before.

The supervisor imports no user code, so it compares classes by name and inputs byte by byte. Where these differ, the
application looks again, with its classes: what was accepted is read as a step is, so that a field which was added since
takes its default, and is compared as values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from antistrophe.definition.spec import SagaSpec, StepSpec
from antistrophe.definition.step import FunctionStep, SagaStep
from antistrophe.serialization.models import UNSET
from antistrophe.serialization.payload import pack_fields, unpack_fields, unpack_payload
from antistrophe.serialization.program import MAIN


def spec_as_accepted(steps: tuple[SagaStep, ...], spec: SagaSpec, accepted: SagaSpec) -> SagaSpec | None:
    """The spec of these steps in the words of the accepted one, where both mean the same: the same name and, step by
    step, the same name, class and values of fields. None where they don't."""
    if spec.name != accepted.name or len(spec.steps) != len(accepted.steps):
        return None
    for step, ours, theirs in zip(steps, spec.steps, accepted.steps, strict=True):
        same_class = _same_class(ours.class_ref, spec, theirs.class_ref, accepted)
        same_input = accepted.erased or _same_input(step, ours, theirs)
        if ours.name != theirs.name or not same_class or not same_input:
            return None
    words = zip(spec.steps, accepted.steps, strict=True)
    return replace(
        spec,
        steps=tuple(
            replace(ours, class_ref=theirs.class_ref, input=theirs.input or ours.input) for ours, theirs in words
        ),
    )


def _same_class(one: str, one_in: SagaSpec, other: str, other_in: SagaSpec) -> bool:
    """Whether two names lead to one class: the script's ``__main__:X`` and the same file's ``module:X`` do."""
    if one == other:
        return True
    (one_module, _, one_name), (other_module, _, other_name) = one.partition(":"), other.partition(":")
    if one_name != other_name:
        return False
    if one_module == MAIN:
        return _is_file_of(one_in.origin.script, other_module)
    return other_module == MAIN and _is_file_of(other_in.origin.script, one_module)


def _is_file_of(script: str | None, module: str) -> bool:
    """Whether an import of the module would read a file of that name: releases lie in folders of their own."""
    if script is None:
        return False
    parts, path = module.split("."), PurePath(script).with_suffix("").parts
    return path[-len(parts) :] == tuple(parts) or path[-len(parts) - 1 :] == (*parts, "__init__")


def _same_input(step: SagaStep, ours: StepSpec, theirs: StepSpec) -> bool:
    cls = type(step.input) if isinstance(step, FunctionStep) else type(step)
    return ours.input == theirs.input or same_fields(cls, ours.input, theirs.input)


def same_fields(cls: type, ours: bytes, theirs: bytes) -> bool:
    """Whether packed fields of a class, which were stored before, have the values of ours: a field that was added since
    has its default there. The user's own code may run."""
    try:
        made: object = unpack_fields(theirs, cls, forbid_unknown=True)
        return _same(unpack_payload(pack_fields(made, cls)), unpack_payload(ours))
    except Exception:  # what was stored does not fit the class, or the user's own code refuses it
        return False


def _same(one: Any, other: Any) -> bool:
    """Whether two packed values are equal: in any order of their fields, NaN as itself, and a bool as no number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        # A value counts, and not whether it was given or is a model's default.
        keys, others = one.keys() - {UNSET}, other.keys() - {UNSET}
        return keys == others and all(_same(one[key], other[key]) for key in keys)
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other or (one != one and other != other))  # NaN alone differs from itself
