"""Applications that start sagas while something is done to their hosts, and what is found of these sagas at the end."""

from __future__ import annotations

import contextlib
import random
import threading
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from antistrophe import AntistropheError, SagaDefinition, SagaOrchestrator
from antistrophe.errors import JournalError
from antistrophe.journal import StoredJournal, open_journal
from tests.actors.staging import Stage
from tests.chaos.oracle import Tally, check
from tests.chaos.sample_sagas import sagas_of
from tests.waiting import until

AT_ONCE = 30
"""What is started while its host is away, and not ended, would grow without a bound."""


class Starter(threading.Thread):
    """An application that starts sagas on its host, one after the other, until it is told to stop, and as long as not
    more than ``AT_ONCE`` of the journal at ``url`` are under way."""

    def __init__(self, name: str, orchestrator: SagaOrchestrator, url: str, stage: Stage, seed: str) -> None:
        super().__init__(daemon=True)
        self.host, self.orchestrator = name, orchestrator
        self._url = url
        self._stage, self._draw = stage, random.Random(seed)
        self.accepted: list[SagaDefinition] = []
        self.unknown: list[SagaDefinition] = []
        self.over = threading.Event()

    def run(self) -> None:
        number = 0
        with contextlib.closing(open_journal(self._url, read_only=True, patience_s=1.0)) as journal:
            while not self.over.wait(0.05):
                for saga in sagas_of(self._stage, 5, self._draw, f"{self.host}-{number}"):
                    while _is_full(journal) or self.over.is_set():
                        if self.over.wait(0.1):
                            return
                    self._start(saga)
                    if self.over.wait(0.3):
                        return
                number += 1

    def _start(self, saga: SagaDefinition) -> None:
        for _ in range(2):  # whoever was not told starts it again
            with contextlib.suppress(AntistropheError, TimeoutError):
                self.orchestrator.start(saga)
                self.accepted.append(saga)
                return
        self.unknown.append(saga)


def _is_full(journal: StoredJournal) -> bool:
    try:
        return len(journal.live()) >= AT_ONCE
    except JournalError:  # its server is away
        return True


def tally_at_the_end(starters: Sequence[Starter], url: str, stage: Stage, within_s: float) -> Tally:
    """Stop the applications, wait until the hosts are back and all sagas have come to rest, and check each of them.
    One that was acknowledged has to be there."""
    for starter in starters:
        starter.over.set()
    for starter in starters:
        starter.join(within_s)
        assert not starter.is_alive(), "an application got no answer after everything was well again"
    for starter in starters:
        until(partial(_answers, starter.orchestrator), f"host {starter.host} is back", within_s)
    tally, effects = Tally(), defaultdict(list)
    with contextlib.closing(open_journal(url, read_only=True)) as journal:
        until(lambda: not journal.live(), "the end of all sagas", within_s)
        for each in stage.log.read():
            effects[each.saga].append(each)
        for starter in starters:
            for saga in (*starter.accepted, *starter.unknown):
                status = journal.status(saga.id)
                assert status is not None or saga in starter.unknown, f"{saga.id} was acknowledged, and is not there"
                if status is not None:
                    check(saga, status, effects[saga.id], tally)
                else:
                    assert not effects[saga.id], f"{saga.id} is not there, and took effect"
    return tally


def _answers(orchestrator: SagaOrchestrator) -> bool:
    with contextlib.suppress(AntistropheError, TimeoutError):
        return bool(orchestrator.processes())
    return False
