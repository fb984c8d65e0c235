"""The outputs of one saga's steps, in parts that fit into a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from antistrophe.saga.entries import Entry
from antistrophe.saga.state import replay

PART_BYTES = 16 << 20
"""A part ends with the output that brings it to so many bytes. So an output of any size is in one part."""


@dataclass(frozen=True, slots=True)
class OutputsPart:
    """Packed outputs by the names of their steps, in step order. ``next_step``: the index of the step with which the
    next part begins; None in the last part."""

    outputs: tuple[tuple[str, bytes], ...]
    next_step: int | None


def outputs_part(entries: Sequence[Entry], from_step: int = 0, part_bytes: int = PART_BYTES) -> OutputsPart:
    """Collect what the steps of a saga returned, from that step on, compensated steps included. ``entries`` are all
    entries of the saga."""
    saga = replay(entries)
    found: list[tuple[str, bytes]] = []
    size = 0
    for index in range(max(from_step, 0), len(saga.steps)):
        output = saga.steps[index].output
        if output is None:
            continue
        if size >= part_bytes:
            return OutputsPart(tuple(found), index)
        found.append((saga.spec.steps[index].name, output))
        size += len(output)
    return OutputsPart(tuple(found), None)
