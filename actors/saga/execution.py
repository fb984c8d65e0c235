"""One saga between its journal and its actor: every change is decided, journaled, and only then true."""

from __future__ import annotations

from dataclasses import dataclass

from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.actors.saga.ports import ExecutionPort
from antistrophe.actors.step.attempt_file import AttemptId, read_attempt_file
from antistrophe.actors.step.stack_dumps import read_stack, why_no_stack
from antistrophe.errors import JournalError
from antistrophe.linux.process import boot_id
from antistrophe.messages import BeginSaga, ProcessDead, ProcessGrant
from antistrophe.saga.entries import AttemptStarted, SagaAccepted
from antistrophe.saga.inputs import Fenced, Input, ProcessGranted, Resumed, TimePassed
from antistrophe.saga.machine import transition
from antistrophe.saga.state import Saga, evolve


@dataclass(frozen=True, slots=True)
class Change:
    """What was true before, what is now, and the journal position that proves it."""

    before: Saga | None
    after: Saga
    position: int


class Execution:
    """The saga as its actor holds it. What the journal refuses (a full disk) is kept and decided again later."""

    def __init__(self, ledger: JournalAccess, place: ExecutionPort) -> None:
        self._ledger = ledger
        self._place = place
        self._saga: Saga | None = None
        self._backlog: list[Input] = []

    def __copy__(self) -> Execution:
        twin = Execution(self._ledger, self._place)
        twin._saga, twin._backlog = self._saga, self._backlog[:]
        return twin

    @property
    def saga(self) -> Saga:
        assert self._saga is not None, "begun or loaded before it is asked"
        return self._saga

    @property
    def begun(self) -> bool:
        return self._saga is not None

    @property
    def stuck(self) -> bool:
        """True while the journal refuses what was decided."""
        return bool(self._backlog)

    @property
    def position(self) -> int:
        """The journal position of the last change that this actor made or read."""
        return self._ledger.position

    def begin(self, message: BeginSaga) -> Change:
        """Accept a new saga and, where a process was granted, start its first attempt, in one commit. Raises
        SeqConflictError where the saga is in the journal already, JournalError where the journal refuses."""
        now = self._place.now()
        accepted = SagaAccepted(now, message.request_id, message.spec)
        said: Input = Resumed() if message.grant is None else _granted(message.grant)
        entries, saga = transition(evolve(None, accepted), said, now)
        position = self._ledger.commit(None, saga, (accepted, *entries))
        self._saga = saga
        return Change(None, saga, position)

    def load(self, saga_id: str) -> None:
        """Read the saga from the journal, and decide what its last entry left undecided."""
        self._saga = self._ledger.load(saga_id)
        self.tell(Resumed())

    def tell(self, said: Input) -> Change | None:
        """Decide on an input and journal what is now true; None where nothing changed (or can be journaled yet).
        Raises SeqConflictError where somebody else goes on with this saga."""
        if self._backlog:
            self._backlog.append(said)
            return None
        before = self.saga
        entries, after = transition(before, said, self._place.now(), dispatch=not self._place.draining)
        if not entries:
            return None
        try:
            position = self._ledger.commit(before, after, entries)
        except JournalError:
            self._backlog.append(said)
            return None
        self._saga = after
        return Change(before, after, position)

    def take_backlog(self) -> list[Input]:
        """What the journal has refused so far, to be told again."""
        backlog, self._backlog = self._backlog, []
        return backlog

    def death(self, current: AttemptStarted, dead: ProcessDead) -> Fenced:
        """The death of the current attempt's process, with what the process left behind of it."""
        began: bool | None = None
        answer = None
        stack = None
        no_stack: str | None = "the machine has been started anew since"
        if current.lease.boot_id == boot_id():
            record = read_attempt_file(self._place.home, current.lease.name, self._attempt_id(current))
            began, answer = record.began_at is not None, record.answer
            stack = read_stack(self._place.home, current.lease.name) if began and answer is None else None
            no_stack = why_no_stack(self._place.home, dead) if began and answer is None and stack is None else None
        return Fenced(
            current.step,
            current.action,
            current.attempt,
            began,
            answer,
            dead.exit_code,
            dead.signal,
            dead.by_system,
            dead.detail,
            stack,
            no_stack,
        )

    def time_passed(self, allowance_s: float) -> TimePassed:
        """That it is later now, with the moment at which the current attempt's call began."""
        current = self.saga.current
        if current is None:
            return TimePassed()
        record = read_attempt_file(self._place.home, current.lease.name, self._attempt_id(current))
        return TimePassed(record.began_at, allowance_s)

    def _attempt_id(self, current: AttemptStarted) -> AttemptId:
        return AttemptId(self.saga.id, current.step, current.action, current.attempt)


def _granted(grant: ProcessGrant) -> ProcessGranted:
    return ProcessGranted(grant.lease, step_class=grant.step_class)
