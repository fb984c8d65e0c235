"""Limits over all hosts where the database is slow or away: slow, and not still. All moments are made up."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import cast

import pytest

from antistrophe.actors.membership.settling import Settling
from antistrophe.actors.supervisor.live_saga import LiveSaga
from antistrophe.actors.supervisor.live_sagas import LiveSagas
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper
from antistrophe.actors.supervisor.shared_limits import AGAIN_S, SharedLimits
from antistrophe.errors import JournalError
from antistrophe.hosts.stored_permits import StoredPermits
from antistrophe.messages import PermitsSettled, SettlePermits
from antistrophe.scheduling.admission import Admission, AdmissionRank
from antistrophe.scheduling.permits import PermitAnswer, PermitNeed
from antistrophe.scheduling.restart_intensity import RestartIntensity
from antistrophe.scheduling.throttle import Throttles

RANK = AdmissionRank("import", max_concurrent=1)
LEASE_S, WORK_S, LOOK_S = 10.0, 0.5, 0.1


class World:
    """A host, whose sagas need the one permit of their name, and a database that takes ``answer_s`` for each answer,
    or has none while it is ``away``. ``began``: when each saga got an actor."""

    def __init__(self, answer_s: float, *, lease_s: float = LEASE_S) -> None:
        self.at, self.answer_s, self.away, self.asked = 1_000.0, answer_s, False, 0
        self.admission = Admission(5)
        self.sagas = {each: LiveSaga(each, {"r"}, "", RANK, RestartIntensity(1, 1.0)) for each in ("a", "b", "c")}
        self.pool = SimpleNamespace(throttles=Throttles(dict))
        self.began: dict[str, float] = {}
        self.inbox: deque[SettlePermits] = deque()
        self.busy: tuple[float, PermitsSettled | None] | None = None
        self.settling = Settling(lambda: cast(StoredPermits, self), self.now)
        self.limits = SharedLimits(
            cast(SupervisorPort, self),
            cast(LiveSagas, self),
            cast(ProcessKeeper, self),
            lambda message: self.inbox.append(cast(SettlePermits, message)),
            lease_s,
        )
        self.limits.begin("h1")

    # --- the supervisor ---------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.at

    def wake_in(self, seconds: float) -> None:
        """It looks often enough."""

    @property
    def all(self) -> Sequence[LiveSaga]:
        return list(self.sagas.values())

    def serve(self) -> None:
        """No step waits here."""

    def look(self) -> None:
        for saga_id in self.admission.due():
            self.began[saga_id] = self.at

    def wait(self, *saga_ids: str, urgent: bool = False) -> None:
        for each in saga_ids:
            self.sagas[each].urgent = urgent
            self.admission.enqueue(each, RANK, urgent=urgent)

    # --- the membership actor and the database ----------------------------------------------------------------------

    def settle(self, _host_id: str, _serial: int, needs: Sequence[PermitNeed]) -> list[PermitAnswer]:
        self.asked += 1
        self.at += self.answer_s  # for the moment of the answer; the supervisor's time goes on in ``passes``
        if self.away:
            raise JournalError("the database is away")
        return [PermitAnswer(need.key, min(need.keep + need.want, 1)) for need in needs]

    def _answer(self) -> None:
        if self.busy is not None and self.at >= self.busy[0]:
            answer, self.busy = self.busy[1], None
            if answer is not None:
                self.limits.settled(answer)
        while self.busy is None and self.inbox:
            began = self.at
            answer = self.settling.answer(self.inbox.popleft())
            if self.at > began:
                self.busy, self.at = (self.at, answer), began

    def passes(self, seconds: float) -> None:
        until = self.at + seconds
        while self.at < until:
            self._answer()
            self.look()
            for saga_id, at in self.began.items():
                if self.at >= at + WORK_S and self.admission.is_running(saga_id):
                    self.admission.left(saga_id)
            self.limits.look()
            self.at += LOOK_S


@pytest.mark.parametrize("answer_s", [0.01, 0.9, 1.5, 4.0])
def test_slow_answers_make_limits_slow_and_not_still(answer_s: float) -> None:
    world = World(answer_s)
    world.wait("a", "b", "c")
    world.passes(60.0)
    moments = sorted(world.began.values())
    assert len(moments) == 3, f"all have begun, not {sorted(world.began)}"
    assert min(later - before for before, later in pairwise(moments)) >= WORK_S
    assert world.asked <= 60.0 / answer_s + 1.0


def test_of_questions_that_are_late_only_the_one_is_answered_that_is_waited_for() -> None:
    world = World(1.5, lease_s=1.0)  # a database that is slower than any host could live with
    world.wait("a")
    world.passes(40.0)
    assert "a" not in world.began
    assert len(world.inbox) <= 2, "what is outdated does not pile up"
    world.answer_s = 0.1
    world.passes(2.0)
    assert "a" in world.began


def test_a_database_that_is_away_is_asked_again_soon_and_not_at_once() -> None:
    world = World(0.01)
    world.away = True
    world.wait("a")
    world.passes(10.0)
    assert not world.began
    assert 5 <= world.asked <= 10.0 / AGAIN_S + 1.0, "not for each refusal another question at once"
    world.away = False
    world.passes(AGAIN_S + 1.0)
    assert "a" in world.began


def test_a_question_that_went_with_its_actor_is_asked_anew_at_once() -> None:
    world = World(0.01)
    world.wait("a")
    world.limits.look()
    world.look()
    world.limits.look()
    assert world.inbox, "it is on its way"
    world.inbox.clear()
    world.settling = Settling(lambda: cast(StoredPermits, world), world.now)
    world.limits.ask_anew()
    world.passes(1.0)
    assert "a" in world.began


def test_under_another_lease_who_works_needs_a_permit_and_who_rests_gets_none_before_it_is_due() -> None:
    world = World(0.01)
    world.wait("a", urgent=True)
    world.passes(1.0)
    world.admission.admit("a", RANK)
    world.admission.admit("b", RANK)
    world.admission.rests("a")  # it waits until its undo is tried again
    world.limits.begin("h2")
    assert world.admission.is_waiting("b"), "it has an actor, and no permit"
    assert not world.admission.is_waiting("a"), "nothing is to be done for it now"
    world.began.clear()
    world.passes(5.0)
    assert list(world.began) == ["b"]
    world.wait("a", urgent=True)  # it is due
    world.passes(2.0)
    assert list(world.began) == ["b", "a"]
