"""The oracle of the chaos tests sees each promise that is broken in an effect log, and passes an honest log."""

from __future__ import annotations

from pathlib import Path

import pytest

from antistrophe import SagaStatus
from tests.actors.effects import Effect
from tests.actors.staging import Stage
from tests.chaos.oracle import Tally, check
from tests.chaos.sample_sagas import ONCE, saga_of

FORWARD = ["begin a 1", "done a 1", "begin b 1", "done b 1", "begin c 1"]
BACK = ["undo b 1", "undone b 1", "undo a 1", "undone a 1"]
COMPLETED, COMPENSATED, FAILED = SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.FAILED


def faults(tmp_path: Path, kind: str, status: SagaStatus, lines: list[str]) -> list[str]:
    saga = saga_of(Stage(tmp_path), kind, "checked", retry=ONCE)
    effects = []
    for moment, line in enumerate(lines):
        what, step, attempt = line.split()
        back = what in ("undo", "undone")
        effects.append(Effect(what, saga.id, step, int(attempt), 7, float(moment), back=back))
    tally = Tally()
    check(saga, status, effects, tally)
    return tally.faults


@pytest.mark.parametrize(
    ("kind", "status", "lines"),
    [
        ("completes", COMPLETED, [*FORWARD, "done c 1"]),
        ("compensates", COMPENSATED, [*FORWARD, *BACK]),
        ("compensates", COMPENSATED, [*FORWARD, *BACK[:2], "undo b 2", "undone b 2", *BACK[2:]]),
        ("hangs", COMPENSATED, [*FORWARD, "undo c 1", "undone c 1", *BACK]),
        ("parks", FAILED, [*FORWARD, *BACK[:3]]),
    ],
)
def test_what_was_promised_passes(kind: str, status: SagaStatus, lines: list[str], tmp_path: Path) -> None:
    assert faults(tmp_path, kind, status, lines) == []


@pytest.mark.parametrize(
    ("kind", "status", "lines", "fault"),
    [
        ("completes", COMPLETED, [*FORWARD[:2], *FORWARD, "done c 1"], "with one attempt allowed"),
        ("completes", COMPLETED, [*FORWARD[:2], "begin a 2", "done a 2", *FORWARD[2:], "done c 1"], "one attempt"),
        ("completes", COMPLETED, FORWARD, "c is not done in a completed saga"),
        ("completes", COMPLETED, [*FORWARD, "done c 1", "undo c 1"], "c is undone in a completed saga"),
        ("completes", SagaStatus.EXECUTING, [*FORWARD, "done c 1"], "come to rest in no final state"),
        ("completes", COMPLETED, ["begin b 1", "done b 1", "begin a 1", "done a 1"], "done in the order"),
        ("compensates", COMPENSATED, [*FORWARD, *BACK[:2]], "a has begun and is not undone"),
        ("compensates", COMPENSATED, [*FORWARD, *BACK[2:], *BACK[:2]], "undone in the order"),
        ("compensates", COMPENSATED, [*FORWARD, *BACK[:2], *BACK], "b has one attempt twice"),
        ("compensates", COMPENSATED, [*FORWARD[:4], *BACK[:2], FORWARD[4], *BACK[2:]], "c went forward again"),
        ("compensates", COMPENSATED, [*FORWARD[:3], *BACK[:1], FORWARD[3], *BACK[1:]], "overlaps"),
        ("compensates", FAILED, [*FORWARD, *BACK], "it is parked, and no undo has failed"),
    ],
)
def test_what_was_broken_is_seen(kind: str, status: SagaStatus, lines: list[str], fault: str, tmp_path: Path) -> None:
    assert any(fault in each for each in faults(tmp_path, kind, status, lines))
