"""Limits over all hosts: two systems on one journal, judged by what their steps wrote on one clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from antistrophe import SagaOrchestrator, SagaStep
from tests.actors.staging import Stage
from tests.actors.steps_act import Act, AsyncAct
from tests.actors.test_hosts import Hosts
from tests.actors.test_throttle import most_at_once

RATE = 4.0


@dataclass(frozen=True)
class Pay(AsyncAct):
    """A class of which one attempt may run at the same time."""


@dataclass(frozen=True)
class Call(Act):
    """A class with a rate."""


@pytest.fixture
def two(tmp_path: Path, postgres_store_url: str) -> Iterator[list[SagaOrchestrator]]:
    made = Hosts(tmp_path, postgres_store_url)
    try:
        yield [made.open("one"), made.open("two")]
    finally:
        made.close()


def test_limits_hold_over_all_hosts_and_each_host_has_its_turn(two: list[SagaOrchestrator], stage: Stage) -> None:
    def started(count: int, *steps: SagaStep, **options: Any) -> list[str]:
        return [host.start(stage.saga(*steps, **options)).id for host in two for _ in range(count)]

    paid = started(3, Pay(str(stage.log), "pay", ("nap:0.05",), max_concurrent=1))
    began = time.monotonic()
    called = started(5, Call(str(stage.log), "call", max_per_second=RATE))
    imported = started(2, stage.act("first"), stage.act("second"), name="import", max_concurrent=1)
    for host in two:
        host.wait_idle(50.0)
    effects = {saga_id: stage.log.read(saga_id) for saga_id in (*paid, *called, *imported)}
    assert all(each[-1].what == "done" for each in effects.values())

    assert most_at_once([each for saga_id in paid for each in effects[saga_id]]) == 1
    calls = sorted(effects[saga_id][0].at for saga_id in called)
    # Counted from before the first one was granted: a machine that stands still may have them all begin late.
    assert calls[-1] - began >= (len(calls) - 1) / RATE - 0.25, "each host alone would take half of that time"
    spans = sorted((effects[saga_id][0].at, effects[saga_id][-1].at) for saga_id in imported)
    assert all(end < begin for (_, end), (begin, _) in pairwise(spans))
