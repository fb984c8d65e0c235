"""The outputs of a saga in parts: every output once, in step order, in parts of a bounded size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from antistrophe.journal.outputs import outputs_part
from antistrophe.saga.inputs import Returned
from tests.core.saga_kit import Told, step


@given(st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 20))
def test_every_output_comes_once_in_parts_that_are_bounded(sizes: list[int | None], part_bytes: int) -> None:
    told = Told(*(step(f"step-{index}") for index in range(len(sizes))))
    expected: list[tuple[str, bytes]] = []
    for index, size in enumerate(sizes):
        output = None if size is None else b"x" * size
        told.answer(Returned(output, ()))
        expected += [] if output is None else [(f"step-{index}", output)]
    found: list[tuple[str, bytes]] = []
    next_step: int | None = 0
    while next_step is not None:
        part = outputs_part(told.journal, next_step, part_bytes)
        assert sum(len(output) for _, output in part.outputs[:-1]) < part_bytes
        assert part.next_step is None or part.next_step > next_step
        found += part.outputs
        next_step = part.next_step
    assert found == expected
    assert outputs_part(told.journal, len(sizes)).outputs == outputs_part(told.journal, 2**60).outputs == ()
    assert outputs_part(told.journal, -1) == outputs_part(told.journal)
