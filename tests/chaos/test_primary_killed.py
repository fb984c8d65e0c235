"""Two hosts on a database whose primary is killed and whose standby takes over, while sagas run: what was acknowledged
is there, no attempt runs twice, and every saga ends.

Every other time, drawn by the seed, the standby is gone before that, and each commit that waits for it is cancelled.
By default the primary is killed once; ``ANTISTROPHE_FAILOVERS=20 pytest -s`` with this file does it so often, and the
server that has lost comes back now and then, takes writes, and is only then made to follow the other one.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, Settings
from tests.actors.staging import Stage
from tests.chaos.starting import Starter, tally_at_the_end
from tests.postgres_fixtures import require_postgres
from tests.server_pair import ServerPair, server_pair
from tests.waiting import until

FAILOVERS = int(os.environ.get("ANTISTROPHE_FAILOVERS", "1"))
HOSTS = ("one", "two")
LEASE_S = 2.0
BACK_S = 90.0


@pytest.fixture
def pair(lasting_processes: set[int]) -> Iterator[ServerPair]:
    require_postgres()
    with server_pair(lasting_processes) as pair:
        yield pair


@pytest.fixture
def orchestrators(tmp_path: Path, pair: ServerPair) -> Iterator[dict[str, SagaOrchestrator]]:
    with contextlib.ExitStack() as opened:
        yield {
            name: opened.enter_context(
                SagaOrchestrator(
                    tmp_path / name,
                    settings=Settings(host_name=name, lease_s=LEASE_S, drain_s=0.2, saga_hosts=1),
                    journal=pair.url,
                )
            )
            for name in HOSTS
        }


@pytest.mark.timeout(60 * FAILOVERS + 200)  # it goes on for as long as it was asked to
def test_what_was_acknowledged_is_there_and_ends_once_the_standby_has_taken_over(
    orchestrators: dict[str, SagaOrchestrator], pair: ServerPair, tmp_path: Path, run_seed: int
) -> None:
    draw, stage = random.Random(f"{run_seed}-primary"), Stage(tmp_path)
    starters = [Starter(name, each, pair.url, stage, f"{run_seed}-{name}") for name, each in orchestrators.items()]
    for starter in starters:
        starter.start()
    _wait_for_more(starters)
    fell_behind = 0
    for again in range(FAILOVERS):
        if draw.random() < 0.5:
            fell_behind += 1
            pair.fall_behind(draw.uniform(0.2, 1.0) * LEASE_S)
        lost = pair.fail_over()
        if again and draw.random() < 0.5:
            pair.start(lost)
            threading.Event().wait(draw.uniform(0.1, 2.0) * LEASE_S)
            lost.kill()
        _wait_for_more(starters)
        if again < FAILOVERS - 1:
            pair.rejoin(lost)
            _wait_for_more(starters)
    tally = tally_at_the_end(starters, pair.url, stage, BACK_S)
    sys.stdout.write(f"{FAILOVERS} primaries killed, {fell_behind} with commits that no standby has; {tally}\n")
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.sagas > 3


def _wait_for_more(starters: list[Starter]) -> None:
    """Until each host has accepted two more sagas."""
    before = {starter.host: len(starter.accepted) for starter in starters}
    for starter in starters:
        until(partial(_has_more, starter, before[starter.host]), f"host {starter.host} accepts sagas", BACK_S)


def _has_more(starter: Starter, before: int) -> bool:
    return len(starter.accepted) >= before + 2
