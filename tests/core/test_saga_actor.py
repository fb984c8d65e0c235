"""The saga actor between its ports: what it does while the journal refuses, and with grants that come late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from antistrophe.actors.saga.process_requests import ASK_AGAIN_S
from antistrophe.actors.saga.saga import JOURNAL_AGAIN_S, SagaActor
from antistrophe.actors.step.attempt_file import AttemptId, AttemptRecord
from antistrophe.definition.spec import Origin, SagaSpec, StepSpec
from antistrophe.errors import CommitUnknownError, JournalError
from antistrophe.journal import EarlierTryError, SeqConflictError
from antistrophe.journal.last_entry import Basis
from antistrophe.messages import (
    AdoptProcess,
    BeginSaga,
    Done,
    EndProcess,
    ProcessDead,
    ProcessGrant,
    Rejected,
    RequestLease,
    ResumeSaga,
    ReturnProcess,
    RunStep,
    SagaEnded,
    SagaOrder,
    SagaOutcome,
    StepAnswer,
    Waiter,
)
from antistrophe.saga.entries import (
    Action,
    AttemptExpired,
    AttemptFailed,
    AttemptStarted,
    Entry,
    FailureKind,
    Lease,
    SagaAccepted,
    SagaCompleted,
    TurnedBack,
)
from antistrophe.saga.inputs import CancelAsked, Returned
from antistrophe.saga.state import Saga, replay
from antistrophe.settings import Settings
from tests.core.saga_kit import step

BOOT = "this boot"


class Host:
    """A mailbox, a journal that can refuse, and what step processes left, all in one."""

    def __init__(self) -> None:
        self.supervisor = "supervisor"
        self.settings = Settings()
        self.draining = False
        self.time = 1000.0
        self.sent: list[tuple[Any, Any]] = []
        self.alarm: float | None = None
        self.entries: list[Entry] = []
        self.position = 0
        self.full = self.loses_answers = self.unconfirmed = False
        self.refused = self.hidden = 0
        self.conflict: type[SeqConflictError] = EarlierTryError
        self.marks: dict[str, AttemptRecord] = {}
        self.actor: SagaActor | None = None

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    def send(self, to: Any, message: Any) -> None:
        self.sent.append((to, message))

    def send_made(self, to: Any, answer: Callable[[int], Any]) -> None:
        self.send(to, answer(self.position))

    def once_durable(self, do: Callable[[], object]) -> None:
        do()

    def wake_saga_at(self, moment: float, saga_id: str) -> None:
        self.alarm = moment if self.alarm is None else min(self.alarm, moment)

    def leave(self, saga_id: str) -> None:
        self.actor = self.alarm = None

    def commit(self, before: Saga | None, after: Saga, entries: Sequence[Entry], basis: Basis) -> Basis:
        if self.full:
            self.refused += 1
            raise JournalError("the disk is full")
        seq = 0 if before is None else before.seq
        if seq != len(self.entries):
            raise self.conflict(after.id, expected=seq, actual=len(self.entries))
        self.entries += entries
        if self.loses_answers:
            raise CommitUnknownError("its answer was lost")
        self.position = len(self.entries)
        return basis

    def take(self, saga_id: str) -> tuple[Saga, Basis]:
        seen, self.hidden = len(self.entries) - self.hidden, 0
        return replay(self.entries[:seen]), Basis(7, None)

    def confirm(self) -> None:
        if self.unconfirmed:
            raise CommitUnknownError("no standby has it")

    def boot_id(self) -> str:
        return BOOT

    def read(self, lease: Lease, attempt_id: AttemptId) -> AttemptRecord:
        return self.marks.get(lease.name, AttemptRecord(never_began=True))

    def stack(self, lease_name: str) -> str | None:
        return None

    def why_no_stack(self, dead: ProcessDead) -> str | None:
        return None

    def remove(self, lease_name: str) -> None:
        self.marks.pop(lease_name, None)

    # --- what the tests do ---

    def start(self, message: BeginSaga | ResumeSaga) -> None:
        self.actor = SagaActor(self, self, self, "s")
        self.actor.receive(message)

    def tell(self, message: Any) -> None:
        assert self.actor is not None
        self.actor.receive(message)

    def pass_time(self, until: float) -> None:
        """Let every alarm go off that is set up to then."""
        while self.alarm is not None and self.alarm <= until:
            self.time, self.alarm = max(self.time, self.alarm), None
            assert self.actor is not None
            self.actor.wake()
        self.time = until

    def told(self, kind: type) -> list[Any]:
        return [message for _, message in self.sent if type(message) is kind]

    def kinds(self) -> list[type]:
        return [type(entry) for entry in self.entries]


def spec(*steps: StepSpec) -> SagaSpec:
    return SagaSpec("s", "order", None, True, steps, Origin(None, (), "/"))


def grant(name: str, *, adopted: bool = False, fresh: bool = False) -> ProcessGrant:
    return ProcessGrant("s", Lease(name, 1, 1, BOOT), f"process {name}", adopted=adopted, fresh=fresh)


def answer(name: str, index: int = 0) -> StepAnswer:
    return StepAnswer("s", index, Action.EXECUTE, 1, name, Returned())


@pytest.fixture
def host() -> Host:
    return Host()


def test_a_grant_that_the_journal_refused_starts_nothing_later(host: Host) -> None:
    host.start(BeginSaga("r", spec(step())))
    host.full = True
    host.tell(grant("a"))
    assert [each.lease_name for each in host.told(ReturnProcess)] == ["a"]
    host.full = False
    host.sent.clear()
    host.pass_time(host.time + JOURNAL_AGAIN_S)
    assert host.kinds().count(AttemptStarted) == 0, "its process has been given back"
    assert len(host.told(RequestLease)) == 1
    host.tell(grant("b"))
    assert [each.lease_name for each in host.told(RunStep)] == ["b"]


def test_an_attempt_that_is_journaled_although_the_answer_was_lost_gets_its_process_back(host: Host) -> None:
    host.start(BeginSaga("r", spec(step())))
    host.loses_answers = True
    host.tell(grant("a"))
    host.loses_answers = False
    assert [each.lease_name for each in host.told(ReturnProcess)] == ["a"], "it seemed to be refused"
    host.pass_time(host.time + JOURNAL_AGAIN_S)
    host.tell(grant("b"))
    assert host.kinds() == [SagaAccepted, AttemptStarted]
    assert [each.lease.name for each in host.told(AdoptProcess)] == ["a"]
    assert [each.lease_name for each in host.told(ReturnProcess)] == ["a", "b"]
    host.tell(grant("a", adopted=True))
    assert [each.lease_name for each in host.told(RunStep)] == ["a"]


def test_a_step_is_told_the_token_by_which_its_host_owns_the_saga(host: Host) -> None:
    host.start(BeginSaga("r", spec(step())))
    host.start(ResumeSaga("s"))
    host.tell(grant("b"))
    assert [each.fencing_token for each in host.told(RunStep)] == [7], "of the claim"
    first = Host()
    first.start(BeginSaga("r", spec(step()), grant("a")))
    assert [each.fencing_token for each in first.told(RunStep)] == [1], "of the host that accepts it"


def test_an_answer_that_the_journal_refused_counts_later_but_starts_nothing_on_its_process(host: Host) -> None:
    host.start(BeginSaga("r", spec(step(), step()), grant("a")))
    host.full = True
    host.tell(answer("a"))
    host.tell(answer("a"))
    host.tell(ProcessDead("s", Lease("a", 1, 1, BOOT), 1, None, False))
    host.full = False
    host.sent.clear()
    host.pass_time(host.time + JOURNAL_AGAIN_S)
    assert host.told(RunStep) == [], "the process is dead by now"
    assert len(host.told(RequestLease)) == 1
    host.tell(grant("b"))
    assert [each.step for each in host.told(RunStep)] == [1]


def test_what_a_dead_process_left_is_kept_until_the_journal_has_it(host: Host) -> None:
    host.start(BeginSaga("r", spec(step()), grant("a")))
    host.marks["a"] = AttemptRecord(host.time, Returned())
    host.full = True
    host.tell(ProcessDead("s", Lease("a", 1, 1, BOOT), 1, None, False))
    assert "a" in host.marks
    host.full = False
    host.pass_time(host.time + JOURNAL_AGAIN_S)
    assert host.marks == {}
    assert replay(host.entries).completed


def test_while_the_journal_refuses_it_is_tried_at_an_even_pace(host: Host) -> None:
    host.start(BeginSaga("r", spec(step(timeout_s=5.0)), grant("a")))
    host.marks["a"] = AttemptRecord(host.time)
    host.full = True
    host.pass_time(host.time + 65.0)
    assert 100 <= host.refused <= 60.0 / JOURNAL_AGAIN_S + 1
    host.full = False
    host.pass_time(host.time + JOURNAL_AGAIN_S)
    assert host.kinds().count(AttemptExpired) == 1


def begun_and_full(host: Host) -> None:
    """An attempt with a limit of 5 s has begun, and from now on the journal refuses."""
    host.start(BeginSaga("r", spec(step(timeout_s=5.0)), grant("a")))
    host.marks["a"] = AttemptRecord(host.time)
    host.full = True


def failed(host: Host) -> list[FailureKind]:
    return [entry.failure.kind for entry in host.entries if isinstance(entry, AttemptFailed)]


def test_an_attempt_past_its_limit_is_ended_while_the_journal_refuses_and_counts_as_timed_out(host: Host) -> None:
    begun_and_full(host)
    host.pass_time(host.time + 5.0)
    assert [(each.lease.name, each.overdue) for each in host.told(EndProcess)] == [("a", True)]
    host.pass_time(host.time + 1.0)
    host.tell(ProcessDead("s", Lease("a", 1, 1, BOOT), None, 15, False, overdue=True))
    host.pass_time(host.time + 60.0)
    assert len(host.told(EndProcess)) == 1
    host.full = False
    host.pass_time(host.time + JOURNAL_AGAIN_S)
    assert host.kinds().count(AttemptExpired) == 1
    assert failed(host) == [FailureKind.TIMEOUT]


def test_an_order_to_end_that_is_lost_while_the_journal_refuses_is_repeated(host: Host) -> None:
    begun_and_full(host)
    host.pass_time(host.time + 5.0 + 2 * ASK_AGAIN_S)
    assert len(host.told(EndProcess)) == 2


def test_an_attempt_that_answers_while_it_is_being_ended_is_settled_by_its_death(host: Host) -> None:
    begun_and_full(host)
    host.pass_time(host.time + 5.0)
    host.tell(answer("a"))
    host.full = False
    host.pass_time(host.time + JOURNAL_AGAIN_S)
    assert host.told(ReturnProcess) == [], "its process is about to die"
    host.marks["a"] = AttemptRecord(host.time - 5.0, Returned())
    host.tell(ProcessDead("s", Lease("a", 1, 1, BOOT), None, 15, False, overdue=True))
    assert replay(host.entries).completed


@pytest.mark.parametrize("ended", ["answered", "dead"])
def test_an_attempt_that_has_ended_before_its_limit_is_not_ended_again(host: Host, ended: str) -> None:
    begun_and_full(host)
    host.tell(answer("a") if ended == "answered" else ProcessDead("s", Lease("a", 1, 1, BOOT), 1, None, False))
    host.pass_time(host.time + 60.0)
    assert host.told(EndProcess) == []
    host.full = False
    host.pass_time(host.time + JOURNAL_AGAIN_S)
    assert failed(host) == ([] if ended == "answered" else [FailureKind.CRASH])


def test_the_next_actor_learns_from_the_death_that_the_attempt_was_past_its_limit(host: Host) -> None:
    begun_and_full(host)
    host.pass_time(host.time + 5.0)
    host.full = False
    host.start(ResumeSaga("s"))
    assert host.kinds().count(AttemptExpired) == 0
    host.tell(ProcessDead("s", Lease("a", 1, 1, BOOT), None, 15, False, overdue=True))
    assert host.kinds().count(AttemptExpired) == 1
    assert failed(host) == [FailureKind.TIMEOUT]


def test_an_attempt_that_began_late_does_not_put_off_the_look_at_the_next_one(host: Host) -> None:
    host.start(BeginSaga("r", spec(step(timeout_s=10.0), step(timeout_s=1.0)), grant("a")))
    began_at = host.time + 9.5  # its process took that long to import the step
    host.marks["a"] = AttemptRecord(began_at)
    host.pass_time(host.time + 10.5)
    assert host.told(EndProcess) == []
    host.tell(answer("a"))
    host.marks["a"] = AttemptRecord(host.time)
    host.pass_time(host.time + 1.5)
    assert [each.lease.name for each in host.told(EndProcess)] == ["a"]


@pytest.mark.parametrize(("what", "told"), [("attempt", AdoptProcess), ("end", SagaOutcome), ("order", Done)])
def test_what_is_only_read_is_told_and_acted_upon_once_it_is_confirmed(host: Host, what: str, told: type) -> None:
    order = SagaOrder("s", CancelAsked("no", "me"), Waiter("client", "1"))
    host.start(BeginSaga("r", spec(step(fresh_process=True), *([step()] if what == "order" else [])), grant("a")))
    if what != "attempt":
        host.tell(answer("a"))
    if what == "order":
        host.tell(order)  # now the undo waits for a process
    host.sent.clear()
    resume = ResumeSaga("s", (Waiter("client", "2"),), (order,) if what == "order" else ())
    host.unconfirmed = True
    with pytest.raises(CommitUnknownError):
        host.start(resume)
    assert host.sent == []
    host.unconfirmed = False
    host.start(resume)
    assert len(host.told(told)) == 1
    assert [each.effect for each in host.told(Done)] in ([], [False])


def test_what_is_read_needs_no_confirmation_where_an_entry_comes_first(host: Host) -> None:
    host.start(BeginSaga("r", spec(step())))
    host.unconfirmed = True
    host.start(ResumeSaga("s"))
    assert len(host.told(RequestLease)) == 2


def test_what_an_earlier_actor_has_sent_may_come_between_the_read_and_the_first_entry(host: Host) -> None:
    host.start(BeginSaga("r", spec(step()), grant("a")))
    host.tell(answer("a"))
    host.conflict, host.hidden = SeqConflictError, 1
    host.start(ResumeSaga("s", (Waiter("client", "2"),)))
    assert host.kinds()[-1] is SagaCompleted
    assert host.kinds().count(SagaCompleted) == 1
    assert len(host.told(SagaOutcome)) == 1


def test_an_actor_whose_order_meets_what_another_one_has_written_leaves_and_answers_nothing(host: Host) -> None:
    host.start(BeginSaga("r", spec(step()), grant("a")))
    first = host.actor
    host.start(ResumeSaga("s"))
    host.tell(answer("a"))
    host.sent.clear()
    host.conflict, host.actor = SeqConflictError, first
    host.tell(SagaOrder("s", CancelAsked("no", "me"), Waiter("client", "1")))
    assert host.actor is None
    assert host.sent == []


def test_an_order_that_the_journal_refuses_is_rejected(host: Host) -> None:
    host.start(BeginSaga("r", spec(step()), grant("a")))
    host.full = True
    order = SagaOrder("s", CancelAsked("no", "me"), Waiter("client", "1"))
    host.tell(order)
    assert [(each.error, each.text) for each in host.told(Rejected)] == [("JournalError", "the disk is full")]
    assert host.told(Done) == []
    host.full = False
    host.pass_time(host.time + JOURNAL_AGAIN_S)
    assert replay(host.entries).cancel is None, "who was told that nothing was done can rely on it"
    host.tell(order)
    assert [each.effect for each in host.told(Done)] == [True]
    assert replay(host.entries).cancel is not None


def test_an_adoption_that_is_answered_twice_lends_nothing(host: Host) -> None:
    host.start(BeginSaga("r", spec(step(fresh_process=True), step()), grant("a", fresh=True)))
    host.start(ResumeSaga("s"))
    host.pass_time(host.time + ASK_AGAIN_S)
    assert len(host.told(AdoptProcess)) == 2
    host.tell(grant("a", adopted=True))
    host.tell(answer("a"))
    assert [each.lease_name for each in host.told(ReturnProcess)] == ["a"]
    host.tell(grant("a", adopted=True))
    assert host.kinds().count(AttemptStarted) == 1
    assert [each.step for each in host.told(RunStep)] == [0, 0]


def test_an_adopted_process_is_not_told_to_begin_what_is_being_ended(host: Host) -> None:
    host.start(BeginSaga("r", spec(step()), grant("a")))
    host.start(ResumeSaga("s"))
    host.tell(SagaOrder("s", CancelAsked(None, "me"), Waiter("client", "1")))
    host.sent.clear()
    host.tell(grant("a", adopted=True))
    assert host.told(RunStep) == []


def test_a_grant_that_comes_late_does_not_count_as_the_answer_to_an_order_to_end(host: Host) -> None:
    host.start(BeginSaga("r", spec(step()), grant("a")))
    host.tell(SagaOrder("s", CancelAsked(None, "me"), Waiter("client", "1")))
    assert len(host.told(EndProcess)) == 1
    host.tell(grant("b"))
    assert [each.lease_name for each in host.told(ReturnProcess)] == ["b"]
    host.pass_time(host.time + ASK_AGAIN_S)
    assert len(host.told(EndProcess)) == 2


def test_a_process_is_given_back_even_if_its_address_was_never_heard(host: Host) -> None:
    host.start(BeginSaga("r", spec(step(fresh_process=True), step()), grant("a")))
    host.start(ResumeSaga("s"))
    host.tell(answer("a"))
    assert [(each.lease_name, each.reusable) for each in host.told(ReturnProcess)] == [("a", False)]


def test_a_grant_that_comes_when_the_saga_has_to_end_is_given_back_before_the_end_is_told(host: Host) -> None:
    late = replace(spec(step()), deadline_s=1.0)
    host.start(BeginSaga("r", late))
    host.time += 2.0
    host.tell(grant("a"))
    assert [each.returned for each in host.told(SagaEnded)] == [ReturnProcess("s", "a", True)]
    assert host.told(ReturnProcess) == []


def test_a_used_process_that_was_asked_for_another_step_does_not_undo_a_step_that_needs_a_fresh_one(host: Host) -> None:
    late = replace(spec(step(fresh_process=True), step()), deadline_s=1.0)
    host.start(BeginSaga("r", late, grant("a", fresh=True)))
    host.tell(answer("a"))
    host.time += 2.0  # the deadline passes while the saga waits for a process for the second step
    host.tell(grant("used"))
    assert TurnedBack in host.kinds()
    assert "used" in [each.lease_name for each in host.told(ReturnProcess)]
    assert host.told(RequestLease)[-1].request.fresh
    host.tell(grant("b", fresh=True))
    assert [each.lease_name for each in host.told(RunStep)] == ["a", "b"]
